"""What a run of a size can't decide is said before it is measured, and what is not said can be decided."""

from __future__ import annotations

import pytest

from pytest_flperf.gates.decidable import Planned, limits_of, told
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.stats.findings import ErrorRates
from pytest_flperf.stats.matched_requests import MatchedRequest
from pytest_flperf.stats.pairs import Pair
from pytest_flperf.stats.schedule import draw_orders, looks

ALONE, MANY = ErrorRates(comparisons=2), ErrorRates(comparisons=66)
TURNS = Planned(60, 60, looks(60))
RUN = Planned(60, 60)


@pytest.mark.parametrize(
    ("rule", "planned", "rates", "said"),
    [
        ("ttft_ms.p50 > +10%", TURNS, ALONE, []),
        ("ttft_ms.p95 > +10%", TURNS, ALONE, ["p95 takes 130 requests a side, and 60 are the most"]),
        ("ttft_ms.p99 > +10%", RUN, ALONE, ["p99 takes 662 requests a side, and 60 are the most: raise iterations"]),
        ("ttft_ms.mean > +10%", TURNS, ALONE, ["a mean ends as unchanged from 90 requests a side on, and 60"]),
        ("ttft_ms.mean > +10%", Planned(100, 100, looks(100)), ALONE, []),
        ("ttft_ms.p50 > +0%", TURNS, ALONE, ["any change: two equal sides stay undecided"]),
        ("ttft_ms.p50 > +10%", TURNS, MANY, []),
        ("ttft_ms.p50 > +10%", Planned(12, 12, (12,)), MANY, ["12 pairs of turns can't show a regression"]),
        ("quality.mean < -2%", TURNS, ALONE, ["unchanged takes 198 of them", "a regression takes 10 worse answers"]),
        ("quality.mean < -2%", Planned(216, 216, looks(216)), ALONE, []),
        ("quality.mean < -0%", TURNS, ALONE, ["any fall: two equal sides stay undecided"]),
        ("quality.mean < -2%", Planned(60, 1, looks(60)), ALONE, ["1 prompt can't tell anything: add prompts"]),
        ("quality.mean < -2%", Planned(300, 10, looks(300)), MANY, ["10 prompts can't show a regression"]),
        ("quality.mean < -2%", RUN, ALONE, ["unchanged takes 149 of them"]),
        ("error_rate > +0%", TURNS, MANY, []),
        ("ttft_ms.max > +10%", RUN, ALONE, ["min and max rest on single requests"]),
        ("ttft_ms.max > +10%", TURNS, ALONE, []),
        ("tps_total < -5%", Planned(60, 60, runs=2), ALONE, ["takes 3 stored runs", "there are 2 stored runs"]),
        ("ttft_ms.p50 > +10%", Planned(60, 60, runs=0), MANY, ["with 0 stored runs nothing below about"]),
        ("ttft_ms.p50 > +10%", Planned(60, 60, runs=3), MANY, []),
        ("ttft_ms.p50 > +10%", RUN, MANY, []),
    ],
)  # fmt: skip
def test_limits(rule: str, planned: Planned, rates: ErrorRates, said: list[str]) -> None:
    """Each kind, with what to do; nothing where each word can come out."""
    found = limits_of(parse_rule(rule, "--flperf-fail-on"), planned, rates)
    assert bool(found) == bool(said), found
    for each in said:
        assert each in " ".join(found)


def test_nothing_is_said_of_rules_that_nobody_wrote() -> None:
    """Those that stand in, and the one on the error rate."""
    for scope in ("default", "implied"):
        assert limits_of(parse_rule("ttft_ms.p99 > +5%", scope), RUN, ALONE) == ()


def test_a_line_for_each_kind() -> None:
    """Not for each case."""
    rules = [parse_rule(f"{name}.p95 > +10%", "x") for name in ("ttft_ms", "tpot_ms", "e2e_ms", "tps")[:3]]
    limits = ["p95 takes 130"]
    assert told([(rule, limits) for rule in rules[:2]] * 4 + [(rules[2], ["other"])]) == (
        "ttft_ms.p95 > +10%, tpot_ms.p95 > +10% (4 cases): p95 takes 130",
        "e2e_ms.p95 > +10%: other",
    )


@pytest.mark.parametrize("pairs", [12, 60, 100, 216])
def test_what_is_said_of_quality_is_true(pairs: int) -> None:
    """Without any difference the verdict is unchanged exactly where no limit says otherwise."""
    from pytest_flperf.stats.matched import judge_matched

    rule, planned = parse_rule("quality.mean < -2%", "x"), Planned(pairs, pairs, looks(pairs))
    turns = [Pair((), (), first, (MatchedRequest(1.0, 1.0),)) for first in draw_orders(pairs, 4)]
    last = len(planned.looks)
    found = judge_matched(turns, rule.threshold, MANY, look=last, looks=last)
    said = any("unchanged takes" in each for each in limits_of(rule, planned, MANY))
    assert said == (found.word == "undecided")
