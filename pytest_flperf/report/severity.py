"""Failures of a run in order of severity, the worst first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_flperf.gates.format import comparisons_of
from pytest_flperf.results.metrics import unit_of
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Run

__all__ = ["excess", "failed_cases", "missed_budgets"]

_LEAST_FRACTION = 0.01
"""The unit in which a share exceeds a limit of 0."""


def failed_cases(cases: Iterable[CaseResult]) -> list[CaseResult]:
    """Cases that failed: errors, regressions, tests that failed by themselves, then budgets by how far they missed."""
    return sorted((case for case in cases if case.outcome in ("failed", "error")), key=_rank)


def missed_budgets(run: Run) -> list[BudgetVerdict]:
    """The run's own budgets that were missed, the one missed by most first."""
    return sorted((each for each in run.budgets if not each.met), key=excess, reverse=True)


def excess(verdict: BudgetVerdict) -> float:
    """How far a missed budget was missed, as a share of its limit; infinite where nothing was measured."""
    value, limit = verdict.value, verdict.limit
    if value is None or not math.isfinite(value):
        return math.inf
    least = _LEAST_FRACTION if unit_of(verdict.metric, verdict.statistic) == "fraction" else 1.0
    if not limit or not value or (value < 0) != (limit < 0):
        return abs(value - limit) / max(abs(limit), least)
    low, high = sorted((abs(value), abs(limit)))
    return high / low - 1


def _rank(case: CaseResult) -> tuple[int, float]:
    missed = [excess(verdict) for verdict in case.budgets if not verdict.met]
    if case.outcome == "error" or not case.requests.ok:
        return 0, 0.0
    if any(each.fails for each in comparisons_of(case)):
        return 1, -_worst_change(case)
    return (3, -max(missed)) if missed else (2, 0.0)


def _worst_change(case: CaseResult) -> float:
    changes: Sequence[float] = [
        abs(each.change_pct) for each in comparisons_of(case) if each.fails and each.change_pct is not None
    ]
    return max(changes, default=0.0)
