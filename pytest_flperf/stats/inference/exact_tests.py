"""Numerics of exact tests: the worst nuisance parameter, the ends of intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.special import ndtr

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.permutation import Floats

__all__ = ["crossing", "doubled_normal", "highest"]

_LEAST: Final = 1e-6
_GRID: Final = 60
_ROUNDS: Final = 3
_FINER: Final = 11
_STEPS: Final = 50


def highest(chance: Callable[[Floats], Floats], most: float) -> float:
    """Maximum of a smooth probability over a nuisance parameter.

    The parameter goes from 0 to ``most``: on a grid, then ever finer round the top.
    """
    least = min(_LEAST, most)
    grid = np.concatenate([[0.0], np.geomspace(least, most, _GRID), np.linspace(least, most, _GRID)]) if most else [0.0]
    at = np.unique(grid)
    found = chance(at)
    best = float(found.max())
    for _ in range(_ROUNDS if most else 0):
        top = int(found.argmax())
        at = np.linspace(at[max(top - 1, 0)], at[min(top + 1, len(at) - 1)], _FINER)
        found = chance(at)
        best = max(best, float(found.max()))
    return min(best, 1.0)


def crossing(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Point where a condition stops to hold, by halving.

    It holds at ``low``.
    """
    if holds(high):
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def doubled_normal(root: float) -> Tails:
    """Twice the normal tails of a signed root.

    The exact tails are larger than the normal ones, by half and more.
    """
    return min(1.0, 2 * float(ndtr(-root))), min(1.0, 2 * float(ndtr(root)))
