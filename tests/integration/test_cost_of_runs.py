"""Cost, reasoning tokens and energy of real runs: exact against a server of known use, and seen on every surface."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.history import store
from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.results.records import Run, load_schema
from pytest_flperf.session.recovery import recover

assert store  # here once: pytester forgets modules that a run in this process imported

PRICE = {
    "input_per_1m": 1000, "output_per_1m": 4000, "cached_input_per_1m": 100, "reasoning_per_1m": 8000,
    "currency": "EUR", "source": "our contract", "date": "2026-11-01",
}  # fmt: skip
THINKING = Schedule(ttft_ms=1, itl_ms=4, tokens=4, reasoning_tokens=6, cached_tokens=1)


@pytest.fixture(scope="module")
def thinking() -> Iterator[ReferenceServer]:
    """Thinks six tokens, answers four, has one of the prompt in its cache, and says so."""
    with ReferenceServer(ReferenceConfig(THINKING), in_thread=True) as server:
        yield server


def at(server: ReferenceServer) -> tuple[str, str]:
    """Options to measure a server."""
    return f"--flperf-base-url={server.base_url}", "--flperf-model=reference"


def suite(tiny: Tiny, *, price: dict[str, Any] | None = None, **scenario: Any) -> None:
    """A suite with prices of the reference server's model."""
    asked = {"max_tokens": 10, "iterations": 4, "warmup": 1, "expect": {"length": {"min": 1}}, **scenario}
    tiny.suite(asked, prices={"ref*": PRICE if price is None else price})


def samples(done: Done) -> list[dict[str, Any]]:
    """Decoded requests."""
    return done.journal("samples.jsonl")


def paid(sample: dict[str, Any]) -> float:
    """What a request costs by PRICE."""
    assert sample["prompt_tokens"] > sample["cached_tokens"] > 0
    fresh = sample["prompt_tokens"] - sample["cached_tokens"]
    answer = sample["output_tokens"] - sample["reasoning_tokens"]
    total = fresh * 1000 + sample["cached_tokens"] * 100 + answer * 4000 + sample["reasoning_tokens"] * 8000
    return float(total / 1e6)


def test_an_exact_cost(tiny: Tiny, thinking: ReferenceServer) -> None:
    """Token by token; budgets on it are judged, and every surface has it."""
    suite(tiny, budgets=["cost_per_1k <= 1000", "cost_per_right <= 1", "request_cost.max <= 1", "cost_per_1k <= 0.5"])
    files = ("--flperf-markdown=s.md", "--flperf-csv=s.csv", "--junitxml=s.xml", "--flperf-html=s.html")
    done = tiny.run("--flperf-suite=tiny.json", *at(thinking), "-vv", *files, "--flperf-budget=run.cost <= 100")
    assert done.ret == 1, done.text
    jsonschema.validate(done.results, load_schema())
    case = done.case
    measured = [paid(each) for each in samples(done) if each["phase"] == "measured"]
    cost, price = case["cost"], case["price"]
    assert price == {**PRICE, "prompt_limit": None}
    assert cost["total"] == pytest.approx(sum(measured))
    assert cost["per_1k"] == pytest.approx(1000 * sum(measured) / 4)
    assert cost["per_right"] == pytest.approx(sum(measured) / 4)
    assert cost["spent"] == pytest.approx(sum(map(paid, samples(done))))
    assert (cost["currency"], cost["at_most"], cost["failed_unknown"], cost["reason"]) == ("EUR", False, 0, "")
    assert case["metrics"]["request_cost"]["max"] == pytest.approx(max(measured))
    assert (case["metrics"]["reasoning_tokens"]["p50"], case["metrics"]["answer_tokens"]["p50"]) == (6, 4)
    assert case["reasoning_tokens_source"] == "usage"
    assert [each["met"] for each in case["budgets"]][:4] == [True, True, True, False]
    assert "per 1,000 answers" in done.text
    assert "EUR/1k" in done.text
    assert "quality 167 per 1k tokens" in done.text
    assert "cost of the run: " in done.text
    assert "cost EUR/1k" in (tiny.folder / "s.md").read_text()
    head, row = (tiny.folder / "s.csv").read_text().splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=False))
    assert float(cells["request_cost.max"]) == pytest.approx(max(measured))
    assert f"{cost['per_1k']!r},{cost['per_right']!r}" in row
    properties = {each.get("name"): each.get("value") for each in ET.parse(tiny.folder / "s.xml").iter("property")}
    assert float(properties["cost_per_1k"] or 0) == pytest.approx(cost["per_1k"], rel=1e-4)
    words = "1000 in, 100 in from cache, 4000 out, 8000 for reasoning per million tokens, in EUR"
    assert properties["price"] == f"{words} (our contract, 2026-11-01)"
    page = (tiny.folder / "s.html").read_text()
    assert "per 1,000 answers" in page
    assert "Cost of the run" in page


def test_a_recovered_run(tiny: Tiny, thinking: ReferenceServer) -> None:
    """Costs what the run said."""
    suite(tiny)
    done = tiny.run("--flperf-suite=tiny.json", *at(thinking))
    (done.report / "results.json").unlink()
    found = recover(done.report)
    (case,) = found.cases
    assert case.cost is not None
    assert case.cost.total == pytest.approx(sum(paid(x) for x in samples(done) if x["phase"] == "measured"))
    assert case.price is not None


def test_failed_requests(tiny: Tiny) -> None:
    """Of what a server doesn't say there is a count; an answer costs what was paid for all that were said."""
    with ReferenceServer(ReferenceConfig(THINKING, Fault(FaultKind.HTTP_ERROR, every=2)), in_thread=True) as server:
        suite(tiny, budgets=["error_rate <= 100%"])
        done = tiny.run("--flperf-suite=tiny.json", *at(server))
    case, cost = done.case, done.case["cost"]
    failed = case["requests"]["failed"]
    assert 0 < failed < 4, done.text
    told = [x for x in samples(done) if x["phase"] == "measured" and x["outcome"] == "ok"]
    assert cost["total"] == pytest.approx(sum(map(paid, told)))
    assert cost["failed_unknown"] == failed
    assert cost["per_1k"] == pytest.approx(1000 * cost["total"] / case["requests"]["ok"])
    assert cost["per_right"] == pytest.approx(cost["total"] / case["requests"]["ok"])


@pytest.mark.parametrize(
    ("schedule", "price", "words"),
    [
        (Schedule(ttft_ms=1, itl_ms=4, tokens=4, usage="absent"), PRICE, "the server did not say how many tokens"),
        (Schedule(ttft_ms=1, itl_ms=4, tokens=4, usage="zeros"), PRICE, "the server did not say how many tokens"),
    ],
)
def test_never_of_estimates(tiny: Tiny, schedule: Schedule, price: dict[str, Any], words: str) -> None:
    """A budget on the cost of counted chunks is missed, with that reason."""
    with ReferenceServer(ReferenceConfig(schedule), in_thread=True) as server:
        suite(tiny, price=price, budgets=["cost_per_1k <= 1000000"])
        done = tiny.run("--flperf-suite=tiny.json", *at(server))
    assert done.ret == 1, done.text
    assert (done.case["cost"]["total"], done.case["cost"]["per_1k"]) == (None, None)
    assert words in done.case["cost"]["reason"]
    assert words in done.case["budgets"][0]["reason"]
    assert "request_cost" not in done.case["metrics"]


def test_without_a_price(tiny: Tiny) -> None:
    """A local model has none: no column, no note, and a budget says what to do."""
    tiny.suite({"budgets": ["cost_per_1k <= 1"]})
    done = tiny.measure("--flperf-budget=run.cost <= 1")
    assert done.ret == 1, done.text
    assert (done.case["price"], done.case["cost"]) == (None, None)
    assert "no price of reference is known: give one under prices in the suite" in done.text
    assert "no price is known of any model" in done.text
    assert "/1k" not in done.text


def test_rules(tiny: Tiny, thinking: ReferenceServer, reference: ReferenceServer) -> None:
    """Two sides in turns are compared by what a request costs: this one thinks, the other doesn't."""
    tiny.suite(
        {"max_tokens": 10, "iterations": 40, "fail_on": ["request_cost.mean > +5%"]},
        prices={"*": {**PRICE, "currency": "USD"}},
    )
    done = tiny.run("--flperf-suite=tiny.json", *at(thinking), f"--flperf-against=base_url={reference.base_url}")
    assert done.ret == 1, done.text
    (against,) = done.case["against"]
    (found,) = [each for each in against["comparisons"] if each["metric"] == "request_cost"]
    assert found["verdict"] == "regressed", found
    assert against["metrics"]["request_cost"]["mean"] < done.case["metrics"]["request_cost"]["mean"]


@pytest.mark.usefixtures("stored")
def test_history(tiny: Tiny, thinking: ReferenceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of a case are series in the store; a run without a price has none."""
    suite(tiny)
    first = tiny.run("--flperf-suite=tiny.json", *at(thinking)).case
    tiny.suite({"max_tokens": 10})
    tiny.run("--flperf-suite=tiny.json", *at(thinking))
    monkeypatch.chdir(tiny.folder)
    for metric, expected in (("cost_per_1k", first["cost"]["per_1k"]), ("quality_per_1k_reasoning", 1000 / 6)):
        out = tiny.command("history", "--scenario=one", f"--metric={metric}", "--json")
        assert out.ret == 0, out.stderr.str()
        values = [point["value"] for point in json.loads(out.stdout.str())]
        assert values == [pytest.approx(expected), None]
    assert tiny.command("trend", "--metric=cost_per_1k").ret == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prices": {"reference": {"input_per_1m": -1, "output_per_1m": 1}}}, "found -1, expected a price"),
        ({"prices": {"reference": {**PRICE, "currency": "dollars\x1b[2J"}}}, "expected the code of a currency"),
        ({"models": ["reference"], "prices": {"referense": PRICE}}, "found 'referense', expected a model of the suite"),
        ({"prices": {"reference": {"genai_prices": "nobody/nothing"}}}, "genai_prices: "),
        ({"targets": [{"model": "reference", "price": {"genai_prices": "nobody/x"}}]}, "price: genai_prices: "),
    ],
)
def test_bad_prices(tiny: Tiny, settings: dict[str, Any], words: str) -> None:
    """One message, before anything is loaded."""
    tiny.suite(**settings)
    message = tiny.refused("--flperf-suite=tiny.json", *(tiny.at if "targets" not in settings else tiny.at[:1]))
    assert words in message
    assert message.isprintable()


def test_hostile_results(tmp_path: Path) -> None:
    """What a results file says of its currency and price is escaped and cut wherever it is shown."""
    hostile = "<script>alert(1)</script>\x1b[31m" * 3
    case = {
        "nodeid": "s::a[m]", "suite": "s", "scenario": "a", "model": "m", "outcome": "passed", "message": "",
        "requests": {"total": 1, "ok": 1}, "price": {"input_per_1m": 1, "output_per_1m": 2, "currency": hostile,
        "source": hostile, "date": hostile}, "cost": {"currency": hostile, "total": 1, "per_1k": 1000, "spent": 1},
    }  # fmt: skip
    run = Run.from_dict({"schema": "flperf.results/1", "run": {"id": "r", "started_at": ""}, "cases": [case]})
    page = Pages().run(run, {})
    assert "<script>alert" not in page
    assert "\x1b" not in page
    del tmp_path
