"""Statistics of metrics: names, units, and requests that percentiles need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pytest_flperf.results.metrics import METRICS, Metric
from pytest_flperf.results.run_metrics import JUDGE_METRIC, RUN_METRICS

__all__ = [
    "COMPUTED_STATISTICS",
    "QUALITY_STATISTICS",
    "RATE_STATISTICS",
    "REQUESTS_NEEDED",
    "RESOURCE_STATISTICS",
    "STATISTICS",
    "is_statistic",
    "statistics_of",
    "unit_of",
]

STATISTICS: Final = ("n", "mean", "stdev", "min", "p5", "p50", "p90", "p95", "p99", "max")
"""Statistics of a distribution, in the order of the results file."""

COMPUTED_STATISTICS: Final = ("cv",)
"""Statistics computed from these: the coefficient of variation, stdev / mean.  In budgets, and in no file."""

RATE_STATISTICS: Final = ("upper95",)
"""Statistics of ``error_rate`` and ``timeout_rate`` that a budget can limit, in addition to the rate itself: the
one-sided upper 95 % confidence bound (Clopper and Pearson), which is never low with few requests."""

QUALITY_STATISTICS: Final = ("lower95",)
"""Statistics of ``quality`` that a budget can limit as well: the one-sided lower 95 % confidence bound of its mean.

And for any number K ``pass@K`` and ``pass^K``, the chance that one, or each, of K answers scores 1."""

RESOURCE_STATISTICS: Final = ("n", "mean", "min", "max")
"""Statistics of a resource."""

REQUESTS_NEEDED: Final[Mapping[str, int]] = MappingProxyType({"p5": 130, "p50": 11, "p90": 64, "p95": 130, "p99": 662})
"""Fewest requests that a percentile needs to be trusted: the bounds that MLPerf uses (p5 like p95, its mirror)."""

_PASS: Final = re.compile(r"pass[@^][1-9][0-9]{0,3}")
_UNITLESS: Final = {"n": "count", "cv": "fraction"}
_RATES: Final = frozenset({"error_rate", "timeout_rate"})


def is_statistic(metric: Metric, name: str) -> bool:
    """Whether a budget on a metric can limit this statistic."""
    return name in statistics_of(metric) or (metric.name == "quality" and _PASS.fullmatch(name) is not None)


def unit_of(name: str, statistic: str | None = None) -> str:
    """The unit of a metric or of one of its statistics.

    Metrics are those of cases and runs; empty for a name of a later version.
    """
    if statistic in _UNITLESS:
        return _UNITLESS[statistic]
    if name == JUDGE_METRIC:
        return "fraction"
    metric = METRICS.get(name) or RUN_METRICS.get(name)
    return metric.unit if metric is not None else ""


def statistics_of(metric: Metric) -> tuple[str, ...]:
    """Statistics of a metric that a budget can limit.

    Empty for a metric that is one number without statistics.
    """
    if metric.per == "request":
        more = QUALITY_STATISTICS if metric.name == "quality" else ()
        return (*STATISTICS, *COMPUTED_STATISTICS, *more)
    if metric.per == "resource":
        return RESOURCE_STATISTICS
    return RATE_STATISTICS if metric.name in _RATES else ()
