"""Student's t distribution, and how far the next value may lie from those that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["prediction_bound", "t_quantile"]

_HALVINGS: Final = 200


def prediction_bound(values: Sequence[float], confidence: float = 0.99) -> float:
    """The one-sided upper bound that the next value of a normal sample stays below with this probability.

    mean + t(confidence, n - 1) × stdev × √(1 + 1/n) (Hahn and Meeker, "Statistical Intervals", 1991, section 4.8).
    Raises ValueError for fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"found {n} values, expected two at least")
    mean = math.fsum(values) / n
    stdev = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean + t_quantile(confidence, n - 1) * stdev * math.sqrt(1 + 1 / n)


def t_quantile(p: float, freedom: int) -> float:
    """The quantile of Student's t distribution, for 0.5 ≤ p < 1 and whole degrees of freedom from 1 on."""
    if not 0.5 <= p < 1 or freedom < 1:
        raise ValueError(f"found p {p} and {freedom} degrees of freedom, expected 0.5 ≤ p < 1 and one at least")
    low, high = 0.0, 1.0
    while _below(high, freedom) < p:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _below(middle, freedom) < p:
            low = middle
        else:
            high = middle
    return high


def _below(t: float, freedom: int) -> float:
    """The probability of a value below t, for t ≥ 0: the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + inside) / 2
