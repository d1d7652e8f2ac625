"""Two sides that were measured in turn, pair by pair, in random order: is the candidate worse.

What is assumed, and where the method comes from, is in ``docs/decisions.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pytest_flperf.results.metrics import REQUESTS_NEEDED
from pytest_flperf.stats.deciding import Evidence, Tails, decide, of_change, of_floor
from pytest_flperf.stats.findings import RANKS, SWAPS, ErrorRates, Finding, Threshold
from pytest_flperf.stats.inversion import centre_of, interval_of
from pytest_flperf.stats.matched_requests import MatchedRequest
from pytest_flperf.stats.orders import Bools, Floats, is_drawn
from pytest_flperf.stats.schedule import draw_orders, looks, spent_at
from pytest_flperf.stats.signed_ranks import exceedances, signed_rank
from pytest_flperf.stats.swaps import DRAWS, label_swaps

__all__ = ["Pair", "draw_orders", "judge_pairs", "looks"]

_RANKED: Final = ("p50", "mean")
_PERCENTILES: Final = {"p5": 0.05, "p90": 0.90, "p95": 0.95, "p99": 0.99}
_SWAPPED: Final = ("max", "min", "stdev")
_LEAST_PAIRS: Final = 6
_QUICK_DRAWS: Final = 4_000
_EXACT_INTERVAL_UP_TO: Final = 20
"""Pairs.  It takes some thirty p-values; from the normal law they are a little wider, and a hundred times quicker."""
_CONFIDENCE_LEFT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn of each side, one right after the other."""

    candidate: tuple[float, ...]
    """Values of the turn's requests (one where streams = 1), in the metric's unit, in order; none where the turn gave
    none.  What isn't finite is left out: failures are for ``counts.judge_counts``.  A pair that lost a side stays in
    its place, as the law of the orders counts places."""
    baseline: tuple[float, ...]
    candidate_first: bool
    """As :func:`draw_orders` drew it."""
    requests: tuple[MatchedRequest, ...] = ()
    """Of a share or a score: the requests of both turns, matched by their prompt."""


def judge_pairs(
    pairs: Sequence[Pair], statistic: str, threshold: Threshold, rates: ErrorRates, *, look: int, looks: int
) -> Finding:
    """What the pairs so far say.

    Args:
        pairs: All since the first, in the order in which they were measured.
        statistic: Of a distribution: ``p50``, ``mean``, ``p5``, ``p90``, ``p95``, ``p99``, ``min``, ``max``, ``stdev``.
        threshold: What is allowed.
        rates: How often the answer may be wrong.
        look: Which look this is, 1 for the first.
        looks: How many there may be in all.

    Raises:
        ValueError: An unknown statistic, no such look, or orders that :func:`draw_orders` can't have drawn.

    """
    spent = spent_at(look, looks)
    sides = _Sides(pairs, statistic)
    baseline, candidate = (_statistic(values, statistic) for values in (sides.baseline, sides.candidate))
    counts = (sum(map(len, sides.baseline)), sum(map(len, sides.candidate)))
    why = _too_few(statistic, counts, sides.whole)
    method = RANKS if statistic in _RANKED else SWAPS
    if why or baseline is None or candidate is None:
        return Finding("undecided", baseline, candidate, None, None, None, None, *counts, sides.whole, method, why)
    evidence = _evidence(sides, threshold, candidate - baseline)
    word = decide(evidence, rates, spent)
    level = _CONFIDENCE_LEFT * spent / 2
    low, high = sides.bracket()
    change = centre_of(sides.roughly, low, high)
    return Finding(
        word,
        baseline,
        candidate,
        change=change,
        interval=interval_of(sides.at_ratio, change, low, high, level),
        probability=evidence.probability,
        p_value=evidence.worse,
        n_baseline=counts[0],
        n_candidate=counts[1],
        pairs=sides.whole,
        method=method,
        reason=_undecided(threshold, evidence.worse, rates, spent, last=look == looks) if word == "undecided" else "",
    )


class _Sides:
    """The values of both sides, and the p-values of any change between them."""

    def __init__(self, pairs: Sequence[Pair], statistic: str) -> None:
        if statistic not in (*_RANKED, *_PERCENTILES, *_SWAPPED):
            raise ValueError(f"no statistic of pairs: {statistic!r}")
        self.statistic = statistic
        self.order: Bools = np.array([pair.candidate_first for pair in pairs], dtype=np.bool_)
        if not is_drawn(self.order):
            raise ValueError("the orders of the pairs are none that draw_orders draws")
        # A pair that lost a side says nothing.
        turns = [(_finite(pair.candidate), _finite(pair.baseline)) for pair in pairs]
        turns = [(c, b) if len(c) and len(b) else (_finite(()), _finite(())) for c, b in turns]
        self.candidate, self.baseline = [c for c, _ in turns], [b for _, b in turns]
        self.whole = sum(len(c) > 0 for c in self.candidate)
        self.positive = all((turn > 0).all() for turn in (*self.candidate, *self.baseline))
        self._turns = [np.array([_turn(turn, statistic) for turn in side]) for side in (self.candidate, self.baseline)]

    def at(self, ratio: float = 1.0, difference: float = 0.0, *, draws: int = DRAWS, exact: bool = True) -> Tails:
        """P-values of "the candidate is ``ratio`` times the baseline plus ``difference``"."""
        if self.statistic in _RANKED:
            candidate, baseline = self._turns
            as_logs = self.positive and not difference
            y = np.log(candidate / (ratio * baseline)) if as_logs else (candidate - difference) / ratio - baseline
            return signed_rank(y, self.order, exact=exact)
        if self.statistic == "stdev":
            candidates, baselines = _centred(self.candidate), _centred(self.baseline)
            return label_swaps([turn / ratio for turn in candidates], baselines, "stdev", self.order, draws)
        changed = [(turn - difference) / ratio for turn in self.candidate]
        if self.statistic in _PERCENTILES:
            return exceedances(changed, self.baseline, _PERCENTILES[self.statistic], self.order)
        return label_swaps(changed, self.baseline, "max" if self.statistic == "max" else "min", self.order, draws)

    def at_ratio(self, ratio: float) -> Tails:
        """For an interval: fewer draws do."""
        return self.at(ratio, draws=_QUICK_DRAWS, exact=len(self.order) <= _EXACT_INTERVAL_UP_TO)

    def roughly(self, ratio: float) -> Tails:
        """For an estimate: the normal law does."""
        return self.at(ratio, draws=_QUICK_DRAWS, exact=False)

    def bracket(self) -> tuple[float, float]:
        """Ratios between which every sensible one lies."""
        if not self.positive or self.statistic == "stdev":
            return 1e-3, 1e3
        ratios = [
            (c.min() / b.max(), c.max() / b.min()) for c, b in zip(self.candidate, self.baseline, strict=True) if len(c)
        ]
        return min(low for low, _ in ratios) * 0.999, max(high for _, high in ratios) * 1.001


def _evidence(sides: _Sides, threshold: Threshold, difference: float) -> Evidence:
    sign = 1 if threshold.higher_is_worse else -1
    best = 1 - sign * threshold.share
    evidence = of_change(sides.at(1 + sign * threshold.share), sides.at(best) if best > 0 else None, threshold)
    if not threshold.floor:
        return evidence
    if sides.statistic == "stdev":
        # A shift of all values leaves it as it is, so no test of a difference follows from one: the estimate decides.
        beyond = sign * difference > threshold.floor
        far = -sign * difference > threshold.floor
        return Evidence(
            evidence.worse if beyond else 1.0, evidence.within, evidence.better if far else 1.0, evidence.probability
        )
    worst, best = of_floor(threshold)
    return evidence.with_floor(of_change(sides.at(difference=worst), sides.at(difference=best), threshold))


def _centred(side: list[Floats]) -> list[Floats]:
    """Around the side's own median: a shift of all values is no change of their spread."""
    centre = np.median(np.concatenate(side))
    return [turn - centre for turn in side]


def _finite(turn: Sequence[float]) -> Floats:
    values = np.array(turn, dtype=np.float64)
    return values[np.isfinite(values)]


def _turn(values: Floats, statistic: str) -> float:
    if not len(values):
        return float("nan")
    return float(values.mean() if statistic == "mean" else np.median(values))


def _statistic(turns: list[Floats], statistic: str) -> float | None:
    """Of all requests of one side."""
    values = np.concatenate([_finite(()), *turns])
    if not len(values):
        return None
    if statistic == "stdev":
        return float(values.std(ddof=1)) if len(values) > 1 else None
    if statistic in ("mean", "min", "max"):
        return float(values.mean() if statistic == "mean" else values.min() if statistic == "min" else values.max())
    return float(np.quantile(values, _PERCENTILES.get(statistic, 0.5)))


def _too_few(statistic: str, counts: tuple[int, int], pairs: int) -> str:
    needed = REQUESTS_NEEDED.get(statistic, 0)
    if min(counts) < needed:
        return f"{statistic} needs {needed} requests a side; there are {counts[0]} and {counts[1]}"
    if pairs < _LEAST_PAIRS:
        return f"{pairs} whole pairs can't tell anything; {_LEAST_PAIRS} are the least"
    return ""


def _undecided(threshold: Threshold, p_value: float, rates: ErrorRates, spent: float, *, last: bool) -> str:
    way = "rise" if threshold.higher_is_worse else "fall"
    limit = f"a {way} of more than {100 * threshold.share:.3g} %" if threshold.share else f"any {way}"
    if p_value <= _CONFIDENCE_LEFT / 2:  # the interval may say as much, and nobody shall wonder
        whole = f"{rates.false_alarm:.0%}".replace("%", " %")
        needed = f"{rates.alarm_level(spent):.2g}"
        return f"{limit} is likely (p {p_value:.2g}), but a whole run errs in {whole} only: that takes {needed}"
    return f"{limit} is neither shown nor excluded{'' if last else ' yet'}"
