"""Failing closed: findings without a test, where a side lacks numbers.

A candidate that answers nothing, and a metric that only the baseline has, are regressions, whatever the latencies say.
"""

from __future__ import annotations

import math

from pytest_flperf.gates.not_measured import UPPER_BOUND, is_upper_bound
from pytest_flperf.gates.rules import COUNTED, Rule
from pytest_flperf.results.metrics import METRICS, OF_CALLS
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.findings import Finding, Word

__all__ = ["fail_closed", "finite", "has_zero", "neither_has", "undecided", "value_of"]


def fail_closed(case: Measured, other: Measured, rule: Rule) -> Finding | None:
    """A finding without a test, or None where both sides have numbers."""
    if not case.requests.ok and not other.requests.ok:
        return undecided(case, other, rule, "neither side answered anything")
    if not case.requests.ok:
        return _regressed(case, other, rule, f"the candidate answered nothing: {_how_many_failed(case)}")
    if not other.requests.ok:
        return undecided(case, other, rule, f"the baseline answered nothing: {_how_many_failed(other)}")
    if _is_scored(rule) and (case.not_scored or other.not_scored):
        return _not_scored(case, other, rule)
    return _of_numbers(case, other, rule)


def _of_numbers(case: Measured, other: Measured, rule: Rule) -> Finding | None:
    """A finding where one side lacks the number, or where both are not of one kind."""
    metric = rule.metric
    if metric == "request_cost" and (why := _incomparable_costs(case, other)):
        return undecided(case, other, rule, why)
    mine, theirs = value_of(case, rule), value_of(other, rule)
    known = rule.category is None and metric in case.metrics and metric in other.metrics
    if None in (mine, theirs) and known and metric not in OF_CALLS:
        return undecided(case, other, rule, f"{rule.subject} needs at least two requests a side")
    if theirs is None:
        side = "neither side has" if mine is None else "the baseline has no"
        return undecided(case, other, rule, f"{side} {rule.measure}")
    if mine is None:
        return _regressed(case, other, rule, f"the candidate has no {rule.measure}, but the baseline has")
    return _infinite(case, other, rule, mine, theirs)


def _incomparable_costs(case: Measured, other: Measured) -> str:
    """Why costs of two sides can't be compared; empty where they can."""
    ours, theirs = case.price, other.price
    if ours is None or theirs is None:
        return ""
    if ours.currency != theirs.currency:
        return f"the candidate's price is in {ours.currency}, the baseline's in {theirs.currency}"
    return UPPER_BOUND if any(is_upper_bound(side, "request_cost") for side in (case, other)) else ""


def _not_scored(case: Measured, other: Measured, rule: Rule) -> Finding:
    """Finding where some answers have no score.

    Those of the candidate might be the ones that became worse.
    """
    if case.not_scored:
        return _regressed(case, other, rule, f"the candidate: {case.not_scored_words}")
    return undecided(case, other, rule, f"the baseline: {other.not_scored_words}")


def _infinite(case: Measured, other: Measured, rule: Rule, mine: float, theirs: float) -> Finding | None:
    """Finding where failed requests count as infinitely slow (``failures: as_inf``).

    None where neither side's statistic is infinite.
    """
    if math.isinf(theirs):
        return undecided(case, other, rule, "the baseline's failed requests count as infinitely slow")
    if math.isinf(mine):
        why = f"{case.requests.failed} of {case.requests.total} requests failed and count as infinitely slow"
        return _regressed(case, other, rule, why)
    return None


def _how_many_failed(case: Measured) -> str:
    total = case.requests.total
    if not total:
        return "not one request was measured"
    return "its only request failed" if total == 1 else f"all {total} requests failed"


def neither_has(case: Measured, other: Measured, rule: Rule) -> bool:
    """Whether both sides answered, but neither has the metric.

    Such as TTFT without streaming.
    """
    if rule.metric in COUNTED or not (case.requests.ok and other.requests.ok):
        return False
    return value_of(case, rule) is None and value_of(other, rule) is None


def value_of(case: Measured, rule: Rule) -> float | None:
    """The number of one side, or None.

    None where nothing was measured, or where answers that it covers have no score.
    """
    if _is_scored(rule) and case.not_scored:
        return None
    partial = case.metrics.get(rule.measure) if rule.category is not None or rule.metric in OF_CALLS else None
    if partial is not None:  # a case that is still measured has its scores by measure
        return partial.mean
    if rule.category is not None:
        of_category = None if case.answer_quality is None else case.answer_quality.category(rule.category)
        return None if of_category is None else of_category.mean
    if rule.statistic is None:
        value = getattr(case, rule.metric)
        return None if value is None else float(value)
    found = case.metrics.get(rule.metric)
    return None if found is None else found.statistic(rule.statistic)


def _is_scored(rule: Rule) -> bool:
    return rule.metric == "quality" or rule.metric in OF_CALLS


def has_zero(case: Measured, other: Measured, rule: Rule) -> bool:
    """Whether a side's number is 0, which rules out a ratio."""
    return 0 in (value_of(case, rule), value_of(other, rule))


def _regressed(case: Measured, other: Measured, rule: Rule, reason: str) -> Finding:
    return _without_a_test("regressed", case, other, rule, reason)


def undecided(case: Measured, other: Measured, rule: Rule, reason: str) -> Finding:
    """An undecided finding, with the numbers of both sides."""
    return _without_a_test("undecided", case, other, rule, reason)


def _without_a_test(word: Word, case: Measured, other: Measured, rule: Rule, reason: str) -> Finding:
    return Finding(
        word=word,
        baseline=finite(value_of(other, rule)),
        candidate=finite(value_of(case, rule)),
        change=None,
        interval=None,
        probability=None,
        p_value=None,
        n_baseline=_n(other, rule),
        n_candidate=_n(case, rule),
        pairs=None,
        method="",
        reason=reason,
    )


def finite(value: float | None) -> float | None:
    """The number if it is finite, else None."""
    return None if value is None or not math.isfinite(value) else value


def _n(case: Measured, rule: Rule) -> int:
    if METRICS[rule.metric].per == "case":
        return case.requests.total
    found = case.metrics.get(rule.metric)
    return 0 if found is None else found.n
