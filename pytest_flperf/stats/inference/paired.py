"""Paired comparison: two sides measured in turn, in random order.

The sides were measured pair by pair: is the candidate worse?

What is assumed, and where the method comes from, is in ``docs/decisions.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.stats.inference.confidence import centre_of, interval_of
from pytest_flperf.stats.inference.decision import (
    Evidence,
    better_way,
    beyond,
    decide,
    not_improved,
    of_change,
    of_floor,
    shared_rate,
    way_of,
)
from pytest_flperf.stats.inference.findings import MEAN_REQUESTS, ErrorRates, Finding, Threshold, Word
from pytest_flperf.stats.inference.schedule import draw_orders, looks, spent_at
from pytest_flperf.stats.inference.sides import Pair, Sides

__all__ = ["Pair", "draw_orders", "judge_pairs", "looks"]

_LEAST_PAIRS: Final = 6
_CONFIDENCE_LEFT: Final = 0.05
_ADVICE: Final = "fewer rules or more requests"
_EXCHANGE: Final = "fewer rules, or the same with the sides exchanged,"
"""Advice on an improvement: no case goes on for one, but it does for what may be a regression."""


def judge_pairs(
    pairs: Sequence[Pair], statistic: str, threshold: Threshold, rates: ErrorRates, *, look: int, looks: int
) -> Finding:
    """Judge the pairs that were measured so far.

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
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):  # then nothing is decided
        return _judged(Sides(pairs, statistic), threshold, rates, look, looks)


def _judged(sides: Sides, threshold: Threshold, rates: ErrorRates, look: int, looks: int) -> Finding:
    statistic, spent = sides.statistic, spent_at(look, looks)
    baseline, candidate = sides.numbers
    nothing = Finding(
        "undecided", baseline, candidate, None, None, None, None, *sides.requests, sides.whole, sides.method
    )
    why = _too_few(statistic, sides)
    if why or baseline is None or candidate is None:
        return replace(nothing, reason=why)
    may_pass = "" if statistic != "mean" else _too_early(sides.requests, look, looks)
    if sides.all_zero:
        return replace(nothing, word="undecided" if may_pass else "unchanged", reason=may_pass)
    evidence = _evidence(sides, threshold, candidate - baseline)
    excluded = evidence.within * (spent if statistic == "mean" else 1.0) <= rates.false_pass * spent
    if statistic == "mean":
        evidence = _of_mean(evidence, spent, sides.requests, may_pass)
    word = decide(evidence, rates, spent)
    reason = ""
    if statistic == "p50":
        word, reason = _as_medians(word, evidence, baseline, candidate, threshold, rates.false_pass * spent)
    if word == "undecided" and not reason:
        last = look == looks
        reason = shared_rate(way_of(threshold), evidence.worse, rates, spent, _ADVICE) or _open(
            threshold, may_pass, excluded=excluded, last=last
        )
    if not reason:
        reason = not_improved(word, better_way(threshold), evidence.better, rates, spent, _EXCHANGE)
    if not baseline:  # there is no share of nothing
        return replace(
            nothing,
            word=word,
            probability=evidence.probability,
            p_value=evidence.worse,
            reason=reason or (f"it rose from 0 to {candidate:.4g}" if word == "regressed" else ""),
        )
    low, high = sides.bracket()
    change = centre_of(sides.roughly, low, high)
    return replace(
        nothing,
        word=word,
        change=change,
        interval=interval_of(sides.at_ratio, change, low, high, _CONFIDENCE_LEFT * spent / 2),
        probability=evidence.probability,
        p_value=evidence.worse,
        reason=reason,
    )


def _evidence(sides: Sides, threshold: Threshold, difference: float) -> Evidence:
    sign = 1 if threshold.higher_is_worse else -1
    worst, best = of_floor(threshold)
    if threshold.floor and not threshold.share and sides.statistic != "stdev":  # no ratio is meant
        return of_change(sides.at(difference=worst), sides.at(difference=best), threshold)
    least = 1 - sign * threshold.share
    evidence = of_change(sides.at(1 + sign * threshold.share), sides.at(least) if least > 0 else None, threshold)
    if not threshold.floor:
        return evidence
    if sides.statistic == "stdev":
        # A shift of all values leaves it as it is, so no test of a difference follows from one: the estimate decides.
        beyond = sign * difference > threshold.floor
        far = -sign * difference > threshold.floor
        return Evidence(
            evidence.worse if beyond else 1.0, evidence.within, evidence.better if far else 1.0, evidence.probability
        )
    return evidence.with_floor(of_change(sides.at(difference=worst), sides.at(difference=best), threshold))


def _of_mean(evidence: Evidence, spent: float, requests: tuple[int, int], too_early: str) -> Evidence:
    """Evidence on a mean, which can't favour the candidate early.

    Rare slow answers must have had their chance to come first.

    ``unchanged`` is said at one look only, which may then spend the whole rate of false passes.
    """
    few = min(requests) < MEAN_REQUESTS
    return replace(
        evidence,
        within=1.0 if too_early else evidence.within * spent,
        better=1.0 if few else evidence.better,
    )


def _too_early(requests: tuple[int, int], look: int, looks: int) -> str:
    """Why a mean can't be called unchanged now; empty where it can."""
    if look < looks:
        return "a mean is called unchanged only at the last look"
    if min(requests) < MEAN_REQUESTS:
        counts = f"{requests[0]} and {requests[1]}"
        return (
            f"a mean is called unchanged only with {MEAN_REQUESTS} requests a side or more, as slow answers may be "
            f"rare; there are {counts}"
        )
    return ""


def _as_medians(
    word: Word, evidence: Evidence, baseline: float, candidate: float, threshold: Threshold, level: float
) -> tuple[Word, str]:
    """The verdict, checked against the medians.

    Ranks tell how a typical pair changed.

    Where noise has two humps, the change of a typical pair need not be that of the median.
    """
    worse, better = beyond(baseline, candidate, threshold)
    if word == "improved" and not better:
        kept: Word = "unchanged" if evidence.within <= level and not worse else "undecided"
        return kept, "a typical pair improved beyond the limit, the medians did not"
    if (word == "regressed" and not worse) or (word == "unchanged" and worse):
        pair, medians = ("beyond", "not") if word == "regressed" else ("not beyond", "beyond it")
        return "undecided", f"the change of a typical pair is {pair} the limit, that of the medians is {medians}"
    return word, ""


def _too_few(statistic: str, sides: Sides) -> str:
    needed, counts = REQUESTS_NEEDED.get(statistic, 0), sides.requests
    if min(counts) < needed:
        return f"{statistic} needs {needed} requests a side; there are {counts[0]} and {counts[1]}"
    if sides.whole < _LEAST_PAIRS:
        return f"{sides.whole} whole pairs are too few to tell; {_LEAST_PAIRS} are needed"
    return ""


def _open(threshold: Threshold, too_early: str, *, excluded: bool, last: bool) -> str:
    if too_early and excluded:
        return f"{way_of(threshold)} is excluded so far; {too_early}"
    said = f"{way_of(threshold)} is neither shown nor excluded{'' if last else ' yet'}"
    return f"{said}; {too_early}" if too_early else said
