"""The stored run that a session's cases are compared with: found before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_flperf.gates.rules import Rule, rules_for
from pytest_flperf.gates.stored import Stored, counterpart, unpaired_lines, why_not_compared
from pytest_flperf.gates.text import printable
from pytest_flperf.integration.asked import FlperfOptions
from pytest_flperf.integration.comparing import comparisons_of, rules_of, with_rules_of
from pytest_flperf.integration.storing import place_of
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.startup import BASELINE, SELECTION
from pytest_flperf.stats.findings import ErrorRates

if TYPE_CHECKING:
    from pytest_flperf.experiment.recording import CaseRecording
    from pytest_flperf.history.baseline import FoundBaseline
    from pytest_flperf.history.place import StorePlace
    from pytest_flperf.integration.run_record import RunRecord
    from pytest_flperf.suite.model import Case

__all__ = ["Baseline", "baseline_of"]

_FLAG: Final = "--flperf-baseline"
_BRANCH: Final = "branch:"
_MAY_BE_MISSING: Final = "last"
_HISTORY: Final = 20
"""Earlier runs that say how much runs differ."""


@dataclass(slots=True)
class Baseline:
    """The run that was asked for; or why there is none."""

    asked: str
    found: FoundBaseline | None
    missing: str
    """Why there is none, for people; empty where there is one."""
    place: StorePlace | None
    """Where the history of a case is looked up."""
    rules: tuple[Rule, ...]
    fail_undecided: bool
    required: bool
    sides: int
    comparisons: int = 0
    """Between how many the run's error rate is shared, known at the first case."""
    problem: str = ""
    """Why the history could not be read."""

    def judged(
        self,
        result: CaseResult,
        case: Case,
        this: Run,
        recording: CaseRecording | None,
        items: Iterable[pytest.Item],
    ) -> tuple[CaseResult, str]:
        """The result with what came of the comparison, and why it fails for want of a baseline (empty: it doesn't).

        Args:
            result: Of a case.
            case: What was asked.
            this: Its run.
            recording: Of its requests; None: only the summaries are known.
            items: All of the session.

        """
        if self.found is None:
            return result, ""
        if not self.comparisons:
            self.comparisons = comparisons_of(items, self.rules, self.sides)
        other = counterpart(result, self.found.run.cases)
        why = why_not_compared(result, other)
        if why or other is None:
            why = f"not compared with {self.label}: {why}"
            noted = replace(result, notes=(*result.notes, why))
            return noted, why if self.required else ""
        rules = with_rules_of(case, self.rules)
        stored = Stored(self.found, self.label, lambda *of: self._earlier(this, *of), self.fail_undecided)
        values = {} if recording is None or result.search is not None else _values(result, rules, recording)
        rates = ErrorRates(comparisons=self.comparisons)
        against = stored.against(result, this, other, values, rules, rates)
        if self.problem:
            against = replace(against, notes=(*against.notes, self.problem))
        return replace(result, against=(*result.against, against)), ""

    @property
    def label(self) -> str:
        """What was asked for, with the run's id."""
        assert self.found is not None
        asked, run_id = printable(self.asked, 80), printable(self.found.run.id, 80)
        return asked if asked == run_id else f"{asked} ({run_id})"

    def note_unpaired(self, record: RunRecord) -> None:
        """Name the cases that only this run has, and those that only the baseline has."""
        if self.found is not None and not record.interrupted:
            for line in unpaired_lines(record.cases, self.found.run.cases):
                record.note(line)

    def _earlier(self, this: Run, case: CaseResult, metric: str, statistic: str | None) -> Sequence[float]:
        if self.place is None:
            return ()
        from pytest_flperf.history.conditions import conditions_of
        from pytest_flperf.history.place import StoreError
        from pytest_flperf.history.surroundings import fingerprint

        machine, same = fingerprint(this.host), conditions_of(case)
        try:
            if not self.place.is_there():
                return ()
            from pytest_flperf.history.store import Store

            with Store(self.place) as store:
                return store.earlier(case.nodeid, machine, metric, _HISTORY, statistic=statistic, conditions=same)
        except StoreError as error:
            self.problem = f"nothing is known of earlier runs: {printable(str(error), 300)}"
            return ()


def _values(result: CaseResult, rules: Sequence[Rule], recording: CaseRecording) -> dict[str, tuple[float, ...]]:
    from pytest_flperf.history.rows import VALUES_KEPT

    names = {rule.metric for rule in rules_for(result.scenario, rules) if rule.statistic}
    return recording.values(names, VALUES_KEPT)


def baseline_of(config: pytest.Config, options: FlperfOptions) -> Baseline | None:
    """The baseline of a session, looked for once; None: none was asked for.  Raises UsageError."""
    if options.baseline is None:
        return None
    if BASELINE not in config.stash:
        config.stash[BASELINE] = _baseline(config, options, options.baseline)
    return config.stash[BASELINE]


def _baseline(config: pytest.Config, options: FlperfOptions, text: str) -> Baseline:
    from pytest_flperf.history.baseline import BaselineError, MissingBaselineError

    here = config.invocation_params.dir
    selection = config.stash.get(SELECTION, None)
    place = place_of(options, here)
    found, missing = None, ""
    try:
        found = _found(text, place, here / options.report_dir, here, selection.refs if selection else ())
    except MissingBaselineError as error:
        # whoever names a run means that one; the last one, or that of a branch, isn't there the first time
        if options.require_baseline or not (text == _MAY_BE_MISSING or text.startswith(_BRANCH)):
            raise pytest.UsageError(f"{_FLAG}: {printable(str(error), 900)}{_elsewhere(place)}") from error
        missing = f"nothing is compared: {printable(str(error), 900)}"
    except BaselineError as error:
        raise pytest.UsageError(f"{_FLAG}: {printable(str(error), 900)}") from error
    return Baseline(
        asked=text,
        found=found,
        missing=missing,
        place=place,
        rules=rules_of(options),
        fail_undecided=options.fail_undecided,
        required=options.require_baseline,
        sides=1 + (options.against is not None),
    )


def _found(text: str, place: StorePlace | None, folder: Path, here: Path, suites: Sequence[str]) -> FoundBaseline:
    """The run that was asked for; raises BaselineError."""
    from pytest_flperf.history.baseline import BaselineError, MissingBaselineError, find_baseline
    from pytest_flperf.history.place import StoreError
    from pytest_flperf.report.samples import values_beside

    if place is None and (text == _MAY_BE_MISSING or text.startswith(_BRANCH)):
        raise BaselineError(f"found {text[:80]!r}, but --flperf-store=none keeps no runs; expected a results.json")
    try:
        there = place is not None and place.is_there()
    except StoreError as error:
        raise BaselineError(str(error)) from error
    if place is None or not there:
        if place is not None and text.startswith(_BRANCH) and text != _BRANCH:
            branch = text.removeprefix(_BRANCH)[:80]
            raise MissingBaselineError(f"no run of branch {branch!r}: the store {place.shown} is not there yet")
        return find_baseline(None, text, folder, here=here, suites=suites, read_values=values_beside)
    try:
        from pytest_flperf.history.store import Store
    except ImportError as error:
        raise BaselineError(f"{error}: pip install 'SQLAlchemy>=2.0'") from error
    try:
        with Store(place) as store:
            return find_baseline(store, text, folder, here=here, suites=suites, read_values=values_beside)
    except StoreError as error:
        raise BaselineError(str(error)) from error


def _elsewhere(place: StorePlace | None) -> str:
    return "; with --flperf-store=none only a results.json can be a baseline" if place is None else ""
