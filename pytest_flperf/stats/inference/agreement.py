"""Agreement of a judge with human labels, and pass rates corrected by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, TypeAlias

import numpy as np
from scipy.special import bdtr, ndtri

from pytest_flperf.stats.inference.graded import BootstrapT

__all__ = ["Corrected", "Interval", "LabelCounts", "corrected_rate", "kappa", "kappa_interval", "mean_interval",
           "sign_test"]  # fmt: skip

Interval: TypeAlias = tuple[float, float]
"""Lower and upper limit."""

_TAIL: Final = 0.025
_Z: Final = float(ndtri(1 - _TAIL))
_SEED: Final = 20261121
_DRAWS: Final = 10_000
_PRIOR: Final = 0.5
_LEAST_SKILL: Final = 0.05
"""Sensitivity + specificity − 1 below which a judge says next to nothing, and no rate can be corrected by it."""


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Labelled answers that a judge has judged."""

    passes: int
    """Answers that people passed."""
    passes_agreed: int
    """Of them, those that the judge passed."""
    fails: int
    """Answers that people failed."""
    fails_agreed: int
    """Of them, those that the judge did not pass."""

    def __post_init__(self) -> None:
        if not (0 <= self.passes_agreed <= self.passes and 0 <= self.fails_agreed <= self.fails):
            raise ValueError(f"no counts of labels: {self}")

    @property
    def total(self) -> int:
        """All of them."""
        return self.passes + self.fails

    @property
    def sensitivity(self) -> float | None:
        """Share of the good answers that the judge passes, q₁."""
        return self.passes_agreed / self.passes if self.passes else None

    @property
    def specificity(self) -> float | None:
        """Share of the bad answers that the judge does not pass, q₀."""
        return self.fails_agreed / self.fails if self.fails else None


@dataclass(frozen=True, slots=True)
class Corrected:
    """Corrected pass rate with its 95 % interval."""

    rate: float
    ci95: Interval


def kappa(counts: LabelCounts) -> float | None:
    """Cohen's κ: agreement beyond chance (Cohen 1960).

    1 is full agreement, 0 what two that guess at their rates would reach.  None where it is not defined: there are no
    labels, or people and the judge all say the same one thing.
    """
    cells = (counts.passes_agreed, counts.passes - counts.passes_agreed, counts.fails - counts.fails_agreed,
             counts.fails_agreed)  # fmt: skip
    found = float(_kappas(np.array([cells], dtype=float))[0]) if counts.total else float("nan")
    return None if np.isnan(found) else found


def kappa_interval(counts: LabelCounts) -> Interval | None:
    """95 % interval of Cohen's κ; None where κ is not defined.

    Quantiles of the posterior with Jeffreys' prior over the four cells: unlike the usual normal approximation (Fleiss,
    Cohen and Everitt 1969) it does not shrink to a point where all labels agree.
    """
    if kappa(counts) is None:
        return None
    cells = np.array([counts.passes_agreed, counts.passes - counts.passes_agreed,
                      counts.fails - counts.fails_agreed, counts.fails_agreed])  # fmt: skip
    drawn = _kappas(np.random.default_rng(_SEED).dirichlet(cells + _PRIOR, _DRAWS))
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def _kappas(cells: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> np.ndarray[
    tuple[int, ...], np.dtype[np.float64]
]:  # fmt: skip
    """κ of tables: both pass, only people pass, only the judge passes, neither."""
    shares = cells / cells.sum(axis=1, keepdims=True)
    both, people, judge, neither = shares.T
    agreed = both + neither
    by_chance = (both + people) * (both + judge) + (neither + people) * (neither + judge)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(by_chance < 1, (agreed - by_chance) / (1 - by_chance), np.nan))


def corrected_rate(passed: float, prompts: int, labels: LabelCounts) -> Corrected | None:
    """Pass rate corrected for the judge's mistakes, with a 95 % interval from both sets.

    θ = (p + q₀ − 1) / (q₀ + q₁ − 1) (Rogan and Gladen 1978, American Journal of Epidemiology 107, 71–76); the interval
    is that of Lang and Reiczigel (2014, Preventive Veterinary Medicine 113, 13–22), which counts how few prompts and
    how few labels there are.  Where labels are of the same answers it is wider than it need be.  None without
    prompts, without labels of both kinds, and where the judge is hardly better than chance.

    Args:
        passed: Share of the prompts whose answers the judge passed.
        prompts: How many there are.
        labels: How the judge does on labelled answers.

    """
    q1, q0 = labels.sensitivity, labels.specificity
    if not prompts or q1 is None or q0 is None or q0 + q1 - 1 < _LEAST_SKILL:
        return None
    estimate = min(max((passed + q0 - 1) / (q0 + q1 - 1), 0.0), 1.0)
    n = prompts + _Z**2
    p = (prompts * passed + _Z**2 / 2) / n
    n1, n0 = labels.passes + 2, labels.fails + 2
    q1, q0 = (labels.passes_agreed + 1) / n1, (labels.fails_agreed + 1) / n0
    skill = q0 + q1 - 1
    if skill < _LEAST_SKILL:
        return None
    theta = (p + q0 - 1) / skill
    of_q1, of_q0 = q1 * (1 - q1) / n1, q0 * (1 - q0) / n0
    centre = theta + 2 * _Z**2 * (theta * of_q1 - (1 - theta) * of_q0)
    error = sqrt(p * (1 - p) / n + theta**2 * of_q1 + (1 - theta) ** 2 * of_q0) / skill
    low, high = max(centre - _Z * error, 0.0), min(centre + _Z * error, 1.0)
    return Corrected(estimate, (min(low, estimate), max(high, estimate)))


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided sign test: p-value of "both win equally often"."""
    if not wins + losses:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def mean_interval(values: Sequence[float], least: float, most: float) -> Interval | None:
    """95 % interval of a mean of bounded scores, one per prompt.

    Studentised bootstrap; where all scores are alike it allows for a rare other one.  None for fewer than two.
    """
    if len(values) < 2:
        return None
    span = most - least
    low, high = BootstrapT((np.array(values) - least) / span, _TAIL).interval(_TAIL)
    return least + span * max(low, 0.0), least + span * min(high, 1.0)
