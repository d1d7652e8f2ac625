"""Percentiles in which failed requests count as infinitely slow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pytest_flperf.results.metrics import REQUESTS_NEEDED
from pytest_flperf.results.records import Distribution, Interval
from pytest_flperf.stats.summary import distribution, quantile, quantile_interval

__all__ = ["INFINITE", "ZERO", "with_failures"]

INFINITE: Final = ("ttft_ms", "ttfat_ms", "tpot_ms", "e2e_ms", "ttft_sent_ms", "e2e_sent_ms")
"""Metrics of which a failed request has an infinite value."""
ZERO: Final = ("tps", "gen_tps")
"""Metrics of which a failed request has the value 0."""


def with_failures(values: Sequence[float], failed: int) -> Distribution | None:
    """The distribution of ``values`` with as many infinite ones behind them; None where nothing was measured.

    Percentiles and their intervals are of all; mean, standard deviation, smallest and largest of the finite ones.
    """
    measured = distribution(values)
    if measured is None or not failed:
        return measured
    ordered = [*sorted(filter(math.isfinite, values)), *[math.inf] * failed]

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


def _quantile(ordered: Sequence[float], p: float) -> float:
    """As :func:`quantile`; between a finite value and an infinite one it is infinite."""
    place = (len(ordered) - 1) * p
    above = ordered[min(math.floor(place) + 1, len(ordered) - 1)]
    if math.isfinite(above):
        return quantile(ordered, p)
    return ordered[math.floor(place)] if place == math.floor(place) else math.inf
