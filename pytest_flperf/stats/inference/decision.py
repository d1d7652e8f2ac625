"""Decisions: from p-values to a verdict, the same for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_flperf.stats.inference.findings import ErrorRates, Threshold, Word

__all__ = [
    "Evidence",
    "Tails",
    "better_points",
    "better_way",
    "beyond",
    "decide",
    "not_improved",
    "of_change",
    "of_floor",
    "points_of",
    "shared_rate",
    "side_of_interval",
    "way_of",
]

_LIKELY: Final = 0.025
"""Of one tail: the interval that is shown may then say as much."""

Tails: TypeAlias = tuple[float, float]
"""One-sided p-values: that the number grew by more than a limit, that it grew by less."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """P-values of three claims: worse, within the limit, better.

    ``probability`` is how likely the first one is.
    """

    worse: float
    """Worse by more than allowed."""
    within: float
    """Not worse by more than allowed."""
    better: float
    """Better by more than what would be allowed for the worse."""
    probability: float

    def with_floor(self, other: Evidence) -> Evidence:
        """Evidence on a rule with two limits, both to be exceeded.

        Both must be shown to be exceeded, each at the full level (an intersection–union test: Berger 1982,
        Technometrics 24); that either is not exceeded may be shown by the one or the other, at half the level each.
        """
        return Evidence(
            worse=max(self.worse, other.worse),
            within=min(1.0, 2 * min(self.within, other.within)),
            better=max(self.better, other.better),
            probability=min(self.probability, other.probability),
        )


def of_change(at_worse: Tails, at_better: Tails | None, threshold: Threshold) -> Evidence:
    """Evidence on one limit, from p-values at its two ends.

    One end is the limit for the worse, the other that for the better.

    The probability is the share of the confidence distribution beyond the limit: one minus the mid-p-value.

    Args:
        at_worse: P-values of a change of exactly what is allowed.
        at_better: Likewise, for the better; None: there can be none (nothing falls by 100 % or more).
        threshold: Says which way is worse.

    """
    if not threshold.higher_is_worse:
        at_worse = at_worse[::-1]
        at_better = at_better[::-1] if at_better is not None else None
    worse, within = at_worse
    return Evidence(
        worse=worse,
        within=within,
        better=1.0 if at_better is None else at_better[1],
        probability=min(1.0, max(0.0, (1 - worse + within) / 2)),
    )


def of_floor(threshold: Threshold) -> tuple[float, float]:
    """Differences at the floor: for the worse, for the better.

    They are candidate − baseline.
    """
    return (threshold.floor, -threshold.floor) if threshold.higher_is_worse else (-threshold.floor, threshold.floor)


def decide(evidence: Evidence, rates: ErrorRates, spent: float = 1.0) -> Word:
    """The verdict that the evidence allows.

    Args:
        evidence: P-values, uncorrected.
        rates: How often it may be wrong.
        spent: The part of these rates that this look may spend.

    """
    alarm = rates.alarm_level(spent)
    if evidence.worse <= alarm:
        return "regressed"
    if evidence.better <= alarm:
        return "improved"
    if evidence.within <= rates.false_pass * spent:
        return "unchanged"
    return "undecided"


def beyond(baseline: float, candidate: float, threshold: Threshold) -> tuple[bool, bool]:
    """Whether a number is worse, or better, by more than allowed.

    Returns both; better counts from the same limits as worse.
    """
    sign = 1 if threshold.higher_is_worse else -1
    rise = sign * (candidate - baseline)
    share, floor = threshold.share * abs(baseline), threshold.floor
    return rise > share and rise > floor, -rise > share and -rise > floor


def way_of(threshold: Threshold) -> str:
    """Rule in words: ``a rise of more than 10 %``."""
    return _change_words(threshold, rises=threshold.higher_is_worse)


def better_way(threshold: Threshold) -> str:
    """The change that ``improved`` names: ``a fall of more than 10 %``."""
    return _change_words(threshold, rises=not threshold.higher_is_worse)


def _change_words(threshold: Threshold, *, rises: bool) -> str:
    way = "rise" if rises else "fall"
    if threshold.share:
        return f"a {way} of more than {100 * threshold.share:.3g} %"
    return f"a {way} beyond the limit" if threshold.floor else f"any {way}"


def points_of(threshold: Threshold) -> str:
    """Rule in points, in words: ``a fall of more than 2 points``.

    For a share or a score.
    """
    return _point_words(threshold, rises=threshold.higher_is_worse)


def better_points(threshold: Threshold) -> str:
    """The change in points that ``improved`` names.

    For a share or a score.
    """
    return _point_words(threshold, rises=not threshold.higher_is_worse)


def _point_words(threshold: Threshold, *, rises: bool) -> str:
    way = "rise" if rises else "fall"
    points = f"{100 * threshold.floor:.3g}"
    return f"a {way} of more than {points} point{'s' * (points != '1')}" if threshold.floor else f"any {way}"


def shared_rate(change: str, p_value: float, rates: ErrorRates, spent: float, advice: str) -> str:
    """Why a likely change is not called one; else empty.

    A change is likely where the interval shows it.

    Args:
        change: What is looked for, in words.
        p_value: Of the test for the worse.
        rates: How often a run may be wrong.
        spent: The part of these rates that this look may spend.
        advice: What would decide it.

    """
    if not rates.alarm_level(spent) < p_value <= _LIKELY:
        return ""
    return _likely(change, p_value, rates, spent, advice)


def not_improved(word: Word, change: str, p_value: float, rates: ErrorRates, spent: float, advice: str) -> str:
    """Why a change for the better that the interval shows is only ``unchanged``; else empty.

    Args:
        word: What was decided.
        change: What ``improved`` would say, in words.
        p_value: Of the test for the better.
        rates: How often a run may be wrong.
        spent: The part of these rates that this look may spend; the interval spends no more.
        advice: What would decide it.

    """
    if word != "unchanged" or not rates.alarm_level(spent) < p_value <= _LIKELY * spent:
        return ""
    return _likely(change, p_value, rates, spent, advice)


def _likely(change: str, p_value: float, rates: ErrorRates, spent: float, advice: str) -> str:
    comparisons = f"{rates.comparisons} comparisons" if rates.comparisons > 1 else ""
    shared = " and ".join(filter(None, (comparisons, "looks" if spent < 1 else "")))
    rate = f"the run's error rate of {100 * rates.false_alarm:.3g} %" + (f", shared by {shared}," if shared else "")
    return (
        f"{change} is likely (p {p_value:.2g}), but {rate} requires p {rates.alarm_level(spent):.2g}; "
        f"{advice} would decide it"
    )


def side_of_interval(interval: tuple[float, float], threshold: Threshold) -> str:
    """Whether an interval ``shows`` or ``excludes`` more than is allowed.

    The interval is one of points; empty: it leaves that open.
    """
    sign = 1 if threshold.higher_is_worse else -1
    least, most = sorted(sign * end for end in interval)
    if least > threshold.floor:
        return "shows"
    return "excludes" if most < threshold.floor else ""
