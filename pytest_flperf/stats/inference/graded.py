"""Graded scores: studentised bootstrap of the mean of paired differences."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Final

import numpy as np

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.permutation import Floats

__all__ = ["BootstrapT"]

_SEED: Final = 20261121
_BEYOND_LEVEL: Final = 4
"""Draws per 1 / level: an effect far beyond it then shows as a quarter of the level."""
_LEAST_DRAWS: Final = 4_000
_MOST_DRAWS: Final = 1_000_000
_MOST_NUMBERS: Final = 200_000_000
"""In all: they take some seconds."""
_ROUNDING: Final = 1e-12
_AT_ONCE: Final = 2_000_000
"""Numbers drawn at a time."""


class BootstrapT:
    """Studentised bootstrap of a mean of differences.

    It gives tests and intervals; there is one difference per prompt or pair.

    Of the mean over its own standard error, in samples drawn from the sample (Hall 1988, Annals of Statistics 16).
    """

    def __init__(self, differences: Floats, level: float, most_numbers: int = _MOST_NUMBERS) -> None:
        """Draw the bootstrap samples.

        Args:
            differences: Two at least, candidate − baseline.
            level: The least p-value that matters: more draws are made the smaller it is.
            most_numbers: Numbers drawn at most, in all.

        """
        self._count = len(differences)
        self.mean = float(differences.mean())
        error = float(differences.std(ddof=1)) / sqrt(len(differences))
        self._error = error if error > _ROUNDING else 0.0
        draws = min(max(ceil(_BEYOND_LEVEL / level), _LEAST_DRAWS), _MOST_DRAWS, most_numbers // len(differences))
        self._drawn = _studentised(differences, draws)

    def tails(self, difference: float) -> Tails:
        """P-values of "the mean is this": for more, for less."""
        if not self._error:
            gap = self.mean - difference
            return (float(gap <= _ROUNDING), float(gap >= -_ROUNDING))
        at = (self.mean - difference) / self._error
        below = int(np.searchsorted(self._drawn, at - 1e-9, side="left"))
        above = int(np.searchsorted(self._drawn, at + 1e-9, side="right"))
        all_of_them = len(self._drawn) + 1
        return (all_of_them - below) / all_of_them, (1 + above) / all_of_them

    def interval(self, level: float) -> tuple[float, float]:
        """Limits of the mean, each wrong as often as ``level``.

        Where all differences are alike, the limits allow for a rare different one that is not among these.
        """
        if not self._error:
            hidden = 1 - level ** (1 / self._count)
            return max(self.mean - hidden, -1.0), min(self.mean + hidden, 1.0)
        rank = min(max(int(level * (len(self._drawn) + 1)), 1), len(self._drawn)) - 1
        low = self.mean - float(self._drawn[len(self._drawn) - 1 - rank]) * self._error
        high = self.mean - float(self._drawn[rank]) * self._error
        return max(low, -1.0), min(high, 1.0)


def _studentised(differences: Floats, draws: int) -> Floats:
    """Studentised means of bootstrap samples, in ascending order."""
    n, centre = len(differences), differences.mean()
    chance = np.random.default_rng(_SEED)
    found = []
    for at in range(0, draws, size := max(_AT_ONCE // n, 1)):
        drawn = differences[chance.integers(0, n, (min(size, draws - at), n))]
        gap = drawn.mean(axis=1) - centre
        error = drawn.std(axis=1, ddof=1) / sqrt(n)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_draws = np.where(
                error > _ROUNDING, gap / error, np.where(np.abs(gap) > _ROUNDING, np.sign(gap) * np.inf, 0.0)
            )
        found.append(of_draws)
    return np.sort(np.concatenate(found))
