"""What is known before measuring not to be decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_flperf.gates.feasibility import Size, obstacle
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.matched import judge_matched
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.stats.inference.paired import Pair, judge_pairs
from pytest_flperf.stats.inference.schedule import draw_orders, looks

IN_TURN = Size(in_turn=True, requests=60, pairs=60, comparisons=18)
STORED = Size(in_turn=False, requests=20, pairs=None, comparisons=18)


@pytest.mark.parametrize(
    ("rule", "size", "said"),
    [
        ("ttft_ms.p50 > +10%", IN_TURN, ""),
        ("error_rate > +1%", IN_TURN, ""),
        ("ttft_ms.max > +10%", IN_TURN, ""),
        ("ttft_ms.p99 > +10%", IN_TURN, "needs 662 requests a side and gets 60 at most"),
        ("ttft_ms.p95 > +10%", STORED, "needs 130 requests a side and gets 20 at most; raise iterations"),
        ("ttft_ms.p95 > +10%", replace(STORED, requests=None), ""),
        ("ttft_ms.mean > +10%", IN_TURN, "needs 90 requests a side to be called unchanged or improved and gets 60"),
        ("tps_total < -10%", IN_TURN, "needs 90 requests a side to be called unchanged or improved and gets 60"),
        ("ttft_ms.mean > +10%", replace(IN_TURN, requests=100, pairs=100), ""),
        ("ttft_ms.max > +10%", STORED, "can't be decided against a stored run; use --flperf-against"),
        ("ttft_ratio.p50 > +10%", IN_TURN, "only with --flperf-reference, which can't go with --flperf-against"),
        ("ttft_ratio.p50 > +10%", replace(STORED, reference=True), ""),
        ("ttft_ms.p50 > +10%", replace(IN_TURN, streaming=False), "only with streamed answers"),
        ("e2e_ms.p50 > +10%", replace(IN_TURN, streaming=False), ""),
        ("dispatch_delay_ms.p50 > +10%", IN_TURN, "only in open loops, which can't be cut into turns"),
        ("dispatch_delay_ms.p50 > +10%", replace(STORED, open_loop=True), ""),
        ("goodput < -10%", replace(IN_TURN, has_goal=False), "needs a budget on a latency"),
        ("connect_ms.p50 > +10%", IN_TURN, "connections stay open"),
        ("e2e_ms.p50 > +10%", replace(IN_TURN, pairs=12, comparisons=66), "can't be called regressed from 12 pairs"),
        ("ttft_ms.p50 > +0%", IN_TURN, "equal sides stay undecided; allow a little, such as 2 %"),
        ("error_rate > +0%", IN_TURN, ""),
        ("quality.mean < -2%", IN_TURN, "needs 198 requests a side or more to be called unchanged and gets 60 at most"),
        ("quality.mean < -2%", IN_TURN, "to be called regressed it takes 13 worse answers or more"),
        ("quality.mean < -2%", replace(IN_TURN, requests=216, pairs=216), ""),
        ("quality.mean < -0%", IN_TURN, "equal sides stay undecided"),
        (
            "quality.mean < -2%",
            replace(IN_TURN, prompts=1),
            "can't be decided from 1 prompt if repeats are answered alike; add prompts",
        ),
        ("quality.mean < -2%", replace(IN_TURN, prompts=10), "can't be called regressed from 10 prompts with 18"),
        (
            "quality.mean < -2%",
            replace(IN_TURN, prompts=40),
            "needs 198 prompts or more to be called unchanged and gets 40 at most; add prompts",
        ),
        (
            "quality.mean < -2%",
            replace(STORED, requests=60),
            "needs 149 requests a side or more to be called unchanged",
        ),
        ("quality.mean < -2%", replace(STORED, requests=None), ""),
        ("quality.mean < -2%", replace(IN_TURN, has_expectation=False), "the scenario has no 'expect'"),
        ("tps_total < -5%", replace(STORED, requests=200, runs=2), "needs 3 stored runs, and there are 2"),
        ("e2e_ms.p50 > +10%", replace(STORED, runs=1), "with 1 stored run is called regressed only if it is about 44"),
        ("e2e_ms.p50 > +10%", replace(STORED, runs=3), ""),
    ],
)
def test_obstacles(rule: str, size: Size, said: str) -> None:
    """Each names what is missing, and what to do."""
    found = obstacle(parse_rule(rule), size)
    assert said in found
    assert bool(said) == bool(found)


def test_it_is_as_the_judge_says() -> None:
    """From so few pairs, all of which say the same, the judge can't decide what is said not to be."""
    pairs = [Pair((200.0 + at,), (100.0,), first) for at, first in enumerate(draw_orders(12, 5))]
    for comparisons, word in ((1, "regressed"), (66, "undecided")):
        size = replace(IN_TURN, pairs=12, comparisons=comparisons)
        told = obstacle(parse_rule("e2e_ms.p50 > +10%"), size)
        finding = judge_pairs(pairs, "p50", Threshold(0.1), ErrorRates(comparisons=comparisons), look=1, looks=1)
        assert (finding.word, bool(told)) == (word, word == "undecided")


@pytest.mark.parametrize("pairs", [12, 60, 100, 216])
def test_what_is_said_of_quality_is_as_the_judge_says(pairs: int) -> None:
    """Without any difference it is unchanged exactly where nothing else is told."""
    rule, count = parse_rule("quality.mean < -2%"), len(looks(pairs))
    turns = [Pair((), (), first, matched=(MatchedRequest(1.0, 1.0),)) for first in draw_orders(pairs, 4)]
    finding = judge_matched(turns, rule.threshold, ErrorRates(comparisons=18), look=count, looks=count)
    told = obstacle(rule, replace(IN_TURN, requests=pairs, pairs=pairs))
    assert bool(told) == (finding.word == "undecided")
