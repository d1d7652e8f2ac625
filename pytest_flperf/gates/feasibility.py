"""Feasibility: comparisons that can't be decided, known before measuring."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, expm1, sqrt
from typing import Final

from pytest_flperf.gates.rules import COUNTED, EXTREMES, Rule, is_mean, is_score
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.results.metrics import OF_CALLS, RATIOS
from pytest_flperf.stats.inference.findings import FEWEST_RUNS, MEAN_REQUESTS, ErrorRates
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE, fewest_losses, fewest_to_exclude
from pytest_flperf.stats.inference.schedule import ORDER_BLOCK, looks, spent_at

__all__ = ["Size", "evidence_of", "obstacle"]

_OF_STREAMS: Final = frozenset(
    {"ttft_ms", "ttfat_ms", "itl_ms", "tpot_ms", "gen_tps", "prompt_tps", "ttft_sent_ms", "ttft_ratio", "tpot_ratio"}
)
_OF_OPEN_LOOPS: Final = frozenset({"dispatch_delay_ms", "ttft_sent_ms", "e2e_sent_ms"})


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a case's comparisons, known before its first request."""

    in_turn: bool
    """Two sides measured in turn; else against a stored run."""
    requests: int | None
    """Most requests of a side; None: unknown."""
    pairs: int | None
    """Most pairs of turns."""
    comparisons: int
    """Number of comparisons that share the run's error rate."""
    streaming: bool = True
    open_loop: bool = False
    reference: bool = False
    """Whether a reference load is measured as well."""
    has_goal: bool = True
    """Whether a latency budget says what a good request is."""
    has_expectation: bool = True
    """Whether the scenario has an expectation of answers."""
    expects_calls: bool = True
    """Whether it expects tool calls, or that there are none."""
    prompts: int | None = None
    """Number of different prompts, where repeats may all get the same answer; None: one per request."""
    runs: int | None = None
    """Stored runs of the case; None: not counted."""
    first_pass: int = 0
    """Requests of a side before which quality isn't decided in turns; 0: any number will do."""


def evidence_of(size: Size) -> int | None:
    """Most requests of a side that are evidence of quality; None: unknown."""
    if size.requests is None or size.prompts is None:
        return size.requests
    return min(size.prompts, size.requests)


def obstacle(rule: Rule, size: Size) -> str:
    """Why a rule can't be decided, or only in part.

    Empty where nothing is in its way.
    """
    if rule.metric in COUNTED:
        return ""
    if is_score(rule):
        return _of_quality(rule, size)
    return _never_measured(rule, size) or _too_few(rule, size) or _too_few_runs(rule, size) or _without_room(rule)


def _never_measured(rule: Rule, size: Size) -> str:
    metric = rule.metric
    if metric in RATIOS.values() and not size.reference:
        return "is measured only with --flperf-reference" + (", which can't go with --flperf-against" * size.in_turn)
    if metric in _OF_STREAMS and not size.streaming:
        return "is measured only with streamed answers"
    if metric in _OF_OPEN_LOOPS and not size.open_loop:
        return "is measured only in open loops" + (", which can't be cut into turns" * size.in_turn)
    if metric == "goodput" and not size.has_goal:
        return "needs a budget on a latency, which says what a good request is"
    if metric == "connect_ms":
        return "is measured only of requests that open a connection, and connections stay open"
    if rule.statistic in EXTREMES and not size.in_turn:
        return "depends on single requests and can't be decided against a stored run; use --flperf-against"
    return ""


def _too_few(rule: Rule, size: Size) -> str:
    more = "--flperf-max-iterations" if size.in_turn else "iterations"
    needed = REQUESTS_NEEDED.get(rule.statistic or "", 0)
    if size.requests is not None and size.requests < needed:
        return f"needs {needed} requests a side and gets {size.requests} at most; raise {more}"
    if size.in_turn and size.pairs is not None and (lacks := _lacks_orders(size.pairs, size.comparisons)):
        return lacks
    if is_mean(rule) and size.requests is not None and size.requests < MEAN_REQUESTS:
        return (
            f"needs {MEAN_REQUESTS} requests a side to be called unchanged or improved and gets {size.requests} "
            f"at most; raise {more}"
        )
    return ""


def _of_quality(rule: Rule, size: Size) -> str:
    if not size.has_expectation:
        return "needs an expectation: the scenario has no 'expect'"
    if rule.metric in OF_CALLS and not size.expects_calls:
        return "needs expected calls: the scenario has no 'calls' in 'expect'"
    if size.requests is None:
        return _without_room(rule)
    last = 1 if size.pairs is None else len(looks(size.pairs))
    rates, spent = ErrorRates(comparisons=size.comparisons), spent_at(last, last)
    count = evidence_of(size) or 0
    one_by_one = count < size.requests
    what = f"{count} prompt{'s' * (count != 1)}" if one_by_one else f"{count} requests a side"
    advice = "add prompts" if one_by_one else f"raise {'--flperf-max-iterations' if size.in_turn else 'iterations'}"
    if count < LEAST_EVIDENCE:
        repeats = " if repeats are answered alike" * one_by_one
        return f"can't be decided from {what}{repeats}; {advice}"
    points = rule.threshold.floor
    losses = fewest_losses(count, points, rates.alarm_level(spent))
    if losses is None:
        return f"can't be called regressed from {what} with {size.comparisons} comparisons; {advice}"
    fewest = fewest_to_exclude(points, rates.false_pass * spent)
    if fewest is not None and fewest > count:
        unit = "prompts" if one_by_one else "requests a side"
        return (
            f"needs {fewest} {unit} or more to be called unchanged and gets {count} at most; {advice}, or allow more "
            f"(to be called regressed it takes {losses} worse answers or more)"
        )
    return _without_room(rule)


def _too_few_runs(rule: Rule, size: Size) -> str:
    if size.in_turn or size.runs is None or size.runs >= FEWEST_RUNS:
        return ""
    there = f"{size.runs} stored run{'s' * (size.runs != 1)}"
    if rule.statistic is None:
        return f"needs {FEWEST_RUNS} stored runs, and there are {there}; --flperf-against needs none"
    from pytest_flperf.stats.inference.run_variance import UNKNOWN_MACHINE
    from pytest_flperf.stats.inference.student import t_quantile

    level = ErrorRates(comparisons=size.comparisons).alarm_level()
    reach = t_quantile(1 - level, UNKNOWN_MACHINE.runs) * sqrt(2) * UNKNOWN_MACHINE.sd_log
    return (
        f"with {there} is called regressed only if it is about {100 * expm1(reach):.0f} % or more beyond the limit; "
        "store more runs, or use --flperf-against"
    )


def _without_room(rule: Rule) -> str:
    if rule.threshold.share or rule.threshold.floor:
        return ""
    return "allows no change: equal sides stay undecided; allow a little, such as 2 %"


def _lacks_orders(pairs: int, comparisons: int) -> str:
    """Why so few pairs can't show a regression.

    Even a result that all pairs agree on may be chance: one of few possible orders of turns.
    """
    rates, count = ErrorRates(comparisons=comparisons), len(looks(pairs))
    level = rates.alarm_level(spent_at(count, count))
    least = 1.0
    for at in range(0, pairs, ORDER_BLOCK):
        left = ORDER_BLOCK - min(pairs - at, ORDER_BLOCK)
        least *= comb(left, left // 2) / comb(ORDER_BLOCK, ORDER_BLOCK // 2)
    if least <= level:
        return ""
    return (
        f"can't be called regressed from {pairs} pairs: with {comparisons} comparisons that takes p {level:.2g}, and "
        f"their orders reach p {least:.2g} at best; raise --flperf-max-iterations"
    )
