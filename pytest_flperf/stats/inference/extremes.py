"""Exact permutation test of a maximum or minimum, turn by turn."""

from __future__ import annotations

from math import comb
from typing import Final, Literal

import numpy as np

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.permutation import Bools, Floats
from pytest_flperf.stats.inference.schedule import ORDER_BLOCK

__all__ = ["Extreme", "extreme_tails"]

Extreme = Literal["max", "min"]

_HALF: Final = ORDER_BLOCK // 2


def extreme_tails(candidate: list[Floats], baseline: list[Floats], statistic: Extreme, candidate_first: Bools) -> Tails:
    """P-values of a permutation test for the difference of extremes.

    The null hypothesis: "swapping the labels of a pair changes nothing".

    The candidate's maximum is that much above the baseline's where every turn with a larger value than the baseline's
    maximum has the candidate's label.  How many of the orders that might have been drawn do that is counted, block by
    block, so any level can be reached.

    Args:
        candidate: Values of each pair, in order; none for a lost pair.
        baseline: Likewise.
        statistic: ``max`` or ``min``.
        candidate_first: The order within each pair.

    """
    sign = 1.0 if statistic == "max" else -1.0
    ours, theirs = (np.array([max(sign * turn, default=-np.inf) for turn in side]) for side in (candidate, baseline))
    highest, other = ours.max(initial=-np.inf), theirs.max(initial=-np.inf)
    if highest >= other:
        more, less = _tails(ours, theirs, candidate_first)
    else:
        less, more = _tails(theirs, ours, ~candidate_first)
    return (more, less) if statistic == "max" else (less, more)


def _tails(high: Floats, low: Floats, high_first: Bools) -> Tails:
    """P-values of the side with the greater maximum.

    Of a lead as large or larger, and of one as large or smaller.
    """
    limit = low.max(initial=-np.inf)
    first, second = np.where(high_first, high, low), np.where(high_first, low, high)
    if high.max(initial=-np.inf) > limit:
        as_large = _chance(first > limit, second > limit)
    else:  # equal maxima: the lead is negative only where the other side has all of them
        as_large = 1 - _chance(second >= limit, first >= limit)
    return as_large, 1 - _chance(first >= limit, second >= limit)


def _chance(first: Bools, second: Bools) -> float:
    """Probability of such orders under :func:`~.schedule.draw_orders`.

    One side is first in these pairs and second in those.
    """
    if (first & second).any():
        return 0.0
    chance = 1.0
    for at in range(0, len(first), ORDER_BLOCK):
        ones, twos = (int(each[at : at + ORDER_BLOCK].sum()) for each in (first, second))
        if max(ones, twos) > _HALF:
            return 0.0
        chance *= comb(ORDER_BLOCK - ones - twos, _HALF - ones) / comb(ORDER_BLOCK, _HALF)
    return chance
