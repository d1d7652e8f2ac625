"""``--flperf-budget`` and the budgets of suites."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

from pytest_flperf.reference import Fault, FaultKind, ReferenceConfig, ReferenceServer


def test_met(tiny: Tiny) -> None:
    """Budgets that are met are in the results with limit, value and n."""
    tiny.suite({"iterations": 2})
    done = tiny.measure("--flperf-budget=ttft_ms.max <= 60000", "--flperf-budget=error_rate <= 1%", "-v")
    assert done.ret == 0, done.text
    budgets = {each["expression"]: each for each in done.case["budgets"]}
    assert budgets["ttft_ms.max <= 60000"]["met"]
    assert budgets["ttft_ms.max <= 60000"]["n"] == 2
    assert budgets["ttft_ms.max <= 60000"]["limit"] == 60_000
    assert "budget ttft_ms.max <= 60000: met" in done.text


def test_missed(tiny: Tiny) -> None:
    """A miss fails the item; the text has every budget's limit, value and n, and so has JUnit's."""
    tiny.suite({"iterations": 2})
    done = tiny.measure("--flperf-budget=ttft_ms.max <= 0.001", "--flperf-budget=tps.p50 >= 0.001", "--junitxml=j.xml")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "failed"
    assert "FAILED tiny.json::one[reference]" in done.text
    junit = (tiny.folder / "j.xml").read_text()
    for text in (done.text, done.case["message"], junit):
        assert "ttft_ms.max" in text
        assert "0.001" in text
        assert "tps.p50" in text
        assert "n=2" in text or "n 2" in text or "of 2" in text


def test_of_the_suite(tiny: Tiny) -> None:
    """Budgets of suite, scenario and command line are joined."""
    tiny.suite({"budgets": ["ttft_ms.max <= 60001"]}, budgets=["e2e_ms.max <= 60002"])
    done = tiny.measure("--flperf-budget=tps.max >= 0.003")
    assert {each["limit"] for each in done.case["budgets"]} >= {60_001, 60_002, 0.003}


@pytest.mark.parametrize(
    ("budget", "hint"),
    [("ttft_ms.p95", "comparison"), ("ttft.p95 <= 3", "ttft_ms"), ("ttft_ms.p95 <= soon", "soon"), ("<= 3", "")],
)
def test_malformed(tiny: Tiny, budget: str, hint: str) -> None:
    """A budget that can't be read, or of an unknown metric, is refused."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-budget={budget}")
    assert "--flperf-budget" in message
    assert hint in message


def test_malformed_in_a_suite(tiny: Tiny) -> None:
    """A suite's malformed budget is refused with the file and the key path."""
    tiny.suite({"budgets": ["tps.p50 => 3"]})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert "tiny.json: scenarios[0].budgets[0]" in message
    assert "=>" in message


@pytest.mark.parametrize(("iterations", "more"), [(2, ()), (1, ("--flperf-budget=error_rate <= 100%",))])
def test_errors(tiny: Tiny, iterations: int, more: tuple[str, ...]) -> None:
    """One failed request misses the default budget; a case without a good request never passes."""
    tiny.suite({"iterations": iterations})
    every_second = ReferenceConfig(fault=Fault(FaultKind.HTTP_ERROR, status=503, every=2))
    with ReferenceServer(every_second, in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        done = tiny.run("--flperf-suite=tiny.json", *at, *more)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert done.case["outcome"] == "failed"
    assert done.case["requests"]["failed"] == 1
    assert "503" in done.case["message"]


@pytest.mark.parametrize("scoped", ["onee:ttft_ms.max <= 60000", "One:ttft_ms.max <= 60000", "two*:tps.p50 >= 1"])
def test_a_budget_of_no_scenario(tiny: Tiny, scoped: str) -> None:
    """Refused wherever it stands, with the nearest name: a gate that never closes is none."""
    tiny.suite({}, {"name": "other"})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-budget={scoped}")
    assert message.startswith(f"ERROR: --flperf-budget: budget {scoped!r}: found ")
    assert "did you mean 'one'?" in message or "known: one, other" in message
    tiny.suite({}, {"name": "other"}, budgets=[scoped])
    assert "tiny.json: budgets[0]: budget" in tiny.refused("--flperf-suite=tiny.json", *tiny.at)


def test_a_budget_of_another_scenario(tiny: Tiny) -> None:
    """Under one scenario a budget of another would never be judged; in the suite it is."""
    tiny.suite({}, {"name": "other", "budgets": ["one:tps.p50 >= 1"]})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert "tiny.json: scenarios[1].budgets[0]: budget 'one:tps.p50 >= 1'" in message
    tiny.suite({}, {"name": "other"}, budgets=["one:tps.p50 >= 1"])
    done = tiny.measure("--flperf-budget=oth*:ttft_ms.max <= 60000")
    assert done.ret == 0, done.text
    one, other = ([budget["expression"] for budget in case["budgets"]] for case in done.cases)
    assert one == ["one:tps.p50 >= 1", "error_rate <= 0"]
    assert other == ["oth*:ttft_ms.max <= 60000", "error_rate <= 0"]
