"""Baseline gate: compares each case with its stored baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.gates.comparison import Values, compare_runs
from pytest_flperf.gates.counterparts import (
    Counterpart,
    Query,
    in_history,
    in_run,
    missing_against,
    noise_series,
)
from pytest_flperf.gates.fail_closed import has_zero
from pytest_flperf.gates.format import failing
from pytest_flperf.gates.rules import COUNTED, DEFAULT_SCOPE, Rule, is_score, rules_for
from pytest_flperf.history.run_differences import differences
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.metrics import RATIOS
from pytest_flperf.results.notes import Note
from pytest_flperf.results.records import CaseResult, Measured, Run, RunStatus
from pytest_flperf.results.sides import Sides, drawn_metric
from pytest_flperf.stats.inference.findings import FEWEST_RUNS, ErrorRates

if TYPE_CHECKING:
    from pytest_flperf.history.baseline import FoundBaseline
    from pytest_flperf.history.case_history import CaseHistory
    from pytest_flperf.stats.inference.run_variance import BetweenRuns

__all__ = [
    "BaselineGate",
    "ComparedRun",
    "Earlier",
    "Stored",
    "compared_run",
    "holm_corrected",
    "unpaired_lines",
]

Earlier: TypeAlias = Callable[[Measured, str, str | None], Sequence[float]]
"""By case, metric and statistic: that number in earlier runs, under the same conditions on a machine like this."""

_NAMES: Final = 5
_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored baseline, and how cases are compared with it."""

    found: FoundBaseline
    label: str
    earlier: Earlier
    fail_undecided: bool = False

    def against(
        self,
        case: Measured,
        this: Run,
        other: Measured,
        values: Mapping[str, Sequence[float]],
        rules: Iterable[Rule],
        rates: ErrorRates,
    ) -> Against:
        """Compare a case with its stored counterpart.

        Args:
            case: The candidate.
            this: Its run; the cases are not looked at.
            other: Its counterpart.
            values: Of the candidate's requests, by metric, in the order in which they were sent.
            rules: As written.
            rates: How often the decisions may be wrong.

        """
        baseline, rules = self.found.run, tuple(rules)
        theirs = self.found.values.get((other.nodeid, other.host), {})
        both = {name: Values(values[name], theirs[name]) for name in values if theirs.get(name) and values[name]}
        host = f"measured on the host {printable(other.host, _NAME)}, this one on {printable(case.host, _NAME)}"
        return Against(
            kind="run",
            label=self.label,
            run_id=baseline.id,
            started_at=baseline.started_at,
            differs=(*differences(baseline, this, other, case), *_turns(other, case)),
            target=other.target,
            settings=other.settings,
            requests=other.requests,
            error_rate=other.error_rate,
            metrics=other.metrics,
            sides=_sides(both),
            notes=(*other.notes, host) if other.host != case.host else other.notes,
            comparisons=compare_runs(
                case,
                other,
                both,
                self._between(case, rules),
                rules,
                rates,
                history=self._history(case, other, rules),
                fail_undecided=self.fail_undecided,
            ),
        )

    def _between(self, case: Measured, rules: Iterable[Rule]) -> dict[str, BetweenRuns]:
        """Variance between runs, by subject; subjects without history are left out."""
        from pytest_flperf.stats.inference.run_variance import between_runs

        found = {}
        asked = rules_for(case.scenario, rules)
        relative = (replace(rule, metric=RATIOS[rule.metric]) for rule in asked if rule.metric in RATIOS)
        for rule in (*asked, *(relative if case.reference is not None else ())):
            if rule.metric in COUNTED or is_score(rule) or rule.subject in found:
                continue
            seen = self.earlier(case, rule.metric, rule.statistic)
            logs = [math.log(value) if value > 0 else math.nan for value in seen if value > 0 or math.isnan(value)]
            if sum(map(math.isfinite, logs)) >= (2 if rule.statistic else FEWEST_RUNS):
                found[rule.subject] = between_runs(logs)
        return found

    def _history(self, case: Measured, other: Measured, rules: Iterable[Rule]) -> dict[str, Sequence[float]]:
        """Earlier values of numbers without a logarithm, because a side is 0."""
        return {
            rule.subject: tuple(filter(math.isfinite, self.earlier(case, rule.metric, rule.statistic)))
            for rule in rules_for(case.scenario, rules)
            if rule.metric not in COUNTED and not is_score(rule) and has_zero(case, other, rule)
        }


@dataclass(frozen=True, slots=True)
class BaselineGate:
    """Baseline gate: one stored run, or a baseline for each case.

    Without a named run, each case is compared with its newest measurement that may be a baseline.
    """

    asked: str
    """``last``, ``branch:main``, ``release`` …"""
    found: FoundBaseline | None
    """The run that was named; None: each case has its own."""
    history: CaseHistory | None
    query: Query
    fail_undecided: bool = False
    required: bool = False
    """Whether a case that has no baseline fails."""

    def counterpart(self, case: Measured, this: Run) -> Counterpart:
        """The counterpart of a case, or why there is none.

        Raises BaselineError and StoreError where it, or the history, can't be read.

        Args:
            case: The candidate.
            this: Its run; the cases are not looked at.

        """
        if self.found is not None:
            return in_run(self.found, self.history, case, this, self.query)
        assert self.history is not None
        return in_history(self.history, case, this, self.query)

    def against(
        self,
        case: Measured,
        this: Run,
        other: Counterpart,
        values: Mapping[str, Sequence[float]],
        rules: Iterable[Rule],
        rates: ErrorRates,
    ) -> Against:
        """Compare a case with its counterpart.

        The arguments are those of :meth:`Stored.against`.
        """
        label = self._label(other)
        if other.case is None or other.found is None:
            not_measured = other.missing == "candidate"
            fails, required = self.fail_undecided and not not_measured, self.required and not not_measured
            return missing_against(case, label, other, rules, fails=fails, required=required)
        history, noise = self.history, other.noise

        def earlier(_: Measured, metric: str, statistic: str | None) -> Sequence[float]:
            return () if history is None else noise_series(history, noise, metric, statistic)

        stored = Stored(other.found, label, earlier, self.fail_undecided)
        found = stored.against(case, this, other.case, values, rules, rates)
        return replace(found, notes=(*other.notes, *found.notes))

    def _label(self, other: Counterpart) -> str:
        asked = printable(self.asked, _NAME)
        if other.found is None:
            return f"{asked} (nothing found)"
        run_id = printable(other.found.run.id, _NAME)
        return asked if asked == run_id else f"{asked} ({run_id})"


def _sides(both: Mapping[str, Values]) -> dict[str, Sides]:
    found = {
        metric: Sides.of_values(values.baseline, values.candidate)
        for metric, values in both.items()
        if drawn_metric(metric)
    }
    return {metric: sides for metric, sides in found.items() if sides is not None}


def unpaired_lines(cases: Iterable[CaseResult], baseline: Iterable[CaseResult]) -> tuple[str, ...]:
    """Lines on the cases that only one side has.

    One line on cases that only this run has, and one on cases that only the baseline has.
    """
    here, there = (tuple(dict.fromkeys(case.nodeid for case in each)) for each in (cases, baseline))
    lines = []
    if new := [each for each in here if each not in set(there)]:
        lines.append(f"new, not in the baseline: {_named(new)}")
    if gone := [each for each in there if each not in set(here)]:
        lines.append(f"only in the baseline, removed or not selected: {_named(gone)}")
    return tuple(lines)


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMES} more" if len(ids) > _NAMES else ""
    return ", ".join(printable(each, _NAME) for each in ids[:_NAMES]) + more


def holm_corrected(cases: Sequence[CaseResult], rates: ErrorRates) -> tuple[CaseResult, ...]:
    """Holm correction of all comparisons of a run.

    The comparisons were judged before, each with an equal part of the error rate (Bonferroni).  Holm's test finds every
    regression that Bonferroni's finds, and more.
    """
    from pytest_flperf.stats.inference.holm import holm

    all_of_them = [each for case in cases for against in case.against for each in against.comparisons]
    p_values = [each.p_value for each in all_of_them if each.p_value is not None]
    adjusted = iter(holm(p_values))

    def corrected(each: Comparison) -> Comparison:
        if each.p_value is None or next(adjusted) > rates.false_alarm or each.verdict != "undecided":
            return each
        return replace(each, verdict="regressed", reason="", fails=each.scope != DEFAULT_SCOPE)

    return tuple(
        replace(
            case,
            against=tuple(
                replace(against, comparisons=tuple(map(corrected, against.comparisons))) for against in case.against
            ),
        )
        for case in cases
    )


def _turns(other: Measured, case: Measured) -> tuple[str, ...]:
    """How each side was measured (interleaved or alone), if that differs."""
    before, after = (
        next((f"in turn with {printable(each.label, _NAME)}" for each in side.against if each.kind == "pairs"), "alone")
        for side in (other, case)
    )
    return () if before == after else (f"measured: {before} → {after}",)


def compared_run(gate: BaselineGate, candidate: FoundBaseline, rules: Sequence[Rule]) -> ComparedRun:
    """Compare all cases of a stored run, with Holm correction.

    A case with a failing comparison is ``failed``, and then so is the run.  The notes list the cases that can't be
    compared, and those that only one side has.  Raises BaselineError and StoreError where a baseline can't be read.
    """
    run = candidate.run
    others = [(case, gate.counterpart(case, run)) for case in run.cases]
    count = sum(len(rules_for(case.scenario, rules)) for case, other in others if other.case is not None)
    rates = ErrorRates(comparisons=max(count, 1))
    baselines = {each.found.run.id: each.found.run for _, each in others if each.found is not None}
    notes = list(unpaired_lines(run.cases, [case for each in baselines.values() for case in each.cases]))
    cases = []
    for case, other in others:
        values = candidate.values.get((case.nodeid, case.host), {})
        cases.append(replace(case, against=(gate.against(case, run, other, values, rules, rates),)))
        if other.case is None:
            notes.append(str(Note(f"{printable(case.nodeid, _NAME)}: {other.why}", code="not_compared")))
    judged = tuple(map(_failed_by_it, holm_corrected(cases, rates)))
    status: RunStatus = "failed" if any(map(failing, judged)) else run.status
    return ComparedRun(
        replace(run, cases=judged, notes=(*notes, *run.notes), status=status),
        tuple(baselines.values()),
        sum(other.case is not None for _, other in others),
    )


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A candidate run with its comparisons."""

    run: Run
    baselines: tuple[Run, ...]
    """The runs in which its cases were looked up, also where a case was not found."""
    compared: int
    """How many of its cases have a baseline."""


def _failed_by_it(case: CaseResult) -> CaseResult:
    from pytest_flperf.gates.verdict import verdict_text

    return replace(case, outcome="failed", message=verdict_text(case)) if failing(case) else case
