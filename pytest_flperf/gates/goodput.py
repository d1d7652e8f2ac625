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
"""Gaps are pooled and belong to no single request; a late dispatch is not the server's fault."""


def request_limits(scenario: str, budgets: Iterable[Budget], model: str = "") -> IsGood | None:
    """Predicate of good requests, from the latency budgets of a case.

    It tells whether a request that ended ok keeps every latency budget; None where there is none.

    A limit on any statistic of a request's time or speed limits each request here.  If the metric has no value:

    - A request that has no such metric by its nature keeps the limit.
    - A request whose time is unknown (late read, clock step) keeps it if the worst possible value does; after a late
      read this includes the time per token, which would count from a first token that came too late.
    - Any other request misses it: what was not measured is not good.
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
    # For "at least" on a time, or "at most" on a speed, the worst value is no bound.
    bounded = (METRICS[budget.metric].unit == "ms") == (budget.operator in {"<=", "<"})
    return worst is not None and bounded and COMPARE[budget.operator](worst, budget.limit)
