"""What is known before measuring not to be decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_flperf.gates.feasibility import Size, obstacle
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.stats.findings import ErrorRates, Threshold
from pytest_flperf.stats.pairs import Pair, judge_pairs
from pytest_flperf.stats.schedule import draw_orders

IN_TURN = Size(in_turn=True, requests=60, pairs=60, comparisons=18)
STORED = Size(in_turn=False, requests=20, pairs=None, comparisons=18)


@pytest.mark.parametrize(
    ("rule", "size", "said"),
    [
        ("ttft_ms.p50 > +10%", IN_TURN, ""),
        ("error_rate > +1%", IN_TURN, ""),
        ("ttft_ms.max > +10%", IN_TURN, ""),
        ("ttft_ms.p99 > +10%", IN_TURN, "needs 662 requests a side, and there will be 60 at most"),
        ("ttft_ms.p95 > +10%", STORED, "needs 130 requests a side, and there will be 20 at most; raise iterations"),
        ("ttft_ms.p95 > +10%", replace(STORED, requests=None), ""),
        ("ttft_ms.mean > +10%", IN_TURN, "is called unchanged or improved from 90 requests a side on"),
        ("tps_total < -10%", IN_TURN, "is called unchanged or improved from 90 requests a side on"),
        ("ttft_ms.mean > +10%", replace(IN_TURN, requests=100, pairs=100), ""),
        ("ttft_ms.max > +10%", STORED, "is never decided against a stored run; --flperf-against can"),
        ("ttft_ratio.p50 > +10%", IN_TURN, "--flperf-reference only, which can't go with --flperf-against"),
        ("ttft_ratio.p50 > +10%", replace(STORED, reference=True), ""),
        ("ttft_ms.p50 > +10%", replace(IN_TURN, streaming=False), "streamed answers only"),
        ("e2e_ms.p50 > +10%", replace(IN_TURN, streaming=False), ""),
        ("dispatch_delay_ms.p50 > +10%", IN_TURN, "open loops only, which can't be cut into turns"),
        ("dispatch_delay_ms.p50 > +10%", replace(STORED, open_loop=True), ""),
        ("goodput < -10%", replace(IN_TURN, has_goal=False), "needs a budget on a latency"),
        ("connect_ms.p50 > +10%", IN_TURN, "connections stay open"),
        ("e2e_ms.p50 > +10%", replace(IN_TURN, pairs=12, comparisons=66), "can't be called regressed from 12 pairs"),
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
