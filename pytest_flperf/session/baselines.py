"""Baselines of a run's cases: one named run, or one per case."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.gates.baseline_gate import unpaired_lines
from pytest_flperf.gates.counterparts import Counterpart, Query, missing_against
from pytest_flperf.gates.rules import Rule, rules_for
from pytest_flperf.results.records import Measured, Run
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.history import place_of
from pytest_flperf.session.options import RunOptions
from pytest_flperf.session.paired import comparisons_of, rules_of, with_rules_of
from pytest_flperf.stats.inference.findings import ErrorRates

if TYPE_CHECKING:
    from pytest_flperf.history.baseline import FoundBaseline
    from pytest_flperf.history.case_history import CaseHistory
    from pytest_flperf.history.place import StorePlace
    from pytest_flperf.history.store import Store
    from pytest_flperf.measurement.recording import CaseRecording
    from pytest_flperf.results.comparison import Against
    from pytest_flperf.session.planned_cases import PlannedTest
    from pytest_flperf.session.run_record import RunRecord
    from pytest_flperf.suite.model import Case

__all__ = ["Baseline", "find_baseline_of"]

_FLAG: Final = "--flperf-baseline"
_BRANCH: Final = "branch:"
_LAST: Final = "last"
_BRIEFLY_S: Final = 0.2


@dataclass(slots=True)
class Baseline:
    """Baseline that the cases of a run are compared with."""

    asked: str
    found: FoundBaseline | None
    """The run that was named; None: each case has its own, or there is none."""
    nothing: str
    """Why no case has one, for people; empty where that is not known."""
    source: _Source
    rules: tuple[Rule, ...]
    fail_undecided: bool
    required: bool
    against: bool
    """Whether every case is measured in turns with another side as well."""
    comparisons: int = 0
    """Number of comparisons that share the run's error rate; known at the first case."""

    def judged(
        self,
        result: Measured,
        case: Case,
        this: Run,
        recording: CaseRecording | None,
        tests: Iterable[PlannedTest],
    ) -> Measured:
        """Add the comparison with the baseline to a result.

        Args:
            result: Result of the case.
            case: The case.
            this: Its run.
            recording: Recording of its requests; None: only the summaries are known.
            tests: All tests of the run that measure.

        """
        if not self.comparisons:
            self.comparisons = comparisons_of(tests, self.rules, against=self.against, baseline=True)
        rules = with_rules_of(case, self.rules)
        values = {} if recording is None or result.search is not None else _values(result, rules, recording)
        against = self._against(result, this, values, rules)
        return replace(result, against=(*result.against, against))

    def _against(
        self, result: Measured, this: Run, values: Mapping[str, Sequence[float]], rules: Sequence[Rule]
    ) -> Against:
        """Compare a result with its baseline.

        If the baseline can't be read, the measurement is kept all the same.
        """
        from pytest_flperf.gates.baseline_gate import BaselineGate
        from pytest_flperf.history.baseline import BaselineError, branch_of
        from pytest_flperf.history.clocks import latest_start
        from pytest_flperf.history.database import StoreError

        query, rates = Query(latest_start(), branch_of(self.asked)), ErrorRates(comparisons=self.comparisons)
        with self.source.opened(this.started_at) as (history, problem):
            gate = BaselineGate(self.asked, self.found, history, query, self.fail_undecided, self.required)
            try:
                if history is not None or self.found is not None:
                    against = gate.against(result, this, gate.counterpart(result, this), values, rules, rates)
                    unknown = f"nothing is known about earlier runs: {problem}"
                    return replace(against, notes=(*against.notes, unknown)) if problem else against
            except (BaselineError, StoreError) as error:
                self.source.failed(error)
                why = printable(str(error), 300)
            else:
                why = problem
            other = Counterpart(missing="unreadable", why=why)
            return gate.against(result, this, other, values, rules, rates)

    def not_measured(self, result: Measured, case: Case | None, why: str) -> Measured:
        """Mark the comparisons of an unmeasured case as missing.

        For a case that was skipped or cut short.
        """
        rules = self.rules if case is None else with_rules_of(case, self.rules)
        other = Counterpart(missing="candidate", why=why)
        return replace(
            result,
            against=(*result.against, missing_against(result, printable(self.asked, 100), other, rules, fails=False)),
        )

    def note_unpaired(self, record: RunRecord) -> None:
        """Note the cases that only one side of the comparison has."""
        if record.interrupted:
            return
        sides = (against for case in record.cases for against in case.against if against.kind == "run")
        runs = [self.found.run] if self.found is not None else self._runs({each.run_id for each in sides})
        if runs:
            for line in unpaired_lines(record.cases, [case for run in runs for case in run.cases]):
                record.note(line)

    def _runs(self, ids: Iterable[str | None]) -> list[Run]:
        """Runs that any worker compared cases with, if still readable."""
        from pytest_flperf.history.baseline import BaselineError
        from pytest_flperf.history.database import StoreError

        found = []
        with self.source.opened() as (history, _):
            for run_id in ids:
                if history is not None and run_id is not None:
                    with contextlib.suppress(BaselineError, StoreError):
                        found.append(history.run(run_id).run)
        return found


@dataclass(frozen=True, slots=True)
class _Source:
    """Source of earlier runs: the store, else the report folder."""

    place: StorePlace | None
    folder: Path
    runs: dict[str, FoundBaseline] = field(default_factory=dict)
    """Runs read from the store."""
    read: dict[str, Run | None] = field(default_factory=dict)
    """Runs read from the folder."""
    troubles: list[str] = field(default_factory=list)
    """Why the store could not be used; after the first failure, waits for it are short."""

    @property
    def stored(self) -> bool:
        """Whether the store exists; raises StoreError if it is invalid."""
        return self.place is not None and self.place.is_there()

    @contextlib.contextmanager
    def opened(self, before: str | None = None) -> Iterator[tuple[CaseHistory | None, str]]:
        """Open the history; yields it, or None and the reason.

        ``before`` is the start of this run, whose own folder may lie among the earlier ones.
        """
        from pytest_flperf.history.case_history import FolderHistory, StoreHistory
        from pytest_flperf.history.place import StoreError
        from pytest_flperf.report.samples import values_beside

        try:
            store = self._open()
        except StoreError as error:
            self.failed(error)
            yield None, printable(str(error), 300)
            return
        if store is None:
            yield FolderHistory(self.folder, values_beside, before, read=self.read), ""
            return
        with store:
            yield StoreHistory(store, runs=self.runs), ""

    def failed(self, error: Exception) -> None:
        """Remember an error that makes the store unusable."""
        from pytest_flperf.history.place import StoreUnusableError

        if isinstance(error, StoreUnusableError):
            self.troubles.append(str(error))

    def _open(self) -> Store | None:
        """Open the store, or return None; raises StoreError."""
        if self.place is None or not self.stored:
            return None
        from pytest_flperf.history.database import BUSY_S
        from pytest_flperf.history.store import Store

        return Store(self.place, busy_s=_BRIEFLY_S if self.troubles else BUSY_S)


def _values(result: Measured, rules: Sequence[Rule], recording: CaseRecording) -> dict[str, tuple[float, ...]]:
    names = {rule.metric for rule in rules_for(result.scenario, rules) if rule.statistic}
    return recording.values.first(names)


def find_baseline_of(options: RunOptions, here: Path, suites: Sequence[str]) -> Baseline | None:
    """Find what a run's cases are compared with; raises OptionsError.

    Args:
        options: Options of the run.
        here: Folder that paths start from.
        suites: References of the run's suites.

    Returns:
        None: the options name no baseline.

    """
    if options.baseline is None:
        return None
    from pytest_flperf.history.baseline import BaselineError, MissingBaselineError
    from pytest_flperf.history.place import StoreError

    text = options.baseline
    source = _Source(place_of(options, here), here / options.report_dir)
    found, nothing = None, ""
    try:
        if text == _LAST or text.startswith(_BRANCH):
            nothing = _nothing(text, source, suites)
            if nothing and options.require_baseline:
                raise MissingBaselineError(nothing)
        else:
            found = _found(text, source, here)
    except (BaselineError, StoreError) as error:
        raise OptionsError(f"{_FLAG}: {printable(str(error), 900)}") from error
    return Baseline(
        asked=text,
        found=found,
        nothing=f"nothing is compared: {printable(nothing, 600)}" if nothing else "",
        source=source,
        rules=rules_of(options),
        fail_undecided=options.fail_undecided,
        required=options.require_baseline,
        against=options.against is not None,
    )


def _nothing(text: str, source: _Source, suites: Sequence[str]) -> str:
    """Reason why no case can have a baseline; raises BaselineError.

    Empty if one may have it.
    """
    from pytest_flperf.history.baseline import BaselineError, branch_of
    from pytest_flperf.history.case_history import no_baseline

    branch = branch_of(text)
    if branch is not None and source.place is None:
        raise BaselineError(
            f"found {text[:80]!r}, but branches are known only from a store, and --flperf-store=none keeps none"
        )
    if branch is not None and source.place is not None and not source.stored:
        return f"no run of branch {branch[:80]!r}: the store {source.place.shown} does not exist yet"
    try:
        from pytest_flperf.history.database import StoreError
    except ImportError as error:
        raise BaselineError(f"{error}: pip install 'SQLAlchemy>=2.0'") from error
    with source.opened() as (history, problem):
        if history is None:
            raise BaselineError(problem)
        try:
            return no_baseline(history, suites, branch)
        except StoreError as error:
            raise BaselineError(str(error)) from error


def _found(text: str, source: _Source, here: Path) -> FoundBaseline:
    """Find the named run; raises BaselineError."""
    from pytest_flperf.history.baseline import BaselineError, MissingBaselineError, find_baseline
    from pytest_flperf.history.place import StoreError
    from pytest_flperf.report.samples import values_beside

    try:
        if not source.stored or source.place is None:
            return find_baseline(None, text, source.folder, here=here, read_values=values_beside)
        from pytest_flperf.history.store import Store
    except ImportError as error:
        raise BaselineError(f"{error}: pip install 'SQLAlchemy>=2.0'") from error
    except MissingBaselineError as error:
        where = "; with --flperf-store=none only a results.json or a run's folder can be given" * (source.place is None)
        raise BaselineError(f"{error}{where}") from error
    try:
        with Store(source.place) as store:
            return find_baseline(store, text, source.folder, here=here, read_values=values_beside)
    except StoreError as error:
        raise BaselineError(str(error)) from error
