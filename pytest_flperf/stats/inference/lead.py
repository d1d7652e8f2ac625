"""Lead of one model over another: how many times better, over scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, log, sqrt

from pytest_flperf.stats.inference.run_variance import UNKNOWN_MACHINE, BetweenRuns
from pytest_flperf.stats.inference.student import t_quantile

__all__ = ["FEWEST_SCENARIOS", "Lead", "Pair", "lead_between", "lead_in_turns"]

FEWEST_SCENARIOS = 6
"""Scenarios that a lead in turns needs.  On a machine with two speeds, one model can be slow in each of four
scenarios by chance (1 of 128 runs), and then nothing seems to vary."""
_FARTHEST = 30.0
"""Logarithm of the largest lead that is told: 1e13."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Values of two models in one scenario; both are positive."""

    ours: float
    theirs: float
    error_log: float = 0.0
    """Standard error of the logarithm of their ratio, within this scenario; 0: unknown."""

    @property
    def log_ratio(self) -> float:
        """Logarithm of theirs / ours."""
        return log(self.theirs / self.ours)


@dataclass(frozen=True, slots=True)
class Lead:
    """Estimate and interval; above 1 the first model has less."""

    value: float
    low: float
    high: float


def lead_in_turns(pairs: Sequence[Pair], level: float) -> Lead | None:
    """Ratio of two models that took turns: theirs / ours, its geometric mean over scenarios.

    Which model of a scenario is measured first alternates.  What the machine does meanwhile then hits both models
    alike, and shows in how the scenarios differ: Student's interval of the mean logarithm.

    Args:
        pairs: one for each scenario.
        level: chance that an end of the interval is wrong.

    Returns:
        None with fewer than :data:`FEWEST_SCENARIOS`.

    """
    if len(pairs) < FEWEST_SCENARIOS:
        return None
    mean, spread = _mean_and_spread(pairs)
    return _lead(mean, spread / sqrt(len(pairs)), len(pairs) - 1, level)


def lead_between(pairs: Sequence[Pair], level: float, noise: BetweenRuns = UNKNOWN_MACHINE) -> Lead | None:
    """Ratio of two models of which one was measured after the other.

    As :func:`lead_in_turns`, but what the machine did meanwhile may have hit one of them alone.  So by as much as two
    runs of the same thing differ, both may differ in all scenarios at once; its degrees of freedom are those of what is
    known about that.

    Returns:
        None with one scenario whose own error is unknown.

    """
    if not pairs or (len(pairs) == 1 and not pairs[0].error_log):
        return None
    mean, spread = _mean_and_spread(pairs)
    within = sqrt(fsum(each.error_log**2 for each in pairs)) / len(pairs)
    error = sqrt(max(spread / sqrt(len(pairs)), within) ** 2 + 2 * noise.sd_log**2)
    return _lead(mean, error, noise.runs, level)


def _mean_and_spread(pairs: Sequence[Pair]) -> tuple[float, float]:
    logs = [each.log_ratio for each in pairs]
    mean = fsum(logs) / len(logs)
    if len(logs) == 1:
        return mean, 0.0
    return mean, sqrt(fsum((each - mean) ** 2 for each in logs) / (len(logs) - 1))


def _lead(mean: float, error: float, freedom: int, level: float) -> Lead:
    reach = error * t_quantile(1 - level, freedom)
    return Lead(exp(mean), _exp(mean - reach), _exp(mean + reach))


def _exp(value: float) -> float:
    return exp(min(max(value, -_FARTHEST), _FARTHEST))
