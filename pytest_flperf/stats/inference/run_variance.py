"""Variance between runs: how much runs of the same thing differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from pytest_flperf.stats.inference.permutation import Floats

__all__ = ["UNKNOWN_MACHINE", "BetweenRuns", "between_runs"]

_CLIPPED: Final = 2.0
"""Standard deviations from which on a deviation counts no more: a few may be changes."""
_CLIPPED_SHARE: Final = 0.9205
"""What that leaves of the variance of a normal distribution."""
_EFFICIENCY: Final = 0.93
"""… and of its degrees of freedom (20,000 simulated histories of 3 to 40 runs)."""
_ONE_OF_FORTY: Final = 1.96
_MOST_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class BetweenRuns:
    """How much a statistic differs between runs of the same thing.

    All runs are on the same machine.
    """

    sd_log: float
    """Standard deviation of its logarithm: 0.05 is about 5 %."""
    runs: int
    """How many runs that is worth: its degrees of freedom."""


UNKNOWN_MACHINE: Final = BetweenRuns(sd_log=0.04, runs=2)
"""Of a machine without history.

On rented machines runs differ by 2.7 % (CodSpeed, Benchmarks in CI, 2025: the suites of well-known projects), by 0.03 %
to over 100 % from one benchmark and type of machine to the next (Laaber, Scheuner and Leitner 2019, Empirical Software
Engineering 24).  Local models on two shared cores, without any change, exceeded +10 % in 5 to 36 of 100 comparisons,
which is what 4 % to 18 % would do.  As the range is so wide, the guess is worth two runs only: alone it finds a
doubling at best, and says ``undecided`` to the rest; a few runs of history outweigh it.
"""


@dataclass(frozen=True, slots=True)
class _Variance:
    variance: float
    freedom: float


def between_runs(history: Sequence[float], prior: BetweenRuns = UNKNOWN_MACHINE) -> BetweenRuns:
    """Estimate the variance between runs, from stored runs.

    While these are few, it is drawn towards the guess.

    It uses the differences of neighbours where these are small beside the spread of all (von Neumann 1941, Annals of
    Mathematical Statistics 12): then the spread holds a creep or a step, which is no noise.  Differences count up to
    two standard deviations (Huber 1964, Annals of Mathematical Statistics 35, proposal 2), so that steps hardly do.
    Else by the spread, which knows more.  This variance and that of the guess are averaged by their degrees of freedom
    (as in Smyth 2004, Statistical Applications in Genetics 3, section 4).

    Args:
        history: Logarithms of the statistic of runs of the same case on the same machine, in the order in which they
            were measured, or the reverse.  What is no number ends a level: no difference is taken across it.
        prior: What is believed without any.

    """
    levels = _levels(history)
    found, steps = _spread(levels), _steps(levels)
    if len(steps) and float(steps.mean()) < _least_ratio(found.freedom + 1) * found.variance:
        # n of them are worth 2n²/(3n − 1) degrees of freedom
        found = _Variance(_clipped_mean(steps), _EFFICIENCY * 2 * len(steps) ** 2 / (3 * len(steps) - 1))
    freedom = found.freedom + prior.runs
    variance = (found.freedom * found.variance + prior.runs * prior.sd_log**2) / freedom
    return BetweenRuns(sqrt(variance), int(freedom))


def _levels(history: Sequence[float]) -> list[Floats]:
    """The runs between those that are no number; single ones say nothing."""
    values = np.asarray(history, dtype=np.float64)
    finite = np.isfinite(values)
    parts = np.split(values, np.flatnonzero(~finite))
    return [level for part in parts if len(level := part[np.isfinite(part)]) > 1]


def _spread(levels: Sequence[Floats]) -> _Variance:
    """Variance of runs about the mean of their level.

    All count in full: some machines are slow now and then.
    """
    freedom = sum(len(level) - 1 for level in levels)
    squares = sum(float(((level - level.mean()) ** 2).sum()) for level in levels)
    return _Variance(squares / freedom if freedom else 0.0, freedom)


def _steps(levels: Sequence[Floats]) -> Floats:
    """Half the squared differences of neighbours.

    Their mean is a variance, too.
    """
    return np.concatenate([np.diff(level) ** 2 / 2 for level in levels]) if levels else np.zeros(0)


def _least_ratio(runs: float) -> float:
    """Least ratio of both variances, without any change.

    So many runs fall below it in one of forty histories.
    """
    return 1 - _ONE_OF_FORTY * sqrt(max(runs - 2, 0.0) / max(runs**2 - 1, 1.0))


def _clipped_mean(squares: Floats) -> float:
    """Mean of squares, each clipped to a multiple of that mean."""
    mean = float(squares.mean()) if len(squares) else 0.0
    for _ in range(_MOST_STEPS):
        before, mean = mean, float(np.minimum(squares, _CLIPPED**2 * mean).mean()) / _CLIPPED_SHARE if mean else 0.0
        if before - mean <= 1e-6 * before:
            break
    return mean
