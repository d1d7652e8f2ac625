"""Permutation law: sums of scores over all orders drawn.

It follows from the drawing of the orders within pairs, and from nothing else.

A test that follows from how the order was drawn (Fisher 1935, The Design of Experiments, chapter II; Rosenberger and
Lachin 2016, Randomization in Clinical Trials, chapter 6) needs no assumption about the machine: neither that its noise
is normal, nor that successive requests are independent, nor that it holds still.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pytest_flperf.stats.inference.schedule import ORDER_BLOCK

__all__ = ["Bools", "Floats", "Law", "flip_variance", "is_drawn", "normal_tails", "without_slot"]

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

_HALF: Final = ORDER_BLOCK // 2


def is_drawn(candidate_first: Bools) -> bool:
    """Whether these orders can come from ``schedule.draw_orders``.

    They can where no block holds more than ten of either.
    """
    blocks = [candidate_first[at : at + ORDER_BLOCK] for at in range(0, len(candidate_first), ORDER_BLOCK)]
    return all(block.sum() <= _HALF and (~block).sum() <= _HALF for block in blocks)


class Law:
    """Exact permutation distribution of a sum of scores.

    It is taken over all orders that might have been drawn.

    The score of a pair is in the sum where its difference, candidate − baseline, comes out positive.  A swap of labels
    changes that for each pair whose score isn't zero.
    """

    def __init__(self, scores: NDArray[np.int64], first_is_more: Bools) -> None:
        """Count the orders, pair by pair.

        Args:
            scores: Not negative, the same under every order; zero for a pair that says nothing or was lost.
            first_is_more: Of each pair, whether its first slot has the larger number.

        """
        chance = np.zeros((_HALF + 1, 1))
        chance[0, 0] = 1.0
        taken = np.arange(_HALF + 1)
        block, place = 0, 0
        for position in np.flatnonzero(
            scores
        ).tolist():  # in a block all places are alike, so those of 0 can be left out
            score, is_more = int(scores[position]), bool(first_is_more[position])
            if position // ORDER_BLOCK > block:
                block, place = position // ORDER_BLOCK, 0
                whole = chance.sum(axis=0)
                chance = np.zeros((_HALF + 1, len(whole)))
                chance[0] = whole
            candidate_first = np.clip((_HALF - taken) / (ORDER_BLOCK - place), 0, 1)[:, None]
            width = chance.shape[1]
            after = np.zeros((_HALF + 1, width + score))
            at = score if is_more else 0
            after[1:, at : at + width] += (chance * candidate_first)[:-1]
            at = score - at
            after[:, at : at + width] += chance * (1 - candidate_first)
            chance = after
            place += 1
        self._chance = chance.sum(axis=0)

    def tails(self, seen: int) -> tuple[float, float]:
        """P(sum ≥ seen), P(sum ≤ seen)."""
        return float(min(self._chance[seen:].sum(), 1.0)), float(min(self._chance[: seen + 1].sum(), 1.0))


def normal_tails(scores: Floats, first_is_more: Bools, seen: Floats | float) -> tuple[Floats, Floats]:
    """Both tails by the normal law, one row per comparison.

    With the exact mean and variance.

    For many pairs (the law is a sum over independent blocks), and to tell quickly which of many rows deserve counting.
    Ranks have lighter tails than the normal law: what it gives is larger than the truth where that is small.
    """
    from scipy.special import ndtr

    variance = flip_variance(np.where(first_is_more, scores, -scores))
    deviation = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)) / 2
    excess = seen - scores.sum(axis=-1) / 2
    return np.asarray(ndtr((0.5 - excess) / deviation)), np.asarray(ndtr((0.5 + excess) / deviation))


def flip_variance(slots: Floats) -> Floats:
    """Variance of the sum of differences, over all orders.

    The differences are candidate − baseline, the orders all that might have been drawn.

    Args:
        slots: Differences first − second, a comparison in each row.

    """
    variance = np.zeros(slots.shape[:-1])
    for at in range(0, slots.shape[-1], ORDER_BLOCK):
        block = slots[..., at : at + ORDER_BLOCK]
        squares = (block**2).sum(axis=-1)
        # Any two orders of a block are correlated with −1/19.
        variance += squares - (block.sum(axis=-1) ** 2 - squares) / (ORDER_BLOCK - 1)
    return variance


def without_slot(slots: Floats) -> Floats:
    """Differences first − second without what the slot adds.

    A swap of labels changes none of these numbers: it only says which of the two was the candidate.  Whatever is worked
    out from them alone is the same under every order, so the test stays exact (adjustment before a randomisation test:
    Rosenbaum 2002, Statistical Science 17, pages 286–327).  Taken out is the mean of their middle half, which outliers
    don't move; as orders are balanced, a true difference between the sides is hardly in it.
    """
    n = slots.shape[-1]
    if n == 0:
        return slots
    quarter = n // 4
    middle = np.sort(slots, axis=-1)[..., quarter : n - quarter]
    return np.asarray(slots - middle.mean(axis=-1, keepdims=True))
