"""Feasibility of comparisons: what a run can't decide, before measuring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pytest_flperf._text import printable
from pytest_flperf.gates.feasibility import Size, obstacle
from pytest_flperf.gates.goodput import request_limits
from pytest_flperf.gates.rules import Rule, is_gate, is_score, rules_for
from pytest_flperf.session.options import RunOptions
from pytest_flperf.session.paired import most_pairs, rules_of, side_of, with_rules_of
from pytest_flperf.session.playing import limits_of
from pytest_flperf.stats.inference.matched_requests import DECODING, is_deterministic
from pytest_flperf.suite.against import turn_streams
from pytest_flperf.suite.load_shapes import expected_prompts, expected_requests, first_pass_of
from pytest_flperf.suite.model import Case

__all__ = ["foreseen_lines", "power_lines"]


def foreseen_lines(
    options: RunOptions, cases: Sequence[Case], most: int, runs: Callable[[Case], int] | None = None
) -> list[str]:
    """One line per metric of a rule that this run can't decide.

    Also for metrics that it can decide only in part.

    Args:
        options: Options of the session.
        cases: All selected cases.
        most: Maximum number of lines; if there are more, the last one gives the number of the rest.
        runs: Counts the stored runs of a case; None: they are not counted.

    """
    found: Counter[str] = Counter()
    for rules, label in _compared(options, cases, runs):
        told = {(rule.subject, why) for rule, size in rules if (why := obstacle(rule, size))}
        found.update(f"{label}: {subject} {why}" for subject, why in sorted(told))
    return _lines(found, most, "more that can't be decided")


def power_lines(options: RunOptions, cases: Sequence[Case], most: int) -> list[str]:
    """One line per rule on quality: which falls it would find.

    And how often.

    Args:
        options: As of :func:`foreseen_lines`.
        cases: As of :func:`foreseen_lines`.
        most: As of :func:`foreseen_lines`.

    """
    from pytest_flperf.gates.quality_power import power_words

    asked = Counter(
        (label, rule, size)
        for rules, label in _compared(options, cases, None)
        for rule, size in rules
        if is_score(rule)
    )
    found: Counter[str] = Counter()
    for (label, rule, size), count in asked.items():
        if words := power_words(rule, size):
            found[f"{label}: {rule.subject} {words}"] += count
    return _lines(found, most, "more rules on quality")


def _compared(
    options: RunOptions, cases: Sequence[Case], runs: Callable[[Case], int] | None
) -> Iterator[tuple[tuple[tuple[Rule, Size], ...], str]]:
    """Gate rules of each case with their sizes, and the option."""
    rules = rules_of(options)
    of_cases = [(case, rules_for(case.scenario.name, with_rules_of(case, rules))) for case in cases]
    baseline = options.baseline is not None
    comparisons = max(sum(len(each) * ((side_of(case, options) is not None) + baseline) for case, each in of_cases), 1)
    for case, of_case in of_cases:
        counted = runs(case) if runs is not None else None
        for planned, label in _sizes(case, of_case, options, comparisons):
            size = replace(
                planned,
                has_expectation=case.scenario.is_scored,
                expects_calls=case.scenario.expects_calls,
                prompts=_prompts(case, planned.requests),
                runs=counted,
                first_pass=first_pass_of(case.scenario),
            )
            yield tuple((rule, _of_category(rule, size, case)) for rule in of_case if is_gate(rule)), label


def _lines(found: Counter[str], most: int, rest: str) -> list[str]:
    lines = [printable(text, 300) + (f" ({count} cases)" if count > 1 else "") for text, count in found.items()]
    if len(lines) > most:
        lines[most - 1 :] = [f"… and {len(lines) - most + 1} {rest}: --flperf-dry-run"]
    return lines


def _sizes(case: Case, rules: Sequence[Rule], options: RunOptions, comparisons: int) -> Iterator[tuple[Size, str]]:
    scenario, settings = case.scenario, case.scenario.settings
    has_goal = request_limits(scenario.name, limits_of(scenario.budgets, options), case.model) is not None
    open_loop = settings.load.is_open
    common = (comparisons, bool(settings.stream), open_loop, options.reference, has_goal)
    side = side_of(case, options)
    if side is not None and settings.load.kind == "closed":
        per_turn = turn_streams(case, side)
        pairs = most_pairs(case, rules, options.max_iterations, per_turn)
        yield Size(True, pairs * per_turn, pairs, *common), "--flperf-against" if options.against else "against"
    if options.baseline is not None:
        yield Size(False, _requests(case, rules, options), None, *common), "--flperf-baseline"


def _of_category(rule: Rule, size: Size, case: Case) -> Size:
    """The size of a comparison of one category: its share of prompts, and of requests."""
    source = case.scenario.source
    if rule.category is None or source is None or not source.rows:
        return size
    share = sum(row.scored.category == rule.category for row in source.rows) / len(source.rows)
    requests, prompts = (None if each is None else round(each * share) for each in (size.requests, size.prompts))
    return replace(size, requests=requests, prompts=prompts, first_pass=round(size.first_pass * share))


def _prompts(case: Case, requests: int | None) -> int | None:
    """Distinct prompts of these requests; None unless answers are deterministic."""
    settings = case.scenario.settings
    if requests is None or not is_deterministic({name: getattr(settings, name) for name in DECODING}):
        return None
    return expected_prompts(case.scenario, requests)


def _requests(case: Case, rules: Sequence[Rule], options: RunOptions) -> int | None:
    """Maximum requests of a case compared with a stored run."""
    settings = case.scenario.settings
    side = side_of(case, options)
    if side is not None and settings.load.kind == "closed":
        per_turn = turn_streams(case, side)
        return most_pairs(case, rules, options.max_iterations, per_turn) * per_turn
    is_unknown = settings.load.kind == "search" or case.scenario.plays_tools
    return None if is_unknown else expected_requests(case.scenario)
