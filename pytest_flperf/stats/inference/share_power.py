"""Power of a rule on a share, known before measuring.

It is how often a fall is found.  Answers are right or wrong, and each side is right independently of the other.  Where
the sides err on the same prompts more is found, so what is said is the least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, gammaln, ndtri, xlogy

from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.matched_shares import MatchedCounts, fall_tail, signed_root
from pytest_flperf.stats.inference.permutation import Bools, Floats

__all__ = ["Look", "SharePower"]

_EXACT_UP_TO: Final = 400
"""Pairs; for more the normal law of the signed root gives the limit, at a smaller level."""
_SMALLER: Final = 1.15
"""How much larger exact p-values of 400 pairs are than those of the normal law, near the levels that matter."""
_SPREAD: Final = 7.0
"""Standard deviations beyond which no count is reckoned with."""
_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Look:
    """Look at the data."""

    pairs: int
    """Those that are evidence by then."""
    spent: float
    """Part of the error rates that it may spend."""


class SharePower:
    """Chance that a fall is called ``regressed`` at any look."""

    def __init__(self, looks: Sequence[Look], points: float, rates: ErrorRates) -> None:
        """Plan of a comparison.

        Args:
            looks: With growing numbers of pairs.
            points: The fall that is allowed, as a share: 0.02 for two points.
            rates: How often the answer may be wrong.

        """
        self._looks = tuple(looks)
        self._points = points
        self._levels = tuple(rates.alarm_level(look.spent) for look in looks)

    def of(self, right: float, candidate: float) -> float:
        """Chance of ``regressed``, given the shares that are right.

        Those are the baseline's and the candidate's.  Counts are followed from look to look; what was found is
        left out of the next one.
        """
        better, worse = (1 - right) * candidate, right * (1 - candidate)
        most = self._looks[-1].pairs
        shape = _reach(most, better) + 1, _reach(most, worse) + 1
        going = np.zeros(shape)
        going[0, 0] = 1.0
        before, found = 0, 0.0
        for look, level in zip(self._looks, self._levels, strict=True):
            if look.pairs > before:
                going = _convolved(going, _multinomial(look.pairs - before, better, worse, shape))
                before = look.pairs
            shown = _shown(look.pairs, self._points, level, shape)
            found += float(going[shown].sum())
            going[shown] = 0.0
        return min(max(found, 0.0), 1.0)

    def found_in(self, right: float, wanted: float) -> float | None:
        """Highest candidate's share that is called ``regressed`` with the wanted chance.

        In whole points; None where not even a candidate that is always wrong is.
        """
        low, high = -1, math.floor(100 * right)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.of(right, middle / 100) >= wanted else (low, middle)
        return low / 100 if low >= 0 else None


def _reach(pairs: int, chance: float) -> int:
    """The largest count that is reckoned with."""
    spread = math.sqrt(pairs * chance * (1 - chance))
    return min(pairs, math.ceil(pairs * chance + _SPREAD * spread) + 5)


def _multinomial(pairs: int, better: float, worse: float, shape: tuple[int, int]) -> Floats:
    """Chance of each number of better and of worse pairs."""
    more, less = np.ogrid[: shape[0], : shape[1]]
    alike = pairs - more - less
    inside = np.maximum(alike, 0)
    logs = gammaln(pairs + 1) - gammaln(more + 1) - gammaln(less + 1) - gammaln(inside + 1)
    logs = logs + xlogy(more, better) + xlogy(less, worse) + xlogy(inside, max(1 - better - worse, 0.0))
    return np.asarray(np.where(alike >= 0, np.exp(logs), 0.0))


def _convolved(one: Floats, other: Floats) -> Floats:
    """Law of a sum of counts, cut to their shape."""
    rows, columns = one.shape
    size = (2 * rows, 2 * columns)
    both = np.fft.irfft2(np.fft.rfft2(one, size) * np.fft.rfft2(other, size), size)
    return np.maximum(both[:rows, :columns], 0.0)


def _shown(pairs: int, points: float, level: float, shape: tuple[int, int]) -> Bools:
    """Counts of better and worse pairs by which a look says ``regressed``.

    Any fall must be shown by the law of the orders as well; it is close to the binomial law, which stands in.
    """
    more, less = np.ogrid[: shape[0], : shape[1]]
    possible = more + less <= pairs
    by_chance = np.where(less > 0, bdtrc(np.maximum(less - 1, 0), np.maximum(more + less, 1), 0.5), 1.0)
    shown = possible & (by_chance <= level)
    if points > 0:
        shown &= _roots(pairs, points, shape) >= _limit(pairs, points, level)
    return np.asarray(shown)


def _roots(pairs: int, points: float, shape: tuple[int, int]) -> Floats:
    """How far counts lie beyond the limit, for the worse."""
    more, less = (each.astype(np.float64) for each in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    possible = more + less <= pairs
    found = signed_root(np.where(possible, less, 0.0), np.where(possible, more, 0.0), pairs, points)
    return np.asarray(np.where(possible, found, -np.inf))


@lru_cache(512)
def _limit(pairs: int, points: float, level: float) -> float:
    """Critical signed root of the exact test.

    From it on a fall of more points is shown at the level.  The exact test orders data by it, so one number tells all
    of them apart.
    """
    if pairs > _EXACT_UP_TO:
        return float(ndtri(1 - level / _SMALLER))
    counts = _by_root(pairs, points)
    low, high = 0, len(counts)
    for _ in range(_STEPS):
        if low >= high:
            break
        middle = (low + high) // 2
        more, less = counts[middle]
        shown = fall_tail(MatchedCounts(pairs, int(more), int(less)), points) <= level
        low, high = (low, middle) if shown else (middle + 1, high)
    if low == len(counts):
        return math.inf
    more, less = counts[low]
    return float(signed_root(np.array(float(less)), np.array(float(more)), pairs, points)) - 1e-9


@lru_cache(32)
def _by_root(pairs: int, points: float) -> NDArray[np.int64]:
    """All counts beyond the limit, the nearest first."""
    roots = _roots(pairs, points, (pairs + 1, pairs + 1))
    more, less = np.nonzero(roots > 0)
    order = np.argsort(roots[more, less])
    return np.stack([more[order], less[order]], axis=1)
