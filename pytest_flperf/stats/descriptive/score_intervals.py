"""Confidence intervals of a mean score over prompts, from 0 to 1.

For scores of 0 and 1 they are Clopper and Pearson's ("The use of confidence or fiducial limits illustrated in the case
of the binomial", Biometrika 26(4), 1934).  For others they are Gaffke's ("Three test statistics for a nonparametric
one-sided hypothesis on the mean of a nonnegative variable", Mathematical Methods of Statistics 14(4), 2005), which are
the same for 0 and 1: a quantile of the mean that the scores and one more, the worst that there is, have under weights
drawn from a flat Dirichlet distribution.  No normal distribution is assumed, which few prompts and scores near 1 don't
have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pytest_flperf.results.serialize import Interval

__all__ = ["mean_interval", "mean_lower_bound"]

_DRAWN_UP_TO: Final = 1_000
"""Scores; of more the weighted mean's distribution is close to a beta distribution with its mean and variance."""
_DRAWS: Final = 20_000
_AT_ONCE: Final = 2_000_000
_SEED: Final = 20261130


def mean_interval(scores: Sequence[float], confidence: float = 0.95) -> Interval:
    """Two-sided confidence interval of the mean of independent scores.

    Raises ValueError for none.
    """
    tail = (1 - confidence) / 2
    return mean_lower_bound(scores, 1 - tail), 1.0 - mean_lower_bound([1.0 - each for each in scores], 1 - tail)


def mean_lower_bound(scores: Sequence[float], confidence: float = 0.95) -> float:
    """One-sided lower confidence bound of the mean of independent scores.

    Of n scores of 1 it is (1 - confidence)^(1/n).  Raises ValueError for none, and for scores outside of 0 to 1.
    """
    if not scores or not all(0 <= each <= 1 for each in scores):
        raise ValueError(f"found {len(scores)} scores, expected one at least, each from 0 to 1")
    return _bound(tuple(sorted(scores)), confidence)


@lru_cache(64)
def _bound(scores: tuple[float, ...], confidence: float) -> float:
    n, tail = len(scores), 1 - confidence
    low, high = scores[0], scores[-1]
    if high == 0.0:
        return 0.0
    if low == high:
        return high * math.exp(math.log(tail) / n)
    if all(each in (0.0, 1.0) for each in (low, high)) and all(each in (0.0, 1.0) for each in scores):
        passed = sum(each == 1.0 for each in scores)
        return _beta_quantile(passed, n - passed + 1, tail)
    return _drawn(scores, tail) if n <= _DRAWN_UP_TO else _matched(scores, tail)


def _beta_quantile(a: float, b: float, tail: float) -> float:
    from scipy.special import betaincinv  # late: few runs score answers

    return float(betaincinv(a, b, tail))


def _matched(scores: Sequence[float], tail: float) -> float:
    """Quantile of the beta distribution with the mean and the variance of the weighted mean."""
    n = len(scores)
    mean = math.fsum(scores) / (n + 1)
    variance = (math.fsum((each - mean) ** 2 for each in scores) + mean**2) / ((n + 1) * (n + 2))
    size = mean * (1 - mean) / variance - 1
    return _beta_quantile(mean * size, (1 - mean) * size, tail)


def _drawn(scores: Sequence[float], tail: float) -> float:
    """Quantile of drawn weighted means; the same scores give the same quantile."""
    import numpy as np  # late, as above

    values = np.array([0.0, *scores])
    chance = np.random.default_rng(_SEED)
    means = []
    for at in range(0, _DRAWS, size := max(_AT_ONCE // len(values), 1)):
        weights = chance.standard_exponential((min(size, _DRAWS - at), len(values)))
        means.append(weights @ values / weights.sum(axis=1))
    drawn = np.sort(np.concatenate(means))
    return float(drawn[max(math.floor(tail * (len(drawn) + 1)) - 1, 0)])
