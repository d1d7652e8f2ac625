"""Tests of a mean and of a variance: studentised sign flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.permutation import Bools, Floats, Law, flip_variance, without_slot

__all__ = ["EXACT_UP_TO", "Sums", "flip_tails", "mean_tails", "normal_flip_tails", "skew_tails"]

EXACT_UP_TO: Final = 300
"""Pairs.  Of more the normal law is taken, times :data:`_BEYOND_NORMAL`."""
_STEPS: Final = 6_000
"""Into which the sum of all scores is cut, so that its law can be counted."""
_BEYOND_NORMAL: Final = 3.18
"""How much more often, at most, a sum with random signs is beyond a limit than a normal number of the same variance
(Bentkus and Dzindzalieta 2015, Bernoulli 21)."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of values and weights, turn by turn.

    A side's mean is the one total over the other.
    """

    candidate: Floats
    """NaN for a lost pair, on both sides."""
    candidate_weight: Floats
    """Number of values; of a rate the turn's time."""
    baseline: Floats
    baseline_weight: Floats

    def differences(self, ratio: float = 1.0, difference: float = 0.0) -> Floats:
        """Differences pair by pair, under a supposed change of the mean.

        By how much each pair speaks for a candidate's mean of more than ``ratio`` × the baseline's + ``difference``.

        Where all turns weigh the same that is candidate − ratio × baseline − difference.  Else a turn that weighs more
        brings more of the common mean, which is taken out.
        """
        ours = self.candidate - difference * self.candidate_weight
        theirs = ratio * self.baseline
        weights = np.nansum(self.candidate_weight + self.baseline_weight)
        common = np.nansum(ours + theirs) / weights if weights else 0.0
        return np.asarray(ours - theirs - common * (self.candidate_weight - self.baseline_weight))


def mean_tails(differences: Floats, candidate_first: Bools, *, exact: bool = True) -> Tails:
    """P-values of "the mean difference is not positive", and "not negative".

    Two tests, of which the larger p-value counts.  The signs of the differences are flipped in all ways in which the
    orders might have been drawn: exact where nothing differs, whatever the noise.  And where the sides have other
    tails, so that a mean difference of zero is no symmetry, the one after Hall.

    Args:
        differences: From :meth:`Sums.differences`; NaN for a lost pair.
        candidate_first: The order within each pair, as drawn.
        exact: False: by the normal law, for an estimate or an interval.

    """
    there = ~np.isnan(differences)
    slots = _slots(differences, candidate_first, there)
    greater, less = _flips(slots, candidate_first, exact=exact)
    skewed = skew_tails(np.where(candidate_first, slots, -slots)[there])
    return max(greater, float(skewed[0])), max(less, float(skewed[1]))


def flip_tails(differences: Floats, candidate_first: Bools, *, exact: bool = True) -> Tails:
    """P-values of the sign flips alone, without Hall's test."""
    return _flips(_slots(differences, candidate_first, ~np.isnan(differences)), candidate_first, exact=exact)


def _slots(differences: Floats, candidate_first: Bools, there: Bools) -> Floats:
    """First − second, without what the slot adds.

    0 for a lost pair, which is the same under every order.
    """
    slots = np.zeros(len(differences))
    slots[there] = without_slot(np.where(candidate_first, differences, -differences)[there])
    return slots


def _flips(slots: Floats, candidate_first: Bools, *, exact: bool) -> Tails:
    if exact and len(slots) <= EXACT_UP_TO:
        unit = np.abs(slots).sum() / _STEPS
        # Cut into steps before anything is flipped: the law of the rounded scores is exact, too.
        scores = np.rint(np.abs(slots) / unit).astype(np.int64) if unit > 0 else np.zeros(len(slots), dtype=np.int64)
        return Law(scores, slots > 0).tails(int(scores[(slots > 0) == candidate_first].sum()))
    greater, less = normal_flip_tails(slots, candidate_first)
    factor = _BEYOND_NORMAL if exact else 1.0
    return min(1.0, factor * float(greater)), min(1.0, factor * float(less))


def normal_flip_tails(slots: Floats, candidate_first: Bools) -> tuple[Floats, Floats]:
    """P-values of the sign flips by the normal law.

    With the exact variance, a comparison in each row.

    Args:
        slots: Differences first − second.
        candidate_first: The order within each pair.

    """
    excess = np.where(candidate_first, slots, -slots).sum(axis=-1)
    deviation = np.sqrt(flip_variance(slots))
    z = np.divide(excess, deviation, out=np.zeros_like(excess), where=deviation > 0)
    return np.where(deviation > 0, ndtr(-z), 1.0), np.where(deviation > 0, ndtr(z), 1.0)


def skew_tails(differences: Floats) -> tuple[Floats, Floats]:
    """P-values of a mean of zero, corrected for skewness.

    By Student's ratio, freed from skewness by Hall's cubic transformation.

    With rare slow answers on one side few of them have come, and the mean and its error both are too small: Student's
    test then says "less" too often (Hall 1992, Journal of the Royal Statistical Society B 54, 221–228).

    Args:
        differences: A comparison in each row.

    """
    n = differences.shape[-1]
    if n < 2:
        ones = np.ones(differences.shape[:-1])
        return ones, ones
    mean = differences.mean(axis=-1)
    spread = differences.std(axis=-1, ddof=1)
    varies = spread > 1e-12 * np.abs(mean)
    spread = np.where(varies, spread, 1.0)
    skewness = (((differences - mean[..., None]) / spread[..., None]) ** 3).mean(axis=-1)
    ratio = mean / spread
    z = np.sqrt(n) * (ratio + skewness * ratio**2 / 3 + skewness**2 * ratio**3 / 27 + skewness / (6 * n))
    return (
        np.where(varies, ndtr(-z), np.where(mean > 0, 0.0, 1.0)),
        np.where(varies, ndtr(z), np.where(mean < 0, 0.0, 1.0)),
    )
