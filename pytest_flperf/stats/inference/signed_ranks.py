"""Rank tests of pairs: signed ranks, and exceedances of a percentile.

Both follow from the order alone.

numpy alone: ``import scipy.stats`` takes over a second, and its ``wilcoxon`` knows only orders by a fair coin.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.permutation import Bools, Floats, Law, normal_tails, without_slot

__all__ = ["EXACT_UP_TO", "exceedances", "normal_signed_rank", "ranks", "signed_rank", "tails_of"]

EXACT_UP_TO: Final = 100
"""Pairs.  More are judged by the normal law, which takes a thousandth of the time."""


def signed_rank(y: Floats, candidate_first: Bools, *, exact: bool = True) -> Tails:
    """P-values of Wilcoxon's signed-rank test, under the drawn orders.

    The null hypothesis: "swapping the labels of a pair changes only the sign of its ``y``".

    Wilcoxon's statistic, the sum of the ranks of the positive differences, with the exact law of the orders.  What the
    slot adds is taken out before.  Pairs of equal size share their mean rank, a zero has none: both are the same under
    every order, so that the p-values stay exact.

    Args:
        y: Candidate − baseline, of values or their logarithms; NaN for a lost pair, which says nothing.
        candidate_first: The order within each pair, as drawn.
        exact: False: by the normal law, where an estimate is all that is wanted.

    """
    there = ~np.isnan(y)
    slots = without_slot(np.where(candidate_first, y, -y)[there])
    size = np.abs(slots)
    _, place, count = np.unique(size, return_inverse=True, return_counts=True)
    twice_rank = (2 * np.cumsum(count) - count + 1)[place] * (size > 0)
    scores = np.zeros(len(y), dtype=np.int64)
    scores[there] = twice_rank if (count > 1).any() else twice_rank // 2
    first_is_more = np.zeros(len(y), dtype=np.bool_)
    first_is_more[there] = slots > 0
    return tails_of(scores, first_is_more, candidate_first, exact=exact)


def tails_of(scores: NDArray[np.int64], first_is_more: Bools, candidate_first: Bools, *, exact: bool = True) -> Tails:
    """P-values of a sum of scores, under the drawn orders.

    The sum is over the pairs in which the candidate has more.
    """
    seen = int(scores[first_is_more == candidate_first].sum())
    if exact and len(scores) <= EXACT_UP_TO:
        return Law(scores, first_is_more).tails(seen)
    greater, less = normal_tails(scores.astype(np.float64), first_is_more, float(seen))
    return float(greater), float(less)


def normal_signed_rank(y: Floats, candidate_first: Bools) -> tuple[Floats, Floats]:
    """Signed-rank tests of many comparisons, by the normal law.

    The test of :func:`signed_rank`, a comparison in each row, without ties.
    """
    slots = without_slot(np.where(candidate_first, y, -y))
    scores = ranks(np.abs(slots))
    first_is_more = slots > 0
    return normal_tails(scores, first_is_more, (scores * (first_is_more == candidate_first)).sum(axis=-1))


def ranks(values: Floats) -> Floats:
    """Ranks within each row, 1 for the least."""
    ranked = np.empty(values.shape)
    order = np.argsort(values, axis=-1)
    np.put_along_axis(ranked, order, np.arange(1.0, values.shape[-1] + 1), axis=-1)
    return ranked


def exceedances(candidate: list[Floats], baseline: list[Floats], share: float, candidate_first: Bools) -> Tails:
    """P-values of an exceedance test for a percentile.

    The null hypothesis: "swapping the labels of a pair changes nothing".  The percentile is that of all requests.

    Each pair's score is by how many requests more one side has above the percentile of both sides together (that limit
    is the same under every order; a request that is equal to it, as counts often are, is half above); the sum over the
    pairs in which the candidate has more goes to the exact law.  A median test for any percentile (Mood 1954), by
    randomisation.

    Args:
        candidate: Values of each pair, in order; none for a lost pair.
        baseline: Likewise.
        share: 0.95 for the 95th percentile.
        candidate_first: The order within each pair.

    """
    limit = np.quantile(np.concatenate([*candidate, *baseline]), share)
    more = _twice_above(candidate, limit) - _twice_above(baseline, limit)
    if not (more % 2).any():
        more //= 2
    return tails_of(np.abs(more), np.where(candidate_first, more > 0, more < 0), candidate_first)


def _twice_above(turns: list[Floats], limit: np.floating[Any]) -> NDArray[np.int64]:
    """Twice the number of requests above the limit, by turn.

    Those that are equal to it count half.
    """
    values, turn = np.concatenate(turns), np.repeat(np.arange(len(turns)), [len(each) for each in turns])
    above = (values > limit).astype(np.int64) + (values >= limit)
    found = np.zeros(len(turns), dtype=np.int64)
    np.add.at(found, turn, above)
    return found
