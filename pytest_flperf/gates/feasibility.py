"""What a comparison of a given size can't decide, known before measuring."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Final

from pytest_flperf.gates.rules import COUNTED, Rule, is_mean
from pytest_flperf.results.metrics import RATIOS, REQUESTS_NEEDED
from pytest_flperf.stats.findings import MEAN_REQUESTS, ErrorRates
from pytest_flperf.stats.schedule import ORDER_BLOCK, looks, spent_at

__all__ = ["Size", "obstacle"]

_OF_STREAMS: Final = frozenset(
    {"ttft_ms", "ttfat_ms", "itl_ms", "tpot_ms", "gen_tps", "prompt_tps", "ttft_sent_ms", "ttft_ratio", "tpot_ratio"}
)
_OF_OPEN_LOOPS: Final = frozenset({"dispatch_delay_ms", "ttft_sent_ms", "e2e_sent_ms"})
_EXTREMES: Final = frozenset({"min", "max"})


@dataclass(frozen=True, slots=True)
class Size:
    """What is known of the comparisons of a case before its first request."""

    in_turn: bool
    """Two sides measured in turn; else against a stored run."""
    requests: int | None
    """Most of a side; None: nobody knows."""
    pairs: int | None
    """Most, in turn."""
    comparisons: int
    """Between which the run's error rate is shared."""
    streaming: bool = True
    open_loop: bool = False
    reference: bool = False
    """Whether a reference load is measured beside it."""
    has_goal: bool = True
    """Whether a latency budget says what a good request is."""


def obstacle(rule: Rule, size: Size) -> str:
    """Why a rule can't be decided, or only in part; empty where nothing is in its way."""
    if rule.metric in COUNTED:
        return ""
    return _never_measured(rule, size) or _too_few(rule, size)


def _never_measured(rule: Rule, size: Size) -> str:
    metric = rule.metric
    if metric in RATIOS.values() and not size.reference:
        return "is measured with --flperf-reference only" + (", which can't go with --flperf-against" * size.in_turn)
    if metric in _OF_STREAMS and not size.streaming:
        return "is measured of streamed answers only"
    if metric in _OF_OPEN_LOOPS and not size.open_loop:
        return "is measured in open loops only" + (", which can't be cut into turns" * size.in_turn)
    if metric == "goodput" and not size.has_goal:
        return "needs a budget on a latency, which says what a good request is"
    if metric == "connect_ms":
        return "is measured only of requests that open a connection, and connections stay open"
    if rule.statistic in _EXTREMES and not size.in_turn:
        return "rests on single requests and is never decided against a stored run; --flperf-against can"
    return ""


def _too_few(rule: Rule, size: Size) -> str:
    more = "--flperf-max-iterations" if size.in_turn else "iterations"
    needed = REQUESTS_NEEDED.get(rule.statistic or "", 0)
    if size.requests is not None and size.requests < needed:
        return f"needs {needed} requests a side, and there will be {size.requests} at most; raise {more}"
    if size.in_turn and size.pairs is not None and (lacks := _lacks_orders(size.pairs, size.comparisons)):
        return lacks
    if is_mean(rule) and size.requests is not None and size.requests < MEAN_REQUESTS:
        return (
            f"is called unchanged or improved from {MEAN_REQUESTS} requests a side on, and there will be "
            f"{size.requests} at most; raise {more}"
        )
    return ""


def _lacks_orders(pairs: int, comparisons: int) -> str:
    """Why so few pairs can't show a regression: what all of them say may be chance in one of so many orders."""
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
        f"the orders of so few pairs show {least:.2g} at best; raise --flperf-max-iterations"
    )
