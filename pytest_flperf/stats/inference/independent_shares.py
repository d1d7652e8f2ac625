"""Two independent shares: exact unconditional test and score interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import bdtrc, gammaln, ndtri, xlog1py, xlogy

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.exact_tests import doubled_normal, highest
from pytest_flperf.stats.inference.permutation import Floats

__all__ = ["Share", "independent_interval", "independent_tails"]

_EXACT_UP_TO: Final = 2_000
"""Requests of a side; they take 0.5 s."""
_SLACK: Final = 1e-9
_LEAST: Final = 1e-300
_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Share:
    """Share as a count of a total."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        """Count over total; 0 where the total is 0."""
        return self.count / self.total if self.total else 0.0


def independent_tails(baseline: Share, candidate: Share, difference: float) -> Tails:
    """P-values of "candidate − baseline is this": for more, for less.

    Unconditional and exact: the highest chance, whatever the baseline's share, of data as extreme as these, ordered by
    the signed root of the likelihood ratio.  For many requests its normal law stands in, doubled to be safe.
    """
    totals = baseline.total, candidate.total
    if not all(totals):
        return 1.0, 1.0
    if max(totals) > _EXACT_UP_TO:
        mine, theirs = (np.array([float(each.count)]) for each in (candidate, baseline))
        return doubled_normal(float(_root(theirs, mine, totals, difference)[0]))
    return _more(baseline, candidate, difference), _more(candidate, baseline, -difference)


def independent_interval(baseline: Share, candidate: Share, level: float) -> tuple[float, float]:
    """Newcombe's interval of candidate − baseline.

    It combines the Wilson scores of both (Newcombe 1998, Statistics in Medicine 17, method 10).
    """
    z = float(ndtri(1 - level))
    (low_b, high_b), (low_c, high_c) = _wilson(baseline, z), _wilson(candidate, z)
    gap = candidate.rate - baseline.rate
    below = ((candidate.rate - low_c) ** 2 + (high_b - baseline.rate) ** 2) ** 0.5
    above = ((high_c - candidate.rate) ** 2 + (baseline.rate - low_b) ** 2) ** 0.5
    return gap - below, gap + above


def _wilson(share: Share, z: float) -> tuple[float, float]:
    n, p = max(share.total, 1), share.rate
    centre, reach = p + z * z / (2 * n), z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


def _more(baseline: Share, candidate: Share, difference: float) -> float:
    """P-value of "candidate − baseline is this or less"."""
    n, m = baseline.total, candidate.total
    counts = np.arange(n + 1).astype(np.float64)
    seen = _root(np.array([float(baseline.count)]), np.array([float(candidate.count)]), (n, m), difference)
    least = _least(counts, (n, m), difference, float(seen[0]) - _SLACK)
    binomial = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    first = max(0.0, -difference)

    def chance(beyond: Floats) -> Floats:
        p = (first + beyond)[:, None]
        of_baseline = np.exp(binomial + xlogy(counts, p) + xlog1py(n - counts, -np.minimum(p, 1 - 1e-16)))
        tail = np.where(least > 0, bdtrc(np.maximum(least - 1, 0), m, np.clip(p + difference, 0, 1)), 1.0)
        return np.asarray((of_baseline * np.where(least > m, 0.0, tail)).sum(axis=1))

    return highest(chance, 1 - abs(difference))


def _least(counts: Floats, totals: tuple[int, int], difference: float, seen: float) -> Floats:
    """Candidate's counts from which on the data are as extreme.

    One for each count of the baseline; as extreme as what was seen.
    """
    low, high = np.zeros(len(counts)), np.full(len(counts), totals[1] + 1.0)
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        extreme = _root(counts, np.minimum(middle, totals[1]), totals, difference) >= seen
        extreme |= middle > totals[1]
        high = np.where(extreme & (low < high), middle, high)
        low = np.where(~extreme & (low < high), middle + 1, low)
    return low


def _root(baseline: Floats, candidate: Floats, totals: tuple[int, int], difference: float) -> Floats:
    """Signed root of the likelihood ratio.

    It tells how far the data lie beyond the difference.
    """
    n, m = totals
    low = np.full(len(baseline), max(0.0, -difference))
    high = np.full(len(baseline), min(1.0, 1.0 - difference))
    for _ in range(_STEPS):  # the likelihood has one top
        p = (low + high) / 2
        slope = _part(baseline, n, p) + _part(candidate, m, p + difference)
        low, high = np.where(slope > 0, p, low), np.where(slope > 0, high, p)
    p = (low + high) / 2
    free = _likelihood(baseline, n, baseline / n) + _likelihood(candidate, m, candidate / m)
    bound = _likelihood(baseline, n, p) + _likelihood(candidate, m, p + difference)
    sign = np.sign(candidate / m - baseline / n - difference)
    return np.asarray(sign * np.sqrt(np.maximum(2 * (free - bound), 0.0)))


def _part(count: Floats, total: int, p: Floats) -> Floats:
    """The slope of a binomial likelihood's logarithm."""
    return np.asarray(count / np.maximum(p, _LEAST) - (total - count) / np.maximum(1 - p, _LEAST))


def _likelihood(count: Floats, total: int, p: Floats) -> Floats:
    inside = np.clip(p, 0.0, 1.0)
    return np.asarray(xlogy(count, inside) + xlogy(total - count, 1 - inside))
