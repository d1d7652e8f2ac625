"""A search for the highest load, from a suite and the command line to what a person sees."""

from __future__ import annotations

import json
import socket
import threading
import time

import jsonschema
import pytest
from fault_doubles import RawServer, answer, read_request
from plugin_compat import enough_s
from tiny_runs import Done, Tiny

from pytest_flperf.measurement import preflight as preparing
from pytest_flperf.results.records import load_schema

WORK_S = 0.02


@pytest.fixture
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the calibration of loads of many streams, which takes seconds: the first test here has it."""
    monkeypatch.setattr(preparing, "_CALIBRATED_FROM", 1_000)


def measured(tiny: Tiny, *options: str, **settings: object) -> Done:
    """Search on a server that answers one request after the other, 20 ms each."""
    turn = threading.Lock()

    def behave(connection: socket.socket, number: int) -> None:
        del number
        read_request(connection)
        with turn:
            time.sleep(WORK_S)
        answer(connection)

    keys = {"load": "search", "search_to": 32, "iterations": 6, "warmup": 0, **settings}
    tiny.suite({key: value for key, value in keys.items() if value is not None})
    with RawServer(behave) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=m")
        return tiny.run("--flperf-suite=tiny.json", *at, *options)


def test_the_highest_concurrency(tiny: Tiny) -> None:
    """The case is that of the highest load that met the budgets; every load that was tried is in the results."""
    done = measured(tiny, "-v", budgets=["ttft_ms.p50 <= 150", "max_concurrency >= 2"])
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    case = done.case
    search = case["search"]
    assert 2 <= search["highest"] <= 8
    assert search["bounded"]
    assert case["load"]["concurrency"] == search["highest"]
    assert case["metrics"]["ttft_ms"]["p50"] <= 150
    missed = [step for step in search["steps"] if not step["met"]]
    assert all(step["load"] > search["highest"] and "ttft_ms.p50 <= 150" in step["missed"] for step in missed)
    assert "one: highest load that meets the budgets:" in done.text
    (tried,) = [line for line in done.lines if line.startswith("  tried ")]
    assert tried.startswith("  tried 1 met, ")
    assert tried.count(" met") + tried.count(" missed ttft_ms.p50 <= 150") == len(search["steps"])
    assert "budget max_concurrency >= 2: met" in done.text
    assert {line["nodeid"] for line in done.journal()} > {f"{case['nodeid']} [concurrency 1]"}
    page = (done.report / "report.html").read_text(encoding="utf-8")
    assert "Loads that were tried" in page


def test_conditions_of_a_budget(tiny: Tiny) -> None:
    """Each has its own highest load; the case's figures are of the one under its own limits."""
    tight, loose = "max_concurrency(ttft_ms.p50<=150) >= 2", "max_concurrency(ttft_ms.p50<=400 and error_rate<=1%) >= 4"
    done = measured(tiny, "-v", budgets=[tight, loose, "ttft_ms.p50 <= 250", "goodput >= 0.1/s"], search_to=16)
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    own, (first, second) = done.case["search"], done.case["searches"]
    assert "conditions" not in own or own["conditions"] == []
    assert (first["conditions"], second["conditions"]) == (
        ["ttft_ms.p50 <= 150"],
        ["ttft_ms.p50 <= 400", "error_rate <= 1%"],
    )
    assert first["highest"] <= own["highest"] <= second["highest"]
    assert done.case["load"]["concurrency"] == own["highest"]
    values = {each["expression"]: each["value"] for each in done.case["budgets"]}
    assert (values[tight], values[loose]) == (first["highest"], second["highest"])
    loads = [line["nodeid"] for line in done.journal()]
    assert max(loads.count(f"{done.case['nodeid']} [concurrency {n}]") for n in (1, 2, 4)) <= 12, "played once"
    assert "highest load that meets ttft_ms.p50 <= 150:" in done.text
    page = (done.report / "report.html").read_text(encoding="utf-8")
    assert "Loads that were tried under ttft_ms.p50 &lt;= 150" in page


def test_a_condition_alone(tiny: Tiny) -> None:
    """The search looks under it, and the case is that of the highest load that met it."""
    done = measured(tiny, budgets=["max_concurrency(ttft_ms.p50<=150) >= 30"])
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["search"]["conditions"] == ["ttft_ms.p50 <= 150"]
    assert done.case["load"]["concurrency"] == done.case["search"]["highest"] < 30
    assert done.case["searches"] == []
    assert "missed max_concurrency(ttft_ms.p50<=150) >= 30 (" in done.text


@pytest.mark.usefixtures("uncalibrated")
def test_too_little_capacity(tiny: Tiny) -> None:
    """A budget on what was found fails the case, by its name."""
    done = measured(tiny, budgets=["ttft_ms.p50 <= 150", "max_concurrency >= 30"])
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "missed max_concurrency >= 30" in done.text


@pytest.mark.usefixtures("uncalibrated")
def test_not_even_the_lowest(tiny: Tiny) -> None:
    """Where the lowest load misses a budget, the case fails with that."""
    done = measured(tiny, budgets=["ttft_ms.p50 <= 0.001"], search_from=2)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["search"]["highest"] is None
    assert len(done.case["search"]["steps"]) == 1
    assert "no load met the budgets, not even 2" in done.text


@pytest.mark.usefixtures("uncalibrated")
def test_the_highest_rate_on_the_command_line(tiny: Tiny) -> None:
    """Poisson arrivals, for a time each."""
    done = measured(
        tiny,
        "--flperf-load=search,search_over=rate,search_from=5,search_to=20,duration_s=0.4",
        "--flperf-budget=error_rate <= 0",
        load=None,
        search_to=None,
    )
    assert done.ret == 0, done.text
    search = done.case["search"]
    assert (search["over"], search["highest"], search["bounded"]) == ("rate", 20, False)
    assert done.case["load"]["shape"] == "poisson"
    assert "20 requests/s (the highest that was tried)" in done.text


@pytest.mark.usefixtures("uncalibrated")
def test_out_of_time(tiny: Tiny) -> None:
    """What was found by then stands, and the case is cut short."""
    limit_s = enough_s(lambda: measured(tiny, budgets=["error_rate <= 0"], duration_s=0.1, iterations=5))
    asked = {"budgets": ["error_rate <= 0"], "duration_s": limit_s / 3, "iterations": 100_000}
    done = measured(tiny, f"--flperf-max-time={limit_s}s", **asked)
    assert done.case["partial"]
    assert done.case["outcome"] == "skipped"
    assert done.case["search"]["steps"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"load": "search"}, "search_to: missing, expected a number from"),
        ({"load": "search", "search_to": 1}, "search_to: found 1 with search_from 1, expected more than that"),
        ({"load": "search", "search_to": 2.5}, "search_to: found 2.5 with search_over: concurrency, expected a whole"),
        ({"load": "search", "search_to": 5_000}, "search_to: found 5000 with search_over: concurrency"),
        ({"search_to": 5}, "search_to: found 5 with load: closed, expected it with load: search"),
        (
            {"load": "search", "search_to": 5, "search_over": "size"},
            "search_over: found 'size', expected 'concurrency'",
        ),
    ],
)
def test_searches_that_are_none(tiny: Tiny, keys: dict[str, object], problem: str) -> None:
    """One message and exit 4."""
    document = {"scenarios": [{"name": "one", "prompt": "a", **keys}]}
    (tiny.folder / "tiny.json").write_text(json.dumps(document), encoding="utf-8")
    assert problem in tiny.refused("--flperf-suite=tiny.json", "--flperf-model=flperf-nano")
