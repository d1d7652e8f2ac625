"""Both sides' values of a compared metric, few enough to be kept in results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.serialize import Reader, Record

__all__ = ["MOST_QUANTILES", "Sides", "drawn_metric"]

MOST_QUANTILES: Final = 99
"""Quantiles that are kept of a side."""
_DIGITS: Final = 5
_DRAWN: Final = ("ms", "tokens/s")


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values))


@dataclass(frozen=True, slots=True)
class Sides(Record):
    """Quantiles of a metric on both sides of a comparison, ascending.

    Of k quantiles, the i-th (from 0) has the level (i + ½) / k.  Of 99 requests or fewer each value is one.
    """

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]

    _readers: ClassVar[Mapping[str, Reader]] = {"baseline": _numbers, "candidate": _numbers}

    @classmethod
    def of_values(cls, baseline: Iterable[float], candidate: Iterable[float]) -> Self | None:
        """The sides with these values, in any order; None where one has none."""
        both = _quantiles(baseline), _quantiles(candidate)
        return cls(*both) if all(both) else None


def drawn_metric(name: str) -> bool:
    """Whether the values of a metric make a curve: times and speeds of requests."""
    metric = METRICS.get(name)
    return metric is not None and metric.per == "request" and metric.unit in _DRAWN


def _quantiles(values: Iterable[float]) -> tuple[float, ...]:
    found: Sequence[float] = sorted(value for value in values if 0 <= value < math.inf)
    count = len(found)
    if count > MOST_QUANTILES:
        found = [found[(2 * place + 1) * count // (2 * MOST_QUANTILES)] for place in range(MOST_QUANTILES)]
    return tuple(float(f"{value:.{_DIGITS}g}") for value in found)
