"""Counterparts of cases: the baseline of each, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.gates.rules import IMPLIED_SCOPE, Rule, is_gate, rules_for
from pytest_flperf.history.case_history import CaseHistory
from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.environment import fingerprint
from pytest_flperf.history.levels import series
from pytest_flperf.history.run_differences import differences
from pytest_flperf.history.selection import LOOK_BACK, Measurement, Selection, select
from pytest_flperf.results.comparison import Against, Comparison, Missing
from pytest_flperf.results.records import CaseResult, Measured, PlannedCase, Run

if TYPE_CHECKING:
    from pytest_flperf.history.baseline import FoundBaseline

__all__ = ["Counterpart", "Query", "counterpart", "in_history", "in_run", "missing_against", "noise_series",
           "why_not_compared"]  # fmt: skip

_NAME: Final = 100
_DIFFERENCES: Final = 3
_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class Counterpart:
    """The counterpart of a case, or why there is none."""

    found: FoundBaseline | None = None
    case: CaseResult | None = None
    missing: Missing = ""
    why: str = ""
    """Why there is none, for people."""
    notes: tuple[str, ...] = ()
    noise: tuple[Measurement, ...] = ()
    """Earlier measurements that tell how much runs differ, newest first."""


@dataclass(frozen=True, slots=True)
class Query:
    """Query for the baseline in a case's history."""

    latest: str
    """Latest start of the measurement (see ``history.clocks.latest_start``)."""
    branch: str | None = None
    """None: of any."""


def in_run(found: FoundBaseline, history: CaseHistory | None, case: Measured, run: Run, query: Query) -> Counterpart:
    """The counterpart in a named run.

    Raises StoreError where the history can't be read.
    """
    if why := why_not_compared(case, None):
        return Counterpart(found, None, "candidate", why)
    other = counterpart(case, found.run.cases)
    if other is None:
        return Counterpart(found, None, "not_in_baseline", "the baseline has no such case")
    if why := why_not_compared(case, other):
        return Counterpart(found, None, "not_in_baseline", why)
    if history is None:
        return Counterpart(found, other)
    measurements = history.measurements(case, fingerprint(run.host), conditions_of(case))
    return Counterpart(found, other, noise=select(measurements, query.latest, baseline=False).noise)


def in_history(history: CaseHistory, case: Measured, run: Run, query: Query) -> Counterpart:
    """The counterpart among all earlier measurements of a case.

    Raises BaselineError and StoreError where the history, or the run that was selected, can't be read.
    """
    conditions = conditions_of(case) if case.requests.total else None  # without requests a case doesn't show them
    selection = select(history.measurements(case, fingerprint(run.host), conditions), query.latest, query.branch)
    notes = _not_yet(selection.not_yet)
    if why := why_not_compared(case, None):
        return Counterpart(None, None, "candidate", why, notes)
    chosen = selection.baseline
    if chosen is None:
        missing, why = _why_none(history, case, run, query, selection)
        return Counterpart(None, None, missing, why, notes)
    found = history.run(chosen.run_id)
    of_host = [each for each in found.run.cases if each.nodeid == case.nodeid and each.host == chosen.host]
    other = of_host[0] if of_host else counterpart(case, found.run.cases)
    if other is None:
        return Counterpart(found, None, "unreadable", f"run {chosen.run_id} has no such case", notes)
    if selection.passed_over:
        notes = (*notes, f"newer runs that can't be the baseline: {_told(selection.passed_over)}")
    return Counterpart(found, other, notes=notes, noise=selection.noise)


def missing_against(
    case: Measured, label: str, other: Counterpart, rules: Iterable[Rule], *, fails: bool, required: bool = False
) -> Against:
    """Comparisons of a case without a counterpart, all undecided.

    Args:
        case: The candidate.
        label: The requested baseline.
        other: Why there is none.
        rules: As written; the implied one is left out.
        fails: Whether a gate fails a case that it can't decide.
        required: Whether a case without a baseline fails, whatever its rules.

    """
    asked = [rule for rule in rules_for(case.scenario, rules) if rule.scope != IMPLIED_SCOPE]
    measured = [rule for rule in asked if is_gate(rule) or (rule.statistic and _number(case, rule) is not None)]
    return Against(
        kind="run",
        label=label,
        run_id=None if other.found is None else other.found.run.id,
        started_at=None if other.found is None else other.found.run.started_at,
        missing=other.missing,
        notes=other.notes,
        comparisons=tuple(
            Comparison(
                rule=rule.expression,
                metric=rule.metric,
                statistic=rule.statistic,
                verdict="undecided",
                fails=required or (fails and is_gate(rule)),
                reason=f"nothing to compare with: {other.why}",
                candidate=_number(case, rule),
                threshold_pct=_threshold_pct(rule),
                threshold_floor=rule.threshold.floor or None,
                n_candidate=case.requests.total,
                scope=rule.scope,
            )
            for rule in measured or asked
        ),
    )


def counterpart(case: PlannedCase, cases: Iterable[CaseResult]) -> CaseResult | None:
    """The same case of another run, preferably of the same host.

    None if there is none.
    """
    same = [each for each in cases if each.nodeid == case.nodeid]
    return next((each for each in same if each.host == case.host), same[0] if same else None)


def why_not_compared(case: Measured, other: CaseResult | None) -> str:
    """Why a case can't be compared; empty if it can.

    A case that could not be measured (its model did not load) is compared all the same: it answered nothing.

    Args:
        case: The candidate; before it is judged, nothing speaks against it.
        other: The same case of the baseline; None: only the candidate is looked at.

    """
    if other is not None and (other.partial or other.given_up):
        return "the case of the baseline was not fully measured"
    if other is not None and (other.outcome in ("skipped", "error") or not other.requests.total):
        return f"the case of the baseline was not measured ({other.outcome})"
    if not isinstance(case, CaseResult):
        return ""
    if case.outcome == "skipped":
        return "it was skipped"
    if case.partial:
        return "it was not fully measured"
    return ""


def noise_series(history: CaseHistory, noise: Sequence[Measurement], metric: str, statistic: str | None) -> list[float]:
    """One number over the noise measurements, with NaN between levels."""
    return series(noise, history.numbers(noise, metric, statistic))


def _why_none(
    history: CaseHistory, case: Measured, run: Run, query: Query, selection: Selection
) -> tuple[Missing, str]:
    on_branch = "" if query.branch is None else f" on branch {printable(query.branch, _NAME)}"
    if not selection.never_had_any:
        looked = f" among the newest {LOOK_BACK:,}" if len(selection.passed_over) >= LOOK_BACK else ""
        why = f"no earlier measurement{on_branch} may be a baseline{looked}"
        if selection.passed_over:
            why += f": {_told(selection.passed_over)}; 'flperf baseline accept RUN' accepts one"
        return "not_accepted", why
    if selection.passed_over:
        return "first", f"no earlier run{on_branch} measured it and passed: {_told(selection.passed_over)}"
    others = select(history.measurements(case, None, None), query.latest, query.branch)
    newest = others.baseline or next(iter(others.passed_over), None)
    if newest is None:
        return "first", f"no earlier run{on_branch} measured it"
    return "first", (
        f"no earlier run{on_branch} measured it under these conditions; run {printable(newest.run_id, _NAME)} did "
        f"under others: {_differences(history, newest, case, run)}"
    )


def _differences(history: CaseHistory, newest: Measurement, case: Measured, run: Run) -> str:
    found = history.run(newest.run_id).run
    other = counterpart(case, found.cases)
    lines = () if other is None else differences(found, run, other, case)
    shown = "; ".join(printable(line, _NAME) for line in lines[:_DIFFERENCES]) or "in turn with another side, or alone"
    return shown + (f" and {len(lines) - _DIFFERENCES} more" if len(lines) > _DIFFERENCES else "")


def _told(measurements: Sequence[Measurement]) -> str:
    more = f" and {len(measurements) - _RUNS} more" if len(measurements) > _RUNS else ""
    return ", ".join(f"{printable(each.run_id, _NAME)} {each.standing}" for each in measurements[:_RUNS]) + more


def _not_yet(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    return tuple(
        f"run {printable(each.run_id, _NAME)} is left out: it is dated {printable(each.started_at, 40)}, in the future"
        for each in measurements[:1]
    )


def _number(case: Measured, rule: Rule) -> float | None:
    if rule.statistic is None:
        value = getattr(case, rule.metric)
    else:
        found = case.metrics.get(rule.metric)
        value = None if found is None else found.statistic(rule.statistic)
    return None if value is None or not math.isfinite(value) else float(value)


def _threshold_pct(rule: Rule) -> float | None:
    threshold = rule.threshold
    if threshold.floor and not threshold.share:
        return None
    return 100 * threshold.share if threshold.higher_is_worse else -100 * threshold.share
