"""Changes relative to a reference load."""

from __future__ import annotations

import pytest

from pytest_flperf.gates.comparison import compare_runs
from pytest_flperf.gates.rules import parse_rules
from pytest_flperf.results.comparison import Comparison, ReferenceLoad
from pytest_flperf.results.measured import Distribution, Requests
from pytest_flperf.results.records import CaseResult
from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.run_variance import BetweenRuns

STEADY = BetweenRuns(0.01, 30)


def around(value: float) -> Distribution:
    """Twenty values close to this."""
    near = (value * 0.995, value * 1.005)
    return Distribution(20, value, value / 100, *(near[0],) * 2, value, *(near[1],) * 4, p50_ci95=near)


def a_case(e2e_ms: float, load_ms: float | None) -> CaseResult:
    """A case of which a request takes so long, and the reference load beside it so long."""
    metrics = {"e2e_ms": around(e2e_ms)}
    if load_ms is not None:
        metrics["e2e_ratio"] = around(e2e_ms / load_ms)
    load = None if load_ms is None else ReferenceLoad(metrics={"e2e_ms": around(load_ms)}, pairs=20)
    return CaseResult(
        "s::c[m]", "s", "c", "m", requests=Requests(total=20, ok=20), error_rate=0.0, metrics=metrics, reference=load
    )


def compared(case: CaseResult, baseline: CaseResult, rule: str = "e2e_ms.p50 > +5%") -> Comparison:
    """What comes of a rule."""
    between = {"e2e_ms.p50": STEADY, "e2e_ratio.p50": STEADY}
    rules = parse_rules([rule], "--flperf-fail-on")
    return compare_runs(case, baseline, {}, between, rules, ErrorRates())[0]


def test_a_slower_machine_is_no_regression() -> None:
    """Everything takes 20 % longer, the load too: nothing has changed, and both changes are shown."""
    found = compared(a_case(120.0, 48.0), a_case(100.0, 40.0))
    assert found.verdict == "unchanged"
    assert found.change_pct == pytest.approx(0, abs=0.01)
    assert found.raw_change_pct == pytest.approx(20)
    assert (found.baseline, found.candidate) == (100.0, 120.0)
    assert found.reason == "the reference load: +20.0 %"


def test_a_faster_machine_hides_nothing() -> None:
    """As measured nothing changed, but the load has become quicker by a fifth: it regressed."""
    found = compared(a_case(100.0, 32.0), a_case(100.0, 40.0))
    assert (found.verdict, found.fails) == ("regressed", True)
    assert found.change_pct == pytest.approx(25)
    assert found.raw_change_pct == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("load_ms", [70.0, 20.0])
def test_machines_too_different(load_ms: float) -> None:
    """Undecided, with that reason, whatever the numbers say."""
    found = compared(a_case(200.0, load_ms), a_case(100.0, 40.0))
    assert found.verdict == "undecided"
    assert found.reason.startswith("the machines differ too much")
    assert not found.fails


@pytest.mark.parametrize(("now", "then"), [(None, 40.0), (48.0, None), (None, None)])
def test_a_side_without_a_load(now: float | None, then: float | None) -> None:
    """Judged as measured."""
    found = compared(a_case(120.0, now), a_case(100.0, then))
    assert (found.verdict, found.raw_change_pct) == ("regressed", None)
    assert found.change_pct == pytest.approx(20)


@pytest.mark.parametrize(("floor", "word"), [("+5ms", "regressed"), ("+50ms", "unchanged")])
def test_a_floor_is_of_what_was_measured(floor: str, word: str) -> None:
    """A ratio has no milliseconds."""
    found = compared(a_case(130.0, 40.0), a_case(100.0, 40.0), f"e2e_ms.p50 > +5% and {floor}")
    assert found.verdict == word
