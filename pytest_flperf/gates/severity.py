"""Severity: failures of a run, worst first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_flperf.gates.format import comparisons_of
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Run

__all__ = ["excess", "failed_cases", "missed_budgets"]

_LEAST_FRACTION = 0.01
"""The unit for how far a fraction exceeds a limit of 0."""


def failed_cases(cases: Iterable[CaseResult]) -> list[CaseResult]:
    """Failed cases, worst first.

    In this order: errors, regressions, tests that failed by themselves, then budgets by how far they were missed.
    """
    return sorted((case for case in cases if case.outcome in ("failed", "error")), key=_rank)


def missed_budgets(run: Run) -> list[BudgetVerdict]:
    """Missed budgets of the whole run, worst first."""
    return sorted((each for each in run.budgets if not each.met), key=excess, reverse=True)


def excess(verdict: BudgetVerdict) -> float:
    """Excess over a missed budget, as a share of its limit.

    Infinite where nothing was measured.
    """
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
