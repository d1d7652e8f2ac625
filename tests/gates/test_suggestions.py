"""Suggested budgets: readable, kept by the runs that they come from, and as wide as the noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import parse_budget, parse_budgets
from pytest_flperf.gates.default_budget import DEFAULT_BUDGET, applicable
from pytest_flperf.gates.suggestions import ONE_RUN_MARGIN, LeftOut, Suggestion, scoped, suggest
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.descriptive.summary import distribution

NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["a@b", "run.1", "a [b]@*", "x:y <= 3", "日本 语", " ", "m" * 1500, "max_rate(x)", "\x1b[31m", "or and/m@sha:1"]
)
VALUES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=200)


def case(
    ttft_ms: list[float], failed: int = 0, scenario: str = "chat", model: str = "m", nodeid: str = "n"
) -> CaseResult:
    """A case with these times to the first token, and with speeds that follow from them."""
    found = {"ttft_ms": distribution(ttft_ms), "gen_tps": distribution([1000 / value for value in ttft_ms])}
    total = len(ttft_ms) + failed
    return CaseResult(
        nodeid,
        "s",
        scenario,
        model,
        requests=Requests(total=total, ok=len(ttft_ms), failed=failed),
        error_rate=failed / total,
        metrics={name: each for name, each in found.items() if each is not None},
    )


def limits(found: tuple[Suggestion, ...]) -> dict[str, float]:
    """By what they limit."""
    return {each.metric + f".{each.statistic}" * bool(each.statistic): each.limit for each in found}


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4), st.integers(0, 9), NAMES, NAMES)
def test_kept_by_their_own_runs(runs: list[list[float]], failed: int, scenario: str, model: str) -> None:
    """Every suggestion can be read, holds for its scenario and model, and each of the runs keeps it."""
    cases = [case(values, failed, scenario, model) for values in runs]
    found, left = suggest(cases)
    assert {each.metric for each in found} >= {"error_rate"}
    for each in found:
        budget = parse_budget(each.budget)
        assert budget.limit == each.limit
        assert budget.holds_for(scenario)
        assert budget.holds_for_model(model)
        for one in cases:
            assert budget.judge(one).met
    named = {f"{each.metric}.{each.statistic}" for each in found} | {each.number for each in left}
    assert named >= {"ttft_ms.p50", "ttft_ms.p95", "gen_tps.p50"}


def test_one_run() -> None:
    """The far end of the interval times the margin, rounded away from what was measured; what has too few is named."""
    values = [100 + k for k in range(20)]
    one = case(list(map(float, values)))
    interval = one.metrics["ttft_ms"].p50_ci95
    assert interval is not None
    found, left = suggest([one])
    raw = interval[1] * ONE_RUN_MARGIN
    assert limits(found)["ttft_ms.p50"] == math.ceil(raw / 10) * 10
    assert limits(found)["gen_tps.p50"] < one.metrics["gen_tps"].p50 / ONE_RUN_MARGIN
    assert limits(found)["error_rate"] == 0
    assert left == (LeftOut("s", "chat", "m", "ttft_ms.p95", "20 requests, it needs 130"),)
    assert "× 1.5" in found[0].why
    (ttft, *_), _ = suggest([one], margin=1.0)
    assert ttft.limit == math.ceil(interval[1] / 10) * 10


def test_the_spread_of_several_runs() -> None:
    """From three on a prediction bound: tight where runs agree, wide where they don't, none where they tell nothing."""

    def limit(*medians: float) -> float | None:
        runs = [case([each - 0.1, each, each + 0.1] * 10) for each in medians]
        return limits(suggest(runs)[0]).get("ttft_ms.p50")

    alike, apart = limit(100, 101, 99, 100, 101), limit(100, 110, 90, 105, 95)
    assert alike is not None
    assert apart is not None
    assert 100 < alike <= 110
    assert 120 < apart < 150
    assert limit(100, 101) == 160, "two don't show it: the margin of one"
    assert limit(10, 100, 1000) is None


def test_the_widest_point_of_a_matrix() -> None:
    """Points of one scenario share its budget, so that each keeps it; they are no runs of the same."""
    quick, slow = case([10.0] * 20, nodeid="n-1"), case([50.0] * 20, failed=1, nodeid="n-2")
    found, _ = suggest([quick, slow])
    assert limits(found)["ttft_ms.p50"] == 75
    assert limits(found)["gen_tps.p50"] == 13
    assert limits(found)["error_rate"] == pytest.approx(0.21)
    assert [each.budget for each in found if each.metric == "error_rate"] == ["chat@m: error_rate <= 21%"]
    assert "1 of 21 requests failed" in found[-1].why


def test_each_model_has_its_own() -> None:
    """Two models in one run: each budget holds for its model alone, in the place of one for all."""
    found, _ = suggest([case([10.0] * 20, model="a"), case([50.0] * 20, model="b")])
    budgets = parse_budgets(["ttft_ms.p50 <= 5", *(each.budget for each in found)])
    for model, limit in (("a", 15), ("b", 75)):
        chosen = applicable("chat", budgets, model)
        assert [each.limit for each in chosen if each.metric == "ttft_ms"] == [limit]
        assert DEFAULT_BUDGET not in chosen


def test_what_there_is_none_for() -> None:
    """Nothing measured, and the case of a search, whose load depends on the limits."""
    nothing = CaseResult("n", "s", "gone", "m")
    searched = replace(case([5.0] * 20, scenario="search"), search=Search("concurrency", 4, bounded=True))
    found, left = suggest([nothing, searched])
    assert found == ()
    assert [(each.scenario, each.number) for each in left] == [("gone", ""), ("search", "")]
    assert "not one good request" in left[0].reason


@given(NAMES, NAMES, NAMES)
def test_names_that_can_not_be_written(scenario: str, model: str, other: str) -> None:
    """Whatever scenario and model are called, the budget holds for them; plain names are written as they are."""
    budget = parse_budget(scoped(scenario, model, "tps.p50 >= 1"))
    assert budget.holds_for(scenario)
    assert budget.holds_for_model(model)
    assert scoped("a b", "org/m:1@x", "tps.p50 >= 1") == "a b@org/m:1@x: tps.p50 >= 1"
    if other.isalpha() and other.isascii() and scenario.isalpha() and scenario.isascii() and len(scenario) < 200:
        assert budget.holds_for(other) is (other == scenario)
