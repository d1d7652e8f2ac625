"""Sides of pairs: their values, and p-values of any change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.extremes import extreme_tails
from pytest_flperf.stats.inference.findings import MEANS, RANKS, SWAPS
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.stats.inference.mean_test import Sums, flip_tails, mean_tails
from pytest_flperf.stats.inference.permutation import Bools, Floats, is_drawn
from pytest_flperf.stats.inference.signed_ranks import exceedances, signed_rank

__all__ = ["Pair", "Sides"]

_PERCENTILES: Final = {"p5": 0.05, "p90": 0.90, "p95": 0.95, "p99": 0.99}
_STATISTICS: Final = ("p50", "mean", *_PERCENTILES, "max", "min", "stdev")
_EXACT_INTERVAL_UP_TO: Final = 20
"""Pairs.  It takes some thirty p-values; from the normal law they are a little wider, and a hundred times quicker."""
_WIDEST: Final = (1e-6, 1e6)
"""Ratios, where the values themselves set no bounds."""
_LARGEST_LOG: Final = 700.0
"""Of a ratio: e⁷⁰⁰ is still a float."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn of each side, one right after the other."""

    candidate: tuple[float, ...]
    """Values of the turn's requests (one where streams = 1), in the metric's unit, in order; none where the turn gave
    none.  What isn't finite is left out: failures are for ``counts.judge_counts``.  A pair that lost a side stays in
    its place, as the law of the orders counts places."""
    baseline: tuple[float, ...]
    candidate_first: bool
    """As :func:`~pytest_flperf.stats.inference.schedule.draw_orders` drew it."""
    weights: tuple[float, float] | None = None
    """How much the candidate's and the baseline's turn weigh in a mean: of a rate, the time that it is the rate of.
    None: as many as their values."""
    requests: tuple[int, int] | None = None
    """Of how many requests the values are; None: one value of each."""
    matched: tuple[MatchedRequest, ...] = ()
    """Of a share or a score: the requests of both turns, matched by their prompt."""


class Sides:
    """Values of both sides, and p-values of any change between them."""

    def __init__(self, pairs: Sequence[Pair], statistic: str) -> None:
        """Take in the pairs, without those that say nothing.

        Raises ValueError for an unknown statistic, or for orders that were not drawn.
        """
        if statistic not in _STATISTICS:
            raise ValueError(f"not a statistic of pairs: {statistic!r}")
        self.statistic = statistic
        self.order: Bools = np.array([pair.candidate_first for pair in pairs], dtype=np.bool_)
        if not is_drawn(self.order):
            raise ValueError("the orders of the pairs did not come from draw_orders")
        # A pair that lost a side says nothing.
        turns = [(_finite(pair.candidate), _finite(pair.baseline)) for pair in pairs]
        turns = [(c, b) if len(c) and len(b) else (_finite(()), _finite(())) for c, b in turns]
        self.candidate, self.baseline = [c for c, _ in turns], [b for _, b in turns]
        self.whole = sum(len(c) > 0 for c in self.candidate)
        self.requests = _requests(pairs, self.candidate, self.baseline)
        """The baseline's and the candidate's."""
        self.positive = all((turn > 0).all() for turn in (*self.candidate, *self.baseline))
        self.all_zero = self.whole > 0 and not any(turn.any() for turn in (*self.candidate, *self.baseline))
        """Whether nothing but zeros was measured."""
        self._medians = _of_turns(self.candidate, np.median), _of_turns(self.baseline, np.median)
        self._sums = _sums(self.candidate, self.baseline, pairs)
        if statistic == "stdev":
            self._squares = _sums(_squares(self.candidate), _squares(self.baseline), None)

    @property
    def method(self) -> str:
        """Name of the test."""
        return {"p50": RANKS, "mean": MEANS}.get(self.statistic, SWAPS)

    @property
    def numbers(self) -> tuple[float | None, float | None]:
        """The statistic of all requests of the baseline and of the candidate."""
        if self.statistic == "mean":
            sums = self._sums
            return _ratio(sums.baseline, sums.baseline_weight), _ratio(sums.candidate, sums.candidate_weight)
        return _statistic(self.baseline, self.statistic), _statistic(self.candidate, self.statistic)

    def at(self, ratio: float = 1.0, difference: float = 0.0, *, exact: bool = True) -> Tails:
        """P-values of "the candidate is ``ratio`` times the baseline plus ``difference``"."""
        if self.statistic == "p50":
            candidate, baseline = self._medians
            as_logs = self.positive and not difference
            y = np.log(candidate / (ratio * baseline)) if as_logs else (candidate - difference) / ratio - baseline
            return signed_rank(y, self.order, exact=exact)
        if self.statistic == "mean":
            return mean_tails(self._sums.differences(ratio, difference), self.order, exact=exact)
        if self.statistic == "stdev":
            return flip_tails(self._squares.differences(ratio**2), self.order, exact=exact)
        changed = [(turn - difference) / ratio for turn in self.candidate]
        if self.statistic in _PERCENTILES:
            return exceedances(changed, self.baseline, _PERCENTILES[self.statistic], self.order)
        return extreme_tails(changed, self.baseline, "max" if self.statistic == "max" else "min", self.order)

    def at_ratio(self, ratio: float) -> Tails:
        """P-values for an interval; exact only for few pairs.

        The normal law does for more.
        """
        return self.at(ratio, exact=len(self.order) <= _EXACT_INTERVAL_UP_TO)

    def roughly(self, ratio: float) -> Tails:
        """Approximate p-values for an estimate.

        The estimate is the change for which both tails weigh the same.  Of a mean that is the ratio of the two.
        """
        if self.statistic == "mean":
            return flip_tails(self._sums.differences(ratio), self.order, exact=False)
        return self.at(ratio, exact=False)

    def bracket(self) -> tuple[float, float]:
        """Ratios between which every sensible one lies, and beyond which all pairs say the same.

        Just beyond the ratios of the pairs they don't: what the slot adds, which is taken out, may still turn a sign.
        It can't from two and a half times the spread of the ratios on: with 8 of 12 candidates first, the middle half
        of the slots holds 5 of one sign and 1 of the other, and (5 · largest − smallest) / 6 < smallest.  More
        one-sided orders reject nothing.
        """
        if not self.positive or self.statistic == "stdev":
            return _WIDEST
        ratios = [  # logarithms, as a ratio itself may underflow
            (math.log(c.min()) - math.log(b.max()), math.log(c.max()) - math.log(b.min()))
            for c, b in zip(self.candidate, self.baseline, strict=True)
            if len(c)
        ]
        low, high = min(low for low, _ in ratios) - 0.001, max(high for _, high in ratios) + 0.001
        beyond = 3 * (high - low)
        return math.exp(max(low - beyond, -_LARGEST_LOG)), math.exp(min(high + beyond, _LARGEST_LOG))


def _requests(pairs: Sequence[Pair], candidate: list[Floats], baseline: list[Floats]) -> tuple[int, int]:
    counts = [
        (len(b), len(c)) if pair.requests is None else (pair.requests[1], pair.requests[0])
        for pair, c, b in zip(pairs, candidate, baseline, strict=True)
        if len(c)
    ]
    return sum(theirs for theirs, _ in counts), sum(ours for _, ours in counts)


def _sums(candidate: list[Floats], baseline: list[Floats], pairs: Sequence[Pair] | None) -> Sums:
    """Each turn's sum and weight."""
    lost = [not len(turn) for turn in candidate]
    ours, theirs = (np.array([float(len(turn)) for turn in side]) for side in (candidate, baseline))
    for at, pair in enumerate(pairs or ()):
        if pair.weights is not None and not lost[at]:
            ours[at], theirs[at] = pair.weights
    means = _of_turns(candidate, np.mean), _of_turns(baseline, np.mean)
    ours[lost] = theirs[lost] = 0.0
    return Sums(means[0] * ours, ours, means[1] * theirs, theirs)


def _squares(side: list[Floats]) -> list[Floats]:
    """Squared distances from the side's own median.

    A shift of all values is no change of their spread.
    """
    centre = np.median(np.concatenate(side)) if any(map(len, side)) else 0.0
    return [(turn - centre) ** 2 for turn in side]


def _of_turns(side: list[Floats], number: Callable[[Floats], np.floating[Any]]) -> Floats:
    """A number of each turn; NaN for a lost one."""
    return np.array([float(number(turn)) if len(turn) else np.nan for turn in side])


def _finite(turn: Sequence[float]) -> Floats:
    values = np.array(turn, dtype=np.float64)
    return values[np.isfinite(values)]


def _ratio(amounts: Floats, weights: Floats) -> float | None:
    whole = float(weights.sum())
    return float(np.nansum(amounts)) / whole if whole > 0 else None


def _statistic(turns: list[Floats], statistic: str) -> float | None:
    """The statistic of all requests of one side."""
    values = np.concatenate([_finite(()), *turns])
    if not len(values):
        return None
    if statistic == "stdev":
        return float(values.std(ddof=1)) if len(values) > 1 else None
    if statistic in ("min", "max"):
        return float(values.min() if statistic == "min" else values.max())
    return float(np.quantile(values, _PERCENTILES.get(statistic, 0.5)))
