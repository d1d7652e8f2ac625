"""Comparisons of two sides of a case, rule by rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_flperf.gates.fail_closed import fail_closed, finite, neither_has, undecided, value_of
from pytest_flperf.gates.failure_rate_rules import by_totals, judge_failures
from pytest_flperf.gates.relative import judge_relative, relative_rule
from pytest_flperf.gates.rules import (
    COUNTED,
    DEFAULT_SCOPE,
    EXTREMES,
    IMPLIED_SCOPE,
    Rule,
    is_gate,
    is_mean,
    is_score,
    rules_for,
)
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.results.metrics import OF_CALLS
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.findings import FEWEST_RUNS, ErrorRates, Finding, Word
from pytest_flperf.stats.inference.schedule import spent_at

if TYPE_CHECKING:
    from pytest_flperf.stats.inference.between_runs import Summary
    from pytest_flperf.stats.inference.paired import Pair
    from pytest_flperf.stats.inference.run_variance import BetweenRuns

__all__ = ["Values", "compare_pairs", "compare_runs", "settled"]

_PER_CASE: Final = "mean"
"""Statistic that compares the turns of a metric with one number per case."""
_NORMAL_95: Final = 1.96
_POOLED: Final = frozenset({"itl_ms"})
"""Metrics with many values per request, which are no independent draws."""
_Judge: TypeAlias = Callable[[Rule], Finding]


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one metric, one per request, in order of sending.

    In the metric's unit.
    """

    candidate: Sequence[float]
    baseline: Sequence[float]


def compare_pairs(  # noqa: PLR0913 - each is a fact of its own that a decision needs
    case: Measured,
    other: Measured,
    pairs: Mapping[str, Sequence[Pair]],
    rules: Iterable[Rule],
    rates: ErrorRates,
    look: int,
    looks: int,
    *,
    first_pass: int = 0,
    fail_undecided: bool = False,
) -> tuple[Comparison, ...]:
    """Compare two sides that were measured interleaved.

    Args:
        case: The candidate.
        other: The baseline, of the same run.
        pairs: Of turns, by :attr:`Rule.measure`.
        rules: As written; those of other scenarios are left out, and the default ones apply where there are none.
        rates: How often the decisions may be wrong.
        look: Which look at the data this is, from 1.
        looks: How many there may be.
        first_pass: Requests of a side that ask each prompt of a file once, in its order; a score isn't decided before,
            unless that is all there will be.
        fail_undecided: Whether a gate fails a case that it can't decide.

    """

    def judged(rule: Rule) -> Finding:
        from pytest_flperf.stats.inference.paired import judge_pairs

        found = pairs.get(rule.measure, ())
        if not found:
            return undecided(case, other, rule, f"not one pair of turns has {rule.measure} on both sides")
        if is_score(rule):
            finding = _matched(found, rule, rates, look, looks)
            asked = min(case.requests.total, other.requests.total)
            return finding if look == looks else _after_first_pass(finding, asked, first_pass)
        return judge_pairs(found, rule.statistic or _PER_CASE, rule.threshold, rates, look=look, looks=looks)

    def counted(rule: Rule) -> Finding:
        found = pairs.get(rule.metric, ())
        if any(pair.matched for pair in found):
            return judge_failures(case, other, rule, lambda *_: _matched(found, rule, rates, look, looks))
        return judge_failures(case, other, rule, by_totals(rule, rates, spent_at(look, looks)))

    return _compared(case, other, rules, rates, judged, counted, fail_undecided=fail_undecided)


def _matched(pairs: Sequence[Pair], rule: Rule, rates: ErrorRates, look: int, looks: int) -> Finding:
    from pytest_flperf.stats.inference.matched import judge_matched

    return judge_matched(pairs, rule.threshold, rates, look=look, looks=looks)


def _after_first_pass(finding: Finding, asked: int, first_pass: int) -> Finding:
    """The finding, undecided before each prompt of a file was asked once.

    Its first rows may be of another kind than the rest: sorted by category, or by how hard they are.
    """
    if asked >= first_pass or finding.word == "undecided":
        return finding
    why = f"{asked} of {first_pass} prompts were asked so far, in the order of their file; quality waits for the rest"
    return replace(finding, word="undecided", reason=why)


def settled(comparisons: Iterable[Comparison]) -> bool:
    """Whether more pairs are of no use.

    That is so where all rules are decided, or a comparison already fails the case.  A regression in speed does not end
    it while a rule on quality is open, nor the other way round: who is slower wants to know whether it is also wrong.
    A few failures on both sides may stay undecided for good; a case doesn't go on for a rule that no one wrote.
    """
    found = tuple(comparisons)
    unwritten = (DEFAULT_SCOPE, IMPLIED_SCOPE)
    failed = [each for each in found if each.fails and each.verdict == "regressed"]
    if failed:
        if any(each.metric in COUNTED for each in failed):
            return True
        kinds = {_is_of_quality(each) for each in failed}
        written = (each for each in found if each.scope not in unwritten and each.metric not in COUNTED)
        return all(each.verdict != "undecided" or _is_of_quality(each) in kinds for each in written)
    return all(each.verdict != "undecided" or (each.metric in COUNTED and each.scope in unwritten) for each in found)


def _is_of_quality(comparison: Comparison) -> bool:
    return comparison.metric == "quality" or comparison.metric in OF_CALLS


def compare_runs(
    case: Measured,
    baseline: Measured,
    values: Mapping[str, Values],
    between: Mapping[str, BetweenRuns],
    rules: Iterable[Rule],
    rates: ErrorRates,
    *,
    history: Mapping[str, Sequence[float]] | None = None,
    fail_undecided: bool = False,
) -> tuple[Comparison, ...]:
    """Compare a case with the same case of a stored run.

    Args:
        case: The candidate.
        baseline: From the stored run.
        values: By metric, of both sides.  Where there are none, the summaries of the results are compared.
        between: Variance between runs, by :attr:`Rule.subject` (``ttft_ms.p50``); a missing subject gets the variance
            of an unknown machine.
        rules: As of :func:`compare_pairs`.
        rates: As of :func:`compare_pairs`.
        history: The numbers of earlier runs, by :attr:`Rule.subject`; they show how much a number that is 0 varies.
        fail_undecided: As of :func:`compare_pairs`.

    """
    as_measured: dict[str, Finding] = {}

    def judged(rule: Rule) -> Finding:
        if is_score(rule):
            return _of_scores(case, baseline, rule, rates)
        relative = relative_rule(rule, case, baseline)
        if relative is None:
            return measured(rule)
        found, as_measured[rule.expression] = judge_relative(rule, relative, case, baseline, measured)
        return found

    def measured(rule: Rule) -> Finding:
        from pytest_flperf.stats.inference.between_runs import judge_runs, judge_summaries
        from pytest_flperf.stats.inference.run_variance import UNKNOWN_MACHINE

        if rule.statistic is None and rule.subject not in between:
            why = f"{rule.metric} is one number for a case: it takes stored runs to know how much it varies"
            return undecided(case, baseline, rule, why)
        spread = between.get(rule.subject, UNKNOWN_MACHINE)
        earlier = (history or {}).get(rule.subject, ())
        needed = REQUESTS_NEEDED.get(rule.statistic or "", 0)
        found = values.get(rule.metric) if rule.statistic else None
        if found is not None and found.baseline and found.candidate:
            return judge_runs(
                found.baseline,
                found.candidate,
                rule.statistic or _PER_CASE,
                rule.threshold,
                rates,
                between_runs=spread,
                requests_needed=needed,
                history=earlier,
            )
        known = rule.subject in between and spread.runs >= UNKNOWN_MACHINE.runs + FEWEST_RUNS - 1
        mine, theirs = _summary(case, rule, known=known), _summary(baseline, rule, known=known)
        if mine is None or theirs is None:
            why = f"without the samples of both runs, or three stored runs, nothing says how much {rule.subject} varies"
            return undecided(case, baseline, rule, why)
        return judge_summaries(
            theirs,
            mine,
            rule.threshold,
            rates,
            between_runs=spread,
            requests_needed=needed,
            history=earlier,
            is_mean=is_mean(rule),
        )

    def counted(rule: Rule) -> Finding:
        return judge_failures(case, baseline, rule, by_totals(rule, rates))

    compared = _compared(case, baseline, rules, rates, judged, counted, fail_undecided=fail_undecided)
    return tuple(_with_raw(each, as_measured.get(each.rule)) for each in compared)


def _of_scores(case: Measured, baseline: Measured, rule: Rule, rates: ErrorRates) -> Finding:
    """Judge a score of two runs: by prompt, and quality as a whole also by all requests."""
    from pytest_flperf.stats.inference.prompt_rates import judge_prompt_scores
    from pytest_flperf.stats.inference.quality import judge_quality

    if rule.metric == "quality" and rule.category is None:
        return judge_quality(baseline, case, rule.threshold, rates)
    return judge_prompt_scores(baseline, case, rule.metric, rule.category, rule.threshold, rates)


def _with_raw(comparison: Comparison, raw: Finding | None) -> Comparison:
    """Add the change as measured, if judged relative to a reference load."""
    if raw is None:
        return comparison
    return replace(comparison, raw_change_pct=_percent(raw.change), raw_change_ci95_pct=_percents(raw.interval))


def _summary(case: Measured, rule: Rule, *, known: bool) -> Summary | None:
    """Summary of a number and its variation within the run, or None.

    Args:
        case: One side.
        rule: Names the number.
        known: Whether enough earlier runs show how much it varies; that includes the variation within a run.

    """
    from pytest_flperf.stats.inference.between_runs import Summary

    value = value_of(case, rule)
    if value is None:
        return None
    if rule.statistic is None:
        return Summary(value, value, value, case.requests.ok)
    found = case.metrics[rule.metric]
    bounds = found.interval(rule.statistic)
    if rule.statistic == "mean" and found.stdev is not None and rule.metric not in _POOLED:
        reach = _NORMAL_95 * found.stdev / math.sqrt(found.n)
        bounds = (value - reach, value + reach)
    if bounds is None and known and rule.statistic not in EXTREMES:
        bounds = (value, value)
    count = case.requests.ok if rule.metric in _POOLED else found.n
    return None if bounds is None else Summary(value, *bounds, count)


def _compared(
    case: Measured,
    other: Measured,
    rules: Iterable[Rule],
    rates: ErrorRates,
    judged: _Judge,
    counted: _Judge,
    *,
    fail_undecided: bool,
) -> tuple[Comparison, ...]:
    compared = []
    for rule in rules_for(case.scenario, rules):
        if not is_gate(rule) and neither_has(case, other, rule):
            continue  # no rule requires it
        if rule.metric in COUNTED:
            finding = counted(rule)
        else:
            finding = fail_closed(case, other, rule) or _with_numbers(judged(rule), case, other, rule)
        compared.append(_comparison(rule, finding, rates, fail_undecided=fail_undecided))
    return tuple(compared)


def _with_numbers(finding: Finding, case: Measured, other: Measured, rule: Rule) -> Finding:
    """Add the numbers of the results where the statistics gave none.

    They give none where they could not decide.
    """
    if finding.baseline is not None or finding.candidate is not None:
        return finding
    return replace(finding, baseline=finite(value_of(other, rule)), candidate=finite(value_of(case, rule)))


def _comparison(rule: Rule, finding: Finding, rates: ErrorRates, *, fail_undecided: bool) -> Comparison:
    threshold = rule.threshold
    share_pct = 100 * threshold.share if threshold.higher_is_worse else -100 * threshold.share
    return Comparison(
        rule=rule.expression,
        metric=rule.metric,
        statistic=rule.statistic,
        category=rule.category or "",
        verdict=finding.word,
        fails=_fails(rule, finding.word, fail_undecided=fail_undecided),
        reason=finding.reason,
        baseline=finding.baseline,
        candidate=finding.candidate,
        change_pct=_percent(finding.change),
        change_ci95_pct=_percents(finding.interval),
        probability=finding.probability,
        threshold_pct=None if threshold.floor and not threshold.share else share_pct,
        threshold_floor=threshold.floor or None,
        p_value=finding.p_value,
        comparisons=rates.comparisons,
        n_baseline=finding.n_baseline,
        n_candidate=finding.n_candidate,
        pairs=finding.pairs,
        method=finding.method,
        scope=rule.scope,
    )


def _fails(rule: Rule, word: Word, *, fail_undecided: bool) -> bool:
    """Whether a gate fails the case.

    The implied rule, which no one wrote, fails only a known regression.
    """
    if word == "regressed":
        return is_gate(rule)
    return word == "undecided" and fail_undecided and is_gate(rule) and rule.scope != IMPLIED_SCOPE


def _percent(share: float | None) -> float | None:
    return None if share is None or not math.isfinite(share) else 100 * share


def _percents(shares: tuple[float, float] | None) -> tuple[float, float] | None:
    if shares is None or any(map(math.isnan, shares)):
        return None
    return 100 * shares[0], 100 * shares[1]
