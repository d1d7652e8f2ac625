"""Matched shares: exact test and score interval of paired 0/1 outcomes.

Of n pairs, ``more`` have a 1 on the candidate's side only and ``less`` on the baseline's only; the rest are alike on
both sides.  numpy and scipy.special alone: ``import scipy.stats`` takes over a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.special import bdtrc, gammaln, ndtri, xlog1py, xlogy

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.exact_tests import crossing, doubled_normal, highest
from pytest_flperf.stats.inference.permutation import Floats

__all__ = ["MatchedCounts", "exact_tails", "fall_tail", "score_interval", "signed_root"]

_EXACT_UP_TO: Final = 3_000
"""Pairs; they take 0.2 s."""
_SLACK: Final = 1e-9
_LEAST: Final = 1e-300
_REMEMBERED: Final = 4_096
"""Answers: a look is judged again when the case ends, and its rules share counts."""


@dataclass(frozen=True, slots=True)
class MatchedCounts:
    """Counts of pairs, and of those that differ each way."""

    pairs: int
    more: int
    """A 1 on the candidate's side, a 0 on the baseline's."""
    less: int

    def __post_init__(self) -> None:
        if min(self.more, self.less) < 0 or not 0 <= self.more + self.less <= self.pairs:
            raise ValueError(f"{self.more} and {self.less} of {self.pairs} pairs differ")

    @property
    def difference(self) -> float:
        """Share of the candidate − share of the baseline."""
        return (self.more - self.less) / self.pairs if self.pairs else 0.0

    @property
    def swapped(self) -> MatchedCounts:
        """The same with the sides exchanged."""
        return MatchedCounts(self.pairs, self.less, self.more)


@lru_cache(_REMEMBERED)
def exact_tails(counts: MatchedCounts, difference: float) -> Tails:
    """P-values of "the shares differ by this": for more, for less.

    Unconditional and exact: the highest chance, whatever share of pairs differs, of data as extreme as these, ordered
    by the signed root of the likelihood ratio (a score order needs 13 % more pairs to exclude a fall when none differ).
    Pairs are taken to be independent.  For many, the normal law of the signed root stands in, doubled to be safe.
    """
    if not counts.pairs:
        return 1.0, 1.0
    if counts.pairs > _EXACT_UP_TO:
        root = float(signed_root(np.array(float(counts.more)), np.array(float(counts.less)), counts.pairs, difference))
        return doubled_normal(root)
    return _more(counts, difference), _more(counts.swapped, -difference)


def fall_tail(counts: MatchedCounts, points: float) -> float:
    """P-value of "the share fell by this or less".

    Half of :func:`exact_tails`, for up to 3,000 pairs.
    """
    return _more(counts.swapped, points)


@lru_cache(_REMEMBERED)
def score_interval(counts: MatchedCounts, level: float) -> tuple[float, float]:
    """Tango's score interval of the difference of shares.

    Tango 1998, Statistics in Medicine 17.  Each limit is wrong as often as ``level``.
    """
    reach = float(ndtri(1 - level))

    def upper(of: MatchedCounts) -> float:
        return crossing(lambda at: _score(of, at) >= -reach, of.difference, 1.0)

    return -upper(counts.swapped), upper(counts)


def _more(counts: MatchedCounts, difference: float) -> float:
    """P-value of "the shares differ by this or less"."""
    n = counts.pairs
    less = np.arange(n + 1)
    seen = float(signed_root(np.array(float(counts.more)), np.array(float(counts.less)), n, difference)) - _SLACK
    least = _least_more(less, n, difference, seen)
    binomial = gammaln(n + 1) - gammaln(less + 1) - gammaln(n - less + 1)

    def chance(rare: Floats) -> Floats:
        """By the rarer of both kinds of difference."""
        p_less = (rare if difference >= 0 else rare - difference)[:, None]
        p_more = (rare + difference if difference >= 0 else rare)[:, None]
        of_less = np.exp(binomial + xlogy(less, p_less) + xlog1py(n - less, -np.minimum(p_less, 1 - 1e-16)))
        part = np.clip(p_more / np.maximum(1 - p_less, _LEAST), 0, 1)
        tail = np.where(least > 0, bdtrc(np.maximum(least - 1, 0), np.maximum(n - less, 1), part), 1.0)
        tail = np.where(least > n - less, 0.0, tail)
        return np.asarray((of_less * tail).sum(axis=1))

    return highest(chance, (1 - abs(difference)) / 2)


def _least_more(
    less: np.ndarray[tuple[int, ...], np.dtype[np.int64]], n: int, difference: float, seen: float
) -> Floats:
    """Counts of ``more`` from which on the data are as extreme.

    One for each number of pairs with less; as extreme as what was seen.
    """
    low, high = np.zeros(len(less)), (n - less + 1).astype(np.float64)
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        inside = middle <= n - less
        extreme = ~inside | (signed_root(np.where(inside, middle, 0.0), less.astype(np.float64), n, difference) >= seen)
        high = np.where(extreme & (low < high), middle, high)
        low = np.where(~extreme & (low < high), middle + 1, low)
    return low


def signed_root(more: Floats, less: Floats, n: int, difference: float) -> Floats:
    """Signed root of the likelihood ratio.

    It tells how far the data lie beyond the difference.
    """
    if difference < 0:
        return -signed_root(less, more, n, -difference)
    rare = _rare(more, less, n, difference)
    alike = n - more - less
    free = xlogy(more, more / n) + xlogy(less, less / n) + xlogy(alike, alike / n)
    bound = xlogy(more, rare + difference) + xlogy(less, rare)
    bound = bound + xlogy(alike, np.maximum(1 - 2 * rare - difference, _LEAST))
    return np.asarray(np.sign(more - less - n * difference) * np.sqrt(np.maximum(2 * (free - bound), 0.0)))


def _rare(more: Floats, less: Floats, n: int, difference: float) -> Floats:
    """Likeliest chance of a pair with less.

    The shares differ by this much (not negative).
    """
    linear = -more - less + (2 * n - more + less) * difference
    constant = -less * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0.0))
    return np.asarray(np.maximum((root - linear) / (4 * n), 0.0))


def _score(counts: MatchedCounts, difference: float) -> float:
    """Tango's score."""
    if difference < 0:
        return -_score(counts.swapped, -difference)
    n, more, less = counts.pairs, float(counts.more), float(counts.less)
    rare = float(_rare(np.array(more), np.array(less), n, difference))
    variance = n * (2 * rare + difference * (1 - difference))
    gap = more - less - n * difference
    return gap / variance**0.5 if variance > 0 else float(np.sign(gap)) * np.inf if gap else 0.0
