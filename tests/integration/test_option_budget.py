"""``--flperf-budget`` and the budgets of suites."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer


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
    assert "flperf: PASSED: 1 passed, 2 budgets met" in done.lines


def test_missed(tiny: Tiny) -> None:
    """A miss fails the item; the text has every budget's limit, value and n, and so has JUnit's."""
    tiny.suite({"iterations": 2})
    done = tiny.measure("--flperf-budget=ttft_ms.max <= 0.001", "--flperf-budget=tps.p50 >= 0.001", "--junitxml=j.xml")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "failed"
    assert "FAILED tiny.json::one[reference] - Failed: missed ttft_ms.max" in done.text
    junit = (tiny.folder / "j.xml").read_text()
    for text in (done.text, done.case["message"], junit):
        assert "ttft_ms.max" in text
        assert "0.001" in text
        assert "tps.p50" in text
        assert "n 2" in text, text


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


@pytest.mark.parametrize(
    ("scoped", "hint"),
    [
        ("onee:ttft_ms.max <= 60000", "did you mean 'one'?"),
        ("One:ttft_ms.max <= 60000", "did you mean 'one'?"),
        ("two*:tps.p50 >= 1", "known: one, other"),
    ],
)
def test_a_budget_of_no_scenario(tiny: Tiny, scoped: str, hint: str) -> None:
    """Refused wherever it stands, with the nearest name: a gate that never closes is none."""
    tiny.suite({}, {"name": "other"})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-budget={scoped}")
    assert message.startswith(f"ERROR: --flperf-budget: budget {scoped!r}: found ")
    assert hint in message
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


def test_for_one_model(tiny: Tiny) -> None:
    """In a suite as a mapping, on the command line with @: in the place of the limit for all models, or beside it."""
    mapping = {"default": ["ttft_ms.max <= 60001", "e2e_ms.max <= 60002"], "models": {"refer*": "ttft_ms.max <= 60003"}}
    tiny.suite(
        {"budgets": {"models": {"reference": ["one: tps.max >= 0.001"], "nobody": "tps.max >= 1e9"}}}, budgets=mapping
    )
    done = tiny.measure("--flperf-budget=one@ref*: e2e_ms.max <= 60004")
    assert done.ret == 0, done.text
    limits = [each["expression"] for each in done.case["budgets"]]
    assert limits == [
        "@refer*: ttft_ms.max <= 60003",
        "one@reference: tps.max >= 0.001",
        "one@ref*: e2e_ms.max <= 60004",
        "error_rate <= 0",
    ]
    for budget in (["@ref*: ttft_ms.max <= 0.001"], {"models": {"reference": "ttft_ms.max <= 0.001"}}):
        tiny.suite({"budgets": budget}, budgets="ttft_ms.max <= 60000")
        done = tiny.measure()
        assert done.ret == pytest.ExitCode.TESTS_FAILED
        assert "missed @ref" in done.text


def test_of_a_model_that_is_not_there(tiny: Tiny) -> None:
    """Refused on the command line, and in a suite that names its models; else a suite may be run with others."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-budget=@referense: ttft_ms.max <= 5")
    assert "found 'referense' after the @" in message
    assert "did you mean 'reference'?" in message
    tiny.suite(models=["other"], budgets={"models": {"othr": "ttft_ms.max <= 0.001"}})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert "tiny.json: budgets.models.othr: budget '@othr: ttft_ms.max <= 0.001'" in message
    tiny.suite(budgets={"models": {"qwen*": "ttft_ms.max <= 0.001"}})
    assert tiny.measure().ret == 0


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ({"modles": {}}, "budgets: modles: unknown key; did you mean 'models'?"),
        ({"default": 5}, "budgets: default: found 5, expected one budget or a list"),
        ({"models": ["tps.p50 >= 3"]}, "expected a mapping of models (or patterns) to budgets"),
        ({"models": {"m": [""]}}, "budgets: models.m[0]: found '', expected a non-empty string"),
        ({"models": {"m": "@n: tps.p50 >= 3"}}, "expected a budget without @"),
        (
            {"models": {"ref*": ["tps.p50 => 3"]}},
            "tiny.json: budgets.models.ref*[0]: budget '@ref*: tps.p50 => 3': found",
        ),
    ],
)
def test_malformed_overrides(tiny: Tiny, budgets: object, words: str) -> None:
    """Refused with the file, the place, what was found and what was expected."""
    tiny.suite(budgets=budgets)
    assert words in tiny.refused("--flperf-suite=tiny.json", *tiny.at)


def test_bounds_variation_goodput_and_memory(tiny: Tiny) -> None:
    """What a few requests can't prove is missed, with the number that it takes; the rest is met with its unit."""
    tiny.suite({"iterations": 4})
    budgets = ["error_rate.upper95 <= 60%", "e2e_ms.cv <= 900%", "goodput >= 0.001/s", "ttft_ms.p95 <= 1min"]
    done = tiny.measure(*(f"--flperf-budget={each}" for each in budgets))
    assert done.ret == 0, done.text
    values = {each["expression"]: each["value"] for each in done.case["budgets"]}
    assert values["error_rate.upper95 <= 60%"] == pytest.approx(1 - 0.05**0.25)
    e2e = done.case["metrics"]["e2e_ms"]
    assert values["e2e_ms.cv <= 900%"] == pytest.approx(e2e["stdev"] / e2e["mean"])
    assert values["goodput >= 0.001/s"] == done.case["goodput"]
    done = tiny.measure("--flperf-budget=error_rate.upper95 <= 1%", "--junitxml=j.xml")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "missed error_rate.upper95 <= 1% (52.71 %)" in done.text
    assert "none of 4 requests failed; proving the limit takes 299 of which none does" in done.text


def test_of_a_search_without_one(tiny: Tiny) -> None:
    """Refused before anything is measured, with the load that it takes; a sweep's case is one point."""
    tiny.suite({"concurrency": [1, 2], "budgets": ["max_concurrency(ttft_ms.p95<=500) >= 2"]})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert (
        "scenario 'one': budget 'max_concurrency(ttft_ms.p95<=500) >= 2': max_concurrency is what a search" in message
    )
    assert "expected load: search, search_over: concurrency and search_to: N" in message
    tiny.suite()
    assert "load is closed" in tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-budget=max_rate >= 2")


def test_a_pattern_that_fits_the_end_of_a_long_name(tiny: Tiny) -> None:
    """Budgets go by the whole name, which results and table have cut."""
    name = f"{'a' * 1_500}-end"
    tiny.suite({"name": name, "iterations": 1}, {"name": "other", "iterations": 1})
    done = tiny.measure("--flperf-budget=*-end:ttft_ms.p50 <= 0")
    assert "1 failed, 1 passed" in done.counts
    long, other = sorted(done.cases, key=lambda case: case["scenario"])
    assert (long["outcome"], other["outcome"]) == ("failed", "passed")
    assert len(long["scenario"]) <= 1_000
