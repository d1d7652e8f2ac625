"""What a result says of who served it: memory of a load, a load again, changed parameters, answers in a row."""

from __future__ import annotations

import csv
import html
import json
import socket
import threading
import time
from typing import Any

import jsonschema
import pytest
from fault_doubles import HEAD, RawServer, read_request
from tiny_runs import Done, RecordingServer, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import load_schema

OUT = ("--flperf-html=page.html", "--flperf-csv=table.csv", "--junitxml=junit.xml")
NANO = ("--flperf-suite=tiny.json", "--flperf-model=flperf-nano")


def page(tiny: Tiny) -> str:
    """The HTML report, with what it escapes."""
    return html.unescape((tiny.folder / "page.html").read_text(encoding="utf-8").replace("<wbr>", ""))


def rows(tiny: Tiny) -> list[dict[str, str]]:
    """The CSV."""
    with (tiny.folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def valid(done: Done) -> Done:
    """By the schema that is shipped."""
    jsonschema.validate(done.results, load_schema())
    return done


def test_memory_of_a_load(tiny: Tiny) -> None:
    """What the runtime had before and after, and the difference, everywhere; cases of one load say the same."""
    tiny.suite({}, {"name": "two"})
    done = valid(tiny.run(*NANO, *OUT))
    assert done.ret == 0, done.text
    first, second = done.cases
    before, after, added = (first[key] for key in ("rss_before_load_mb", "rss_after_load_mb", "model_rss_mb"))
    assert 10 < before < after
    assert added == pytest.approx(after - before)
    assert [second[key] for key in ("rss_before_load_mb", "rss_after_load_mb", "model_rss_mb")] == [
        before,
        after,
        added,
    ]
    assert [float(row["model_rss_mb"]) for row in rows(tiny)] == [added, added]
    assert "MB (the server's processes before its load" in page(tiny)
    assert f'name="model_rss_mb" value="{added:.6g}"' in (tiny.folder / "junit.xml").read_text(encoding="utf-8")


def test_a_budget_on_it(tiny: Tiny) -> None:
    """Judged like any other; a server by its URL has loaded nothing for us, so nobody can say."""
    tiny.suite()
    for budget, ret in (("model_rss_mb <= 100000", 0), ("model_rss_mb <= 0.0001", 1)):
        done = tiny.run(*NANO, f"--flperf-budget={budget}")
        assert done.ret == ret, done.text
        (verdict,) = [each for each in done.case["budgets"] if each["metric"] == "model_rss_mb"]
        assert verdict["value"] == done.case["model_rss_mb"]
    done = tiny.measure("--flperf-budget=model_rss_mb <= 100000")
    assert done.ret == 1
    (verdict,) = [each for each in done.case["budgets"] if each["metric"] == "model_rss_mb"]
    assert (verdict["value"], verdict["met"]) == (None, False)
    assert f"model_rss_mb <= 100000 (not measured: {verdict['reason'][:20]}" in done.text


def test_loaded_again(tiny: Tiny) -> None:
    """A model that was unloaded behind the run's back: the case after it says so, is cold again, and only that one."""
    tiny.suite({}, {"name": "two"}, {"name": "three"})
    tiny.pytester.makeconftest(
        """
        import urllib.request
        def pytest_flperf_case_measured(config, result):
            if result.scenario == "one":
                root = result.target.base_url.removesuffix("/v1")
                with urllib.request.urlopen(f"{root}/models/unload/flperf-nano") as answer:
                    assert answer.status == 200
        """
    )
    done = valid(tiny.run(*NANO, *OUT))
    assert done.ret == 0, done.text
    assert [case["reloaded"] for case in done.cases] == [False, True, False]
    first, second, third = done.cases
    assert first["cold_ttft_ms"] != second["cold_ttft_ms"] == third["cold_ttft_ms"]
    assert ["loaded again" in " ".join(case["notes"]) for case in done.cases] == [False, True, False]
    assert "the runtime had unloaded the model: it was loaded again" in page(tiny)
    phases = [line["phase"] for line in done.journal("samples.jsonl")]
    assert phases == ["cold", "measured", "cold", "measured", "measured"]


def test_what_the_runtime_does_not_take(tiny: Tiny) -> None:
    """A warning under the table, once for the model; results and page name the parameter, JSON holds the reason."""
    tiny.suite({"top_k": 5}, {"name": "two", "top_k": 5}, {"name": "three"})
    done = valid(tiny.run(*NANO, *OUT))
    assert done.ret == 0, done.text
    top_k = {"parameter": "top_k", "asked": "5", "sent": None, "reason": "foundry does not take it"}
    assert [case["adjusted"] for case in done.cases] == [[top_k], [top_k], []]
    assert done.warnings == ["warning: parameters: top_k left out (foundry does not take it) on flperf-nano"]
    assert "flperf: parameters: left out: top_k (foundry does not take it) on flperf-nano" in done.lines
    assert "top_k=5 left out: foundry does not take it" in page(tiny)


BACKEND = """
from pytest_flperf.backends.base import Capabilities
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.backends.registry import BackendType

class Picky(OpenAiBackend):
    name = "picky"

    def capabilities(self, model):
        return Capabilities(
            parameters=frozenset({"temperature", "max_tokens", "stop"}),
            ranges={"temperature": (0.1, 1.0), "max_tokens": (1, 16)},
            usage=False,
        )

def pytest_flperf_backends():
    return [BackendType("picky", Picky, "takes little", takes=frozenset({"base_url"}))]
"""


def test_capabilities_from_a_conftest_to_the_wire(tiny: Tiny) -> None:
    """What a server is known not to take is in no request, what is out of range arrives at its edge; both are said."""
    tiny.suite(
        {
            "temperature": 0,
            "max_tokens": 40,
            "warmup": 1,
            "iterations": 2,
            "stop": ["x"],
            "top_k": 3,
            "extra": {"secret_sauce": {"a": 1}},
        }
    )
    tiny.pytester.makeconftest(BACKEND)
    with RecordingServer() as server:
        done = valid(tiny.run("--flperf-suite=tiny.json", "--flperf-backend=picky", *server.at, "-v"))
    assert done.ret == 0, done.text
    assert done.case["target"]["backend"] == "picky"
    asked = [body for body in server.bodies if body["messages"][0]["content"] != "Say hello."]
    assert len(asked) == 3
    for body in asked:
        assert body.keys() == {"model", "messages", "stream", "temperature", "max_tokens", "stop"}
        assert (body["temperature"], body["stop"]) == (0.1, ["x"])
    for body in server.bodies:
        assert body.keys() <= {"model", "messages", "stream", "temperature", "max_tokens", "stop"}
        assert 0.1 <= body.get("temperature", 0.1) <= 1
    found = {each["parameter"]: (each["asked"], each["sent"]) for each in done.case["adjusted"]}
    assert found == {
        "temperature": ("0.0", "0.1"),
        "max_tokens": ("40", "16"),
        "top_k": ("3", None),
        "secret_sauce": ("{'a': 1}", None),
    }
    (line,) = [each for each in done.warnings if "parameters" in each]
    assert "top_k left out (picky does not take it) on m" in line


def overlapping(tiny: Tiny, base_url: str) -> dict[str, Any]:
    """The only case of a run with four streams."""
    tiny.suite({"iterations": 24, "concurrency": 4, "max_tokens": 8})
    at = (f"--flperf-base-url={base_url}", "--flperf-model=reference")
    done = valid(tiny.run("--flperf-suite=tiny.json", *at, *OUT))
    assert done.ret == 0, done.text
    return done.case


def test_answers_side_by_side(tiny: Tiny) -> None:
    """A server that answers four at a time; of one stream nobody can tell."""
    slow = Schedule(ttft_ms=20, itl_ms=5, tokens=8)
    with ReferenceServer(ReferenceConfig(slow), in_thread=True) as server:
        assert overlapping(tiny, server.base_url)["serialised"] is False
    assert "answered one after the other" not in page(tiny)
    tiny.suite()
    assert tiny.measure().case["serialised"] is None


def test_answers_one_after_the_other(tiny: Tiny) -> None:
    """A server that takes one request at a time is told by the times of its answers."""
    turn = threading.Lock()

    def behave(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        with turn:
            for text in ("a", "b", "c"):
                connection.sendall(HEAD * (text == "a") + event(text))
                time.sleep(0.01)
            connection.sendall(event("", "stop") + b"data: [DONE]\n\n")
        connection.close()

    with RawServer(behave) as server:
        assert overlapping(tiny, server.base_url)["serialised"] is True
    assert "answered one after the other" in page(tiny)


def event(text: str, finish: str | None = None) -> bytes:
    """A chunk of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"
