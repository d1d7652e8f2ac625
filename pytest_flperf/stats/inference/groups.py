"""Groups of prompts: permutation tests against the rest, and of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from pytest_flperf.stats.inference.holm import holm
from pytest_flperf.stats.inference.permutation import Floats

__all__ = ["AgainstRest", "against_rest", "sign_flips"]

_SEED: Final = 20261121
_DRAWS: Final = 10_000
_LEAST_DRAWS: Final = 2_000
_MOST_NUMBERS: Final = 8_000_000
_AT_ONCE: Final = 1_000_000
_EXACT: Final = 14
"""Pairs up to which all orders are counted."""
_FLIPS: Final = 100_000
_ROUNDING: Final = 1e-9
_Number = TypeVar("_Number", float, Floats)


@dataclass(frozen=True, slots=True)
class AgainstRest:
    """Difference of a group's mean from that of all other values."""

    difference: float
    p_value: float
    """Two-sided."""


def against_rest(values: Sequence[float], groups: Mapping[str, Sequence[int]]) -> dict[str, AgainstRest]:
    """Permutation test of each group of values against the rest (Fisher 1935).

    Under "the group is like the rest" every choice of as many values is equally likely.  P-values are Holm's over all
    groups.  A group of all values, or of none, is left out.

    Args:
        values: One per prompt.
        groups: Places of their values, by name; they may overlap.

    """
    scores = np.array(values, dtype=float)
    sizes = {name: len(places) for name, places in groups.items() if 0 < len(places) < len(scores)}
    if not sizes:
        return {}
    whole, count = float(scores.sum()), len(scores)
    totals = {name: float(scores[list(groups[name])].sum()) for name in sizes}
    differences = {name: _difference(whole, count, totals[name], size) for name, size in sizes.items()}
    reached = dict.fromkeys(sizes, 1)
    left = draws = int(min(_DRAWS, max(_LEAST_DRAWS, _MOST_NUMBERS // count)))
    chance = np.random.default_rng(_SEED)
    while left > 0:
        some = min(left, max(_AT_ONCE // count, 1))
        left -= some
        sums = chance.permuted(np.tile(scores, (some, 1)), axis=1).cumsum(axis=1)
        for name, size in sizes.items():
            drawn = _difference(whole, count, sums[:, size - 1], size)
            reached[name] += int(np.count_nonzero(np.abs(drawn) >= abs(differences[name]) - _ROUNDING))
    adjusted = holm([reached[name] / (draws + 1) for name in sizes])
    return {name: AgainstRest(differences[name], p) for name, p in zip(sizes, adjusted, strict=True)}


def _difference(whole: float, count: int, total: _Number, size: int) -> _Number:
    """Mean of a group with this total minus the mean of the others, of ``count`` values that sum to ``whole``."""
    return total / size - (whole - total) / (count - size)


def sign_flips(differences: Sequence[float]) -> float:
    """P-value of a mean difference of pairs, two-sided: sign flips, exact for few (Fisher 1935).

    Under "both sides are alike" each pair's difference is as likely to be turned round.
    """
    moved = np.array([each for each in differences if abs(each) > _ROUNDING], dtype=float)
    if not len(moved):
        return 1.0
    seen = abs(float(moved.sum())) - _ROUNDING
    if len(moved) <= _EXACT:
        orders = 1 - 2 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
        return float(np.mean(np.abs(orders @ moved) >= seen))
    chance, reached, left = np.random.default_rng(_SEED), 1, _FLIPS
    while left > 0:
        some = min(left, max(_AT_ONCE // len(moved), 1))
        left -= some
        orders = 1 - 2 * chance.integers(0, 2, (some, len(moved)))
        reached += int(np.count_nonzero(np.abs(orders @ moved) >= seen))
    return reached / (_FLIPS + 1)
