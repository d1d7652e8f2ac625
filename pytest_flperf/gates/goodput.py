"""Goodput: whether a request keeps the latency budgets of its case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pytest_flperf.gates.budget_grammar import COMPARE
from pytest_flperf.gates.budgets import Budget, holding
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.stats.descriptive.case import IsGood
from pytest_flperf.stats.descriptive.request_bounds import OF_GAPS, lacks_by_nature, worst_of
from pytest_flperf.stats.descriptive.request_metrics import is_late_read
from pytest_flperf.wire.sample import Sample

__all__ = ["request_limits"]

_NO_REQUESTS_NUMBER: Final = frozenset({"n", "stdev", "cv"})
_NO_LIMITS: Final = frozenset({"itl_ms", "dispatch_delay_ms"})
"""Gaps are pooled, they are no number of one request; and that we sent late is not the server's doing."""


def request_limits(scenario: str, budgets: Iterable[Budget], model: str = "") -> IsGood | None:
    """Whether a request that ended ok keeps every latency budget of a case; None where there is none.

    A limit on any statistic of a request's time or speed is one on each request here.  Of a metric that has no value:

    - A request that has no such metric by its nature keeps the limit.
    - One whose time could not be told (late read, clock step) keeps it where the worst that it can have been does; of
      a late read that holds for the time per token as well, which would be from a first token that came too late.
    - All else does not: what was not measured is not good.
    """
    limits = [
        budget
        for budget in holding(scenario, budgets, model)
        if METRICS[budget.metric].per == "request"
        and METRICS[budget.metric].unit in {"ms", "tokens/s"}
        and budget.metric not in _NO_LIMITS
        and budget.statistic not in _NO_REQUESTS_NUMBER
    ]
    if not limits:
        return None

    def kept(sample: Sample, metrics: Mapping[str, float | None]) -> bool:
        return all(_keeps(sample, metrics.get(budget.metric), budget) for budget in limits)

    return kept


def _keeps(sample: Sample, value: float | None, budget: Budget) -> bool:
    if value is not None and not (budget.metric in OF_GAPS and is_late_read(sample)):
        return COMPARE[budget.operator](value, budget.limit)
    if lacks_by_nature(sample, budget.metric):
        return True
    worst = worst_of(sample, budget.metric)
    # Of "at least" on a time, or "at most" on a speed, the worst is no bound.
    bounded = (METRICS[budget.metric].unit == "ms") == (budget.operator in {"<=", "<"})
    return worst is not None and bounded and COMPARE[budget.operator](worst, budget.limit)
