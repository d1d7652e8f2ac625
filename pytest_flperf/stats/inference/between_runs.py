"""Comparison of two separate runs, with the variance between runs.

The runs were measured one after the other: is the newer one worse?

Between two runs the machine itself changes (other neighbours, another temperature, another layout in memory), by
several percent on machines that CI rents, and no number of requests within a run shows by how much.  A decision
therefore needs how much runs of the same thing differ: from history where there is some, else from a careful guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, expm1, isfinite, log, sqrt
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from pytest_flperf.stats.inference.decision import (
    Evidence,
    Tails,
    better_way,
    decide,
    not_improved,
    of_change,
    of_floor,
    shared_rate,
    way_of,
)
from pytest_flperf.stats.inference.findings import BLOCKS, MEAN_REQUESTS, SUMMARIES, ErrorRates, Finding, Threshold
from pytest_flperf.stats.inference.permutation import Floats
from pytest_flperf.stats.inference.run_variance import UNKNOWN_MACHINE, BetweenRuns, between_runs

__all__ = ["Summary", "block_length", "judge_runs", "judge_summaries"]

_DRAWS: Final = 1_000
_SEED: Final = 20261121
_TAIL: Final = 0.025
_ADVICE: Final = "fewer rules, more stored runs or both sides in turn (--flperf-against)"
_LARGEST_CORRELATION: Final = 0.9
_MUCH: Final = 1_000
"""Percent.  What differs by more is told as that."""
_FAR: Final = 1e6
"""Standard errors.  What lies farther away is as sure."""
_PERCENTILES: Final = {"p5": 0.05, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_OTHERS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "mean": lambda rows: np.asarray(rows.mean(axis=-1)),
    "stdev": lambda rows: np.asarray(rows.std(axis=-1, ddof=1)),
}


@dataclass(frozen=True, slots=True)
class Summary:
    """One side's statistic, from a results file without samples."""

    value: float
    low: float
    """Lower limit of its 95 % interval."""
    high: float
    n: int


def judge_runs(
    baseline: Sequence[float],
    candidate: Sequence[float],
    statistic: str,
    threshold: Threshold,
    rates: ErrorRates,
    *,
    between_runs: BetweenRuns,
    requests_needed: int,
    history: Sequence[float] = (),
) -> Finding:
    """Judge a run against a stored one, from their samples.

    One look only.

    The variance of the logarithm of the ratio is that within each run, by a circular block bootstrap, plus twice that
    between runs; its degrees of freedom are Satterthwaite's, and never more than what runs differ by is known with.
    A mean is freed from skewness besides.  Where a side is 0 the difference is judged, by what earlier runs differ by.

    Args:
        baseline: Values of the stored run's requests, in the order in which they were sent.
        candidate: Likewise, of the newer run.
        statistic: ``p50``, ``mean``, ``p5``, ``p90``, ``p95``, ``p99``, ``stdev``; an extreme is always ``undecided``.
        threshold: What is allowed.
        rates: How often the answer may be wrong.
        between_runs: From :func:`between_runs`.
        requests_needed: Fewest requests a side (``REQUESTS_NEEDED`` of the statistic; 0: none).
        history: The statistic of earlier runs, in the metric's unit.

    """
    counts = (len(baseline), len(candidate))
    needed = max(requests_needed, 2)
    if min(counts) < needed:
        return _undecided(
            counts, BLOCKS, f"{statistic} needs {needed} requests a side; there are {counts[0]} and {counts[1]}"
        )
    if statistic not in {*_PERCENTILES, *_OTHERS}:
        return _undecided(counts, BLOCKS, f"{statistic} depends on single requests: two runs can't tell it apart")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        sides = [_side(np.array(values, dtype=np.float64), statistic) for values in (baseline, candidate)]
    noise = _Noise(between_runs, history)
    return _judge(sides[0], sides[1], counts, threshold, rates, noise, BLOCKS, is_mean=statistic == "mean")


def judge_summaries(
    baseline: Summary,
    candidate: Summary,
    threshold: Threshold,
    rates: ErrorRates,
    *,
    between_runs: BetweenRuns,
    requests_needed: int,
    history: Sequence[float] = (),
    is_mean: bool = False,
) -> Finding:
    """Judge a run against a stored one, from their summaries.

    Their results hold a statistic, its 95 % interval and n, but no samples.

    As :func:`judge_runs`, with the variance within a run from the interval's width, which knows nothing of requests
    that depend on each other: with a history, that lies in the variance between runs.
    """
    counts = (baseline.n, candidate.n)
    if min(counts) < max(requests_needed, 2):
        reason = f"needs {requests_needed} requests a side; there are {counts[0]} and {counts[1]}"
        return _undecided(counts, SUMMARIES, reason)
    half = 2 * float(ndtri(1 - _TAIL))
    sides = [_Side(side.value, (side.high - side.low) / half, side.n - 1.0) for side in (baseline, candidate)]
    noise = _Noise(between_runs, history)
    return _judge(sides[0], sides[1], counts, threshold, rates, noise, SUMMARIES, is_mean=is_mean)


def block_length(values: Floats) -> int:
    """Requests in a block of the bootstrap.

    From the correlation ρ of the ranks of neighbours, as is best for a mean of a first-order autoregression:
    (√6 ρ / (1 − ρ²))^⅔ n^⅓ (Carlstein 1986, Annals of Statistics 14, for overlapping blocks: Künsch 1989, Annals of
    Statistics 17); at least 1, at most a quarter of the run.
    """
    n = len(values)
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranked = (np.cumsum(count) - (count - 1) / 2)[place] - (n + 1) / 2  # equal ones share a rank: a clock has ticks
    spread = float(ranked @ ranked)
    correlation = float(ranked[1:] @ ranked[:-1]) / spread if spread else 0.0
    correlation = min(max(correlation, 0.0), _LARGEST_CORRELATION)
    best = (sqrt(6) * correlation / (1 - correlation**2)) ** (2 / 3) * n ** (1 / 3)
    return int(max(1, min(ceil(best), n // 4)))


@dataclass(frozen=True, slots=True)
class _Side:
    value: float
    error: float
    """Standard error of the value, within the run."""
    freedom: float
    third: float = 0.0
    """Third central moment of the value, within the run: of a mean, since few of its rare slow answers may be seen."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """Variance between runs, and the history behind it."""

    between: BetweenRuns
    history: Sequence[float]

    def in_units(self, level: float) -> BetweenRuns:
        """Variance between runs in the metric's unit.

        From earlier runs' values, where a side has no logarithm.

        Args:
            level: About what the values are, for the guess.

        """
        guess = BetweenRuns(UNKNOWN_MACHINE.sd_log * level, UNKNOWN_MACHINE.runs)
        return between_runs(self.history, guess)


def _side(values: Floats, statistic: str) -> _Side:
    n, length = len(values), block_length(values)
    blocks = ceil(n / length)
    starts = np.random.default_rng(_SEED).integers(0, n, (_DRAWS, blocks, 1))
    drawn = values[((starts + np.arange(length)) % n).reshape(_DRAWS, -1)[:, :n]]
    of_draws = _statistic(drawn, statistic)
    # Deviations from a mean that was estimated from so many blocks are too small by this.
    error = float(of_draws.std(ddof=1)) * sqrt(blocks / max(blocks - 1, 1))
    third = float(((of_draws - of_draws.mean()) ** 3).mean()) if statistic == "mean" else 0.0
    return _Side(float(_statistic(values[None, :], statistic)[0]), error, max(blocks - 1.0, 1.0), third)


def _statistic(rows: Floats, statistic: str) -> Floats:
    if statistic in _OTHERS:
        return _OTHERS[statistic](rows)
    return np.asarray(np.quantile(rows, _PERCENTILES[statistic], axis=-1))


def _judge(
    baseline: _Side,
    candidate: _Side,
    counts: tuple[int, int],
    threshold: Threshold,
    rates: ErrorRates,
    noise: _Noise,
    method: str,
    *,
    is_mean: bool,
) -> Finding:
    if not all(map(isfinite, (baseline.value, baseline.error, candidate.value, candidate.error))):
        return _undecided(counts, method, "some values are infinite, or so large that nothing says how much they vary")
    nothing = _undecided(counts, method, "", baseline.value, candidate.value)
    few = is_mean and min(counts) < MEAN_REQUESTS
    positive = baseline.value > 0 and candidate.value > 0
    if not any((baseline.value, baseline.error, candidate.value, candidate.error)):
        return replace(nothing, reason=_few(counts)) if few else replace(nothing, word="unchanged")
    evidence = _by_ratio(baseline, candidate, threshold, noise) if positive else None
    if evidence is None or threshold.floor:
        by_difference = _by_difference(baseline, candidate, threshold, noise)
        evidence = by_difference if evidence is None or not threshold.share else evidence.with_floor(by_difference)
    if few:
        evidence = replace(evidence, within=1.0, better=1.0)
    word = decide(evidence, rates)
    judged = replace(nothing, word=word, probability=evidence.probability, p_value=evidence.worse)
    if not positive:
        judged = replace(judged, change=-1.0 if baseline.value > 0 else None)
    else:
        ratio, (error, freedom) = log(candidate.value / baseline.value), _of_ratio(baseline, candidate, noise)
        reach = error * float(stdtrit(freedom, 1 - _TAIL))
        judged = replace(judged, change=expm1(ratio), interval=(_expm1(ratio - reach), _expm1(ratio + reach)))
    if word == "regressed" and not baseline.value:
        return replace(judged, reason=f"it rose from 0 to {candidate.value:.4g}")
    if word != "undecided":
        return replace(judged, reason=not_improved(word, better_way(threshold), evidence.better, rates, 1.0, _ADVICE))
    shared = shared_rate(way_of(threshold), evidence.worse, rates, 1.0, _ADVICE)
    return replace(judged, reason=shared or _why(baseline, candidate, noise) + (f"; {_few(counts)}" if few else ""))


def _few(counts: tuple[int, int]) -> str:
    return (
        f"a mean is called unchanged only with {MEAN_REQUESTS} requests a side or more, as slow answers may be rare; "
        f"there are {counts[0]} and {counts[1]}"
    )


def _of_ratio(baseline: _Side, candidate: _Side, noise: _Noise) -> tuple[float, float]:
    """Standard error and degrees of freedom of the logarithm of the ratio."""
    parts = [(side.error / side.value, side.freedom) for side in (baseline, candidate)]
    return _combined(parts, sqrt(2) * noise.between.sd_log, noise.between.runs)


def _by_ratio(baseline: _Side, candidate: _Side, threshold: Threshold, noise: _Noise) -> Evidence:
    sign = 1 if threshold.higher_is_worse else -1
    best = 1 - sign * threshold.share
    ratio, (error, freedom) = log(candidate.value / baseline.value), _of_ratio(baseline, candidate, noise)
    third = _relative(candidate) - _relative(baseline)

    def at(limit: float) -> Tails:
        return _tails(ratio - log(limit), error, freedom, third)

    return of_change(at(1 + sign * threshold.share), at(best) if best > 0 else None, threshold)


def _relative(side: _Side) -> float:
    """The third central moment as a share of the value."""
    return side.third / side.value / side.value / side.value


def _by_difference(baseline: _Side, candidate: _Side, threshold: Threshold, noise: _Noise) -> Evidence:
    """Evidence by the difference of both sides.

    Whether the floor is exceeded; for a rule without one, where a side is 0, the share of the baseline.
    """
    positive = baseline.value > 0 and candidate.value > 0
    between = noise.between
    apart = between.sd_log * sqrt(baseline.value**2 + candidate.value**2)
    if not positive:
        level = max(abs(baseline.value), abs(candidate.value), *map(abs, noise.history), 0.0)
        between = noise.in_units(level)
        apart = sqrt(2) * between.sd_log

    def at(ratio: float, difference: float) -> Tails:
        parts = [(ratio * baseline.error, baseline.freedom), (candidate.error, candidate.freedom)]
        error, freedom = _combined(parts, apart, between.runs)
        third = candidate.third - baseline.third * ratio * ratio * ratio
        return _tails(candidate.value - ratio * baseline.value - difference, error, freedom, third)

    worst, best = of_floor(threshold)
    by_floor = of_change(at(1.0, worst), at(1.0, best), threshold)
    if positive or (threshold.floor and not threshold.share):
        return by_floor
    sign = 1 if threshold.higher_is_worse else -1
    by_share = of_change(at(1 + sign * threshold.share, 0.0), at(max(1 - sign * threshold.share, 0.0), 0.0), threshold)
    return by_share.with_floor(by_floor) if threshold.floor else by_share


def _tails(excess: float, error: float, freedom: float, third: float = 0.0) -> Tails:
    """P-values by Student's t, and corrected for skewness; the larger.

    The correction is Hall's (1992).  Without any error at all, what is seen is so.
    """
    if not error:
        return (float(excess <= 0), float(excess >= 0))
    t, skewness = min(max(excess / error, -_FAR), _FAR), third / error / error / error
    corrected = t + skewness * t * t / 3 + skewness * skewness * t * t * t / 27 + skewness / 6
    corrected = corrected if isfinite(corrected) else t
    return (
        max(float(stdtr(freedom, -each)) for each in (t, corrected)),
        max(float(stdtr(freedom, each)) for each in (t, corrected)),
    )


def _combined(within: Sequence[tuple[float, float]], between: float, runs: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of parts.

    After Satterthwaite (1946, Biometrics Bulletin 2).

    The degrees of freedom are never more than those of the variance between runs.  Where the noise within the runs is
    much larger, Satterthwaite's formula gives nearly as many as that noise has; but how a wide noise within a run
    changes from one run to the next (a machine with two speeds, say) is known from other runs only.

    Args:
        within: Standard error and degrees of freedom within each run.
        between: Standard error of what runs differ by.
        runs: Degrees of freedom of that.

    """
    parts = [*within, (between, float(runs))]
    largest = max(error for error, _ in parts)
    if not largest:
        return 0.0, 1.0
    shares = [((error / largest) ** 2, freedom) for error, freedom in parts]
    variance = sum(share for share, _ in shares)
    spread = sum(share**2 / freedom for share, freedom in shares)
    return largest * sqrt(variance), min(variance**2 / spread, float(runs))


def _expm1(value: float) -> float:
    return expm1(min(value, 700.0))


def _why(baseline: _Side, candidate: _Side, noise: _Noise) -> str:
    if not (baseline.value > 0 and candidate.value > 0):
        known = f"{len(noise.history)} earlier runs" if noise.history else "a guess"
        return f"two runs of the same may differ this much, by {known}; measuring both sides in turn tells more"
    error, _ = _of_ratio(baseline, candidate, noise)
    whole, part = (_percent(100 * _expm1(sd)) for sd in (error, sqrt(2) * noise.between.sd_log))
    return (
        f"two runs of the same differ by about {whole}, of which {part} between runs (by {noise.between.runs} degrees "
        "of freedom); measuring both sides in turn tells more"
    )


def _percent(share: float) -> str:
    if share > _MUCH:
        return f"more than {_MUCH:,} %"
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def _undecided(
    counts: tuple[int, int], method: str, reason: str, baseline: float | None = None, candidate: float | None = None
) -> Finding:
    return Finding("undecided", baseline, candidate, None, None, None, None, *counts, None, method, reason)
