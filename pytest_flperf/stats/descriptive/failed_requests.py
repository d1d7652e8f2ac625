"""Percentiles in which failed requests count as infinitely slow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, repeat
from typing import Final

from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.results.records import Distribution, Interval
from pytest_flperf.stats.descriptive.quantiles import Column
from pytest_flperf.stats.descriptive.summary import Ordered, distribution, quantile, quantile_interval

__all__ = ["INFINITE", "ZERO", "with_failures", "with_zeros"]

INFINITE: Final = ("ttft_ms", "ttfat_ms", "tpot_ms", "e2e_ms", "ttft_sent_ms", "e2e_sent_ms")
"""Metrics of which a failed request has an infinite value."""
ZERO: Final = ("tps", "gen_tps")
"""Metrics of which a failed request has the value 0."""


def with_zeros(values: Column, failed: int) -> Distribution | None:
    """Distribution of values, with a zero for each failed request.

    None where nothing was measured.
    """
    if not len(values):
        return None
    return distribution(Column(chain(values, repeat(0.0, failed))) if failed else values)


def with_failures(values: Iterable[float], failed: int) -> Distribution | None:
    """Distribution of values, with an infinite one for each failed request.

    None where nothing was measured.

    Percentiles and their intervals are of all; mean, standard deviation, smallest and largest of the finite ones.
    """
    finite = values if isinstance(values, Column) else Column(values)
    measured = distribution(finite)
    if measured is None or not failed:
        return measured
    ordered = _Beyond(finite, failed)

    def interval(p: float) -> Interval | None:
        found = quantile_interval(ordered, p)
        return found if found is not None and math.isfinite(found[1]) else None

    return replace(
        measured,
        n=len(ordered),
        p5=_quantile(ordered, 0.05),
        p50=_quantile(ordered, 0.5),
        p90=_quantile(ordered, 0.9),
        p95=_quantile(ordered, 0.95),
        p99=_quantile(ordered, 0.99),
        p50_ci95=interval(0.5),
        p95_ci95=interval(0.95),
        unsure=tuple(name for name, needed in REQUESTS_NEEDED.items() if len(ordered) < needed),
        as_inf=failed,
    )


class _Beyond:
    """Values in ascending order, and infinite ones behind them."""

    def __init__(self, finite: Column, infinite: int) -> None:
        self._finite = finite
        self._known = len(finite)
        self._length = self._known + infinite

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, k: int) -> float:
        return self._finite[k] if k < self._known else math.inf


def _quantile(ordered: Ordered, p: float) -> float:
    """Quantile; infinite between a finite value and an infinite one.

    Else as :func:`quantile`.
    """
    place = (len(ordered) - 1) * p
    below = math.floor(place)
    if math.isfinite(ordered[min(below + 1, len(ordered) - 1)]):
        return quantile(ordered, p)
    return ordered[below] if place == below else math.inf
