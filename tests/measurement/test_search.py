"""The search for the highest load, with servers that are formulas."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.measurement.capacity_search import Goal, SearchPlan, search
from pytest_flperf.measurement.runner import CaseRun
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.suite.load_shapes import at_load
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite


def run_at(load: float, throughput: float, *, out_of_time: bool = False, trouble: str = "") -> CaseRun:
    """What a server gave at a load."""
    result = CaseResult("n", "s", "one", "m", requests=Requests(total=9, ok=9), tps_total=throughput, wall_s=load)
    return CaseRun(result, trouble, out_of_time)


def found(plan: SearchPlan, capacity: float, saturation: float = 1e9) -> Search:
    """Search on a server that keeps the budgets up to ``capacity`` and gives more throughput up to ``saturation``."""
    tried: list[float] = []

    def play(load: float) -> CaseRun:
        assert load not in tried, "no load is tried twice"
        tried.append(load)
        return run_at(load, min(load, saturation))

    goal = Goal(lambda result: "" if (result.wall_s or 0) <= capacity else "too slow")
    done = search(plan, play, [goal])
    assert done.result.search is not None
    assert [step.load for step in done.result.search.steps] == tried
    best = done.result.search.highest
    assert done.result.wall_s == (best if best is not None else tried[0])
    return done.result.search


@given(st.integers(1, 1000), st.integers(1, 1000), st.floats(0.5, 2000))
def test_streams(first: int, second: int, capacity: float) -> None:
    """Within a tenth below the true capacity, or at the end of what was to be tried."""
    low, high = sorted((first, second))
    plan = SearchPlan("concurrency", float(low), float(high + 1))
    search_ = found(plan, capacity)
    true = min(int(capacity), high + 1)
    if true < low:
        assert search_.highest is None
        assert len(search_.steps) == 1
        assert search_.bounded
        return
    assert search_.highest is not None
    assert search_.highest.is_integer()
    assert search_.highest <= true <= max(search_.highest * 1.1, search_.highest + 1)
    assert search_.bounded is (capacity < high + 1)
    assert len(search_.steps) <= 16


@given(st.floats(0.01, 10), st.floats(1.5, 1e4), st.floats(0.001, 1e5))
def test_rates(low: float, times: float, capacity: float) -> None:
    """The same without whole numbers."""
    search_ = found(SearchPlan("rate", low, low * times), capacity)
    true = min(capacity, low * times)
    if true < low:
        assert search_.highest is None
        return
    assert search_.highest is not None
    assert search_.highest <= true <= search_.highest * 1.11


def test_saturation() -> None:
    """The lowest load that gave as much as any; nobody knows where none higher was tried."""
    assert found(SearchPlan("concurrency", 1, 64), 1e9, saturation=8).saturation == 8
    assert found(SearchPlan("concurrency", 1, 64), 1e9).saturation is None
    assert found(SearchPlan("concurrency", 1, 64), 20, saturation=3.9).saturation == 4


def test_trouble_and_the_end_of_the_time() -> None:
    """A load at which the server went away is one too many; without time what is known stands."""
    plan = SearchPlan("concurrency", 1, 64)
    troubled = search(
        plan, lambda load: run_at(load, load, trouble="gone" if load > 4 else ""), [Goal(lambda result: "")]
    )
    assert troubled.result.search is not None
    assert troubled.result.search.highest == 4
    assert {step.missed for step in troubled.result.search.steps} == {"", "gone"}
    timed = search(plan, lambda load: run_at(load, load, out_of_time=load > 2), [Goal(lambda result: "")])
    assert timed.out_of_time
    assert timed.result.search is not None
    assert len(timed.result.search.steps) == 3


@pytest.mark.parametrize(("over", "kind"), [("concurrency", "closed"), ("rate", "poisson")])
def test_a_case_at_a_load(over: str, kind: str) -> None:
    """A closed loop has some requests for each stream; arrivals have the rate."""
    written = {"name": "a", "prompt": "b", "load": "search", "search_to": 64, "search_over": over, "iterations": 10}
    suite = Suite("s", "s", Path(), "", "", (scenario_of(written),), ("m",))
    settings = at_load(expand(suite, ["m"])[0], over, 16.0).scenario.settings
    assert settings.load.kind == kind
    if over == "concurrency":
        assert (settings.concurrency, settings.iterations) == (16, 48)
    else:
        assert (settings.load.rate, settings.iterations) == (16.0, 10)


def test_several_goals_share_the_loads() -> None:
    """Each finds its own highest; no load is played twice; the figures are those of the first."""
    tried: list[float] = []

    def play(load: float) -> CaseRun:
        assert load not in tried, "no load is tried twice"
        tried.append(load)
        return run_at(load, load)

    def keeps(most: float, *conditions: str) -> Goal:
        return Goal(lambda result: "" if (result.wall_s or 0) <= most else "too slow", conditions)

    goals = [keeps(6), keeps(12, "a <= 1"), keeps(0.5, "b <= 1"), keeps(6, "c <= 1")]
    done = search(SearchPlan("concurrency", 1, 64), play, goals)
    assert done.result.wall_s == 6
    assert done.result.search is not None
    found = (done.result.search, *done.result.searches)
    assert [(each.highest, each.conditions) for each in found] == [
        (6, ()),
        (12, ("a <= 1",)),
        (None, ("b <= 1",)),
        (6, ("c <= 1",)),
    ]
    assert {step.load for each in found for step in each.steps} == set(tried)


def test_the_time_ends_all_goals() -> None:
    """Where it is over, no further load is played for any of them, and what is known of each stands."""
    tried: list[float] = []

    def play(load: float) -> CaseRun:
        tried.append(load)
        return run_at(load, load, out_of_time=load > 4)

    goals = [Goal(lambda result: "" if (result.wall_s or 0) < 3 else "slow"), Goal(lambda result: "", ("a <= 1",))]
    done = search(SearchPlan("concurrency", 1, 64), play, goals)
    assert done.out_of_time
    assert tried == [1, 2, 4, 3, 8]
    assert done.result.search is not None
    assert done.result.search.highest == 2
    (other,) = done.result.searches
    assert (other.highest, len(other.steps)) == (4, 4)
