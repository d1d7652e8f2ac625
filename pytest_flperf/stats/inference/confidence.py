"""Estimates and intervals from tests: the changes that a test doesn't reject."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log

from pytest_flperf.stats.inference.decision import Tails

__all__ = ["centre_of", "interval_of"]

_STEPS = 17


def centre_of(tails: Callable[[float], Tails], low: float, high: float) -> float:
    """Estimate: the change for which both tails weigh the same.

    It is a share; for signed ranks, it is that of Hodges and Lehmann (1963).

    Args:
        tails: P-values of "the ratio is this": that it is greater, that it is less.
        low: A ratio below all sensible ones.
        high: One above.

    """

    def is_below(ratio: float) -> bool:
        greater, less = tails(ratio)
        return greater < less

    left, right = _crossing(is_below, low, high)
    return exp((log(left) + log(right)) / 2) - 1


def interval_of(
    tails: Callable[[float], Tails], change: float, low: float, high: float, level: float
) -> tuple[float, float] | None:
    """Interval: all changes that neither tail rejects, as shares.

    None where the data are too few to reject any.

    An end that nothing can be rejected beyond is open: −1 (nothing is left), or infinite.

    Args:
        tails: P-values of "the ratio is this": that it is greater, that it is less.
        change: Where to start from.
        low: A ratio below all sensible ones.
        high: One above.
        level: Of one tail.

    """
    open_below, open_above = tails(low)[0] > level, tails(high)[1] > level
    if open_below and open_above:
        return None
    middle = max(1 + change, low)
    # The outer ends: where all pairs say the same, the interval is that one number, and must hold it.
    lower = 0.0 if open_below else _crossing(lambda ratio: tails(ratio)[0] <= level, low, middle)[0]
    upper = inf if open_above else _crossing(lambda ratio: tails(ratio)[1] > level, middle, high)[1]
    return lower - 1, upper - 1


def _crossing(is_below: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Two ratios between which a condition stops to hold.

    Found by halving on the scale of logarithms.
    """
    left, right = log(low), log(max(high, low))
    for _ in range(_STEPS):
        middle = (left + right) / 2
        if is_below(exp(middle)):
            left = middle
        else:
            right = middle
    return exp(left), exp(right)
