"""A recovered case says of the same requests what the case itself says that was ended there, field by field."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_doubles import RawServer, answer, read_request
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.gates.budgets import parse_budgets
from pytest_flperf.gates.paired_results import REFERENCE_TERMS, PairTerms, with_other_side
from pytest_flperf.gates.rules import parse_rules
from pytest_flperf.measurement.paired import Until
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench, CaseRun
from pytest_flperf.results.journal import Journal
from pytest_flperf.results.reader import run_of
from pytest_flperf.results.records import CaseResult, Measured
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.session.playing import played
from pytest_flperf.session.recovery import recover
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.telemetry.sampler import Sampler

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

BUDGETS = ["error_rate <= 50%", "ttft_ms.p95 <= 60000", "goodput >= 0"]
CLOSED = {"iterations": 24, "concurrency": 2, "warmup": 2}
TEMPLATE = {"prompt": None, "template": "Say {{ word }}", "variables": {"word": ["one", "two", "three"]}}
SHAPES: dict[str, dict[str, Any]] = {
    "closed": CLOSED,
    "two load processes": {**CLOSED, "concurrency": 3, "processes": 2},
    "by time": {**CLOSED, "iterations": None, "duration_s": 30, "ramp_up_s": 0.001},
    "open": {"load": "poisson", "rate": 40, "duration_s": 5, "ramp_up_s": 0.2, "cool_down_s": 0.2, "iterations": None},
    "session": {"load": "session", "turns": ["a", "b", "c"], "prompt": None, "iterations": 24, "concurrency": 2},
    "session with retries": {
        "load": "session",
        "turns": ["a", "b", "c"],
        "prompt": None,
        "iterations": 24,
        "retries": 1,
        "retry_backoff_s": 0.01,
    },
    "retries": {**CLOSED, "retries": 2, "retry_backoff_s": 0.01},
    "expectation": {**CLOSED, **TEMPLATE, "expect": {"contains": "Hel"}, "temperature": 0},
    "failures as infinite": {**CLOSED, "failures": "as_inf"},
    "not streamed": {**CLOSED, "stream": False},
    "search for streams": {"load": "search", "search_to": 4, "iterations": 8, "warmup": 1},
    "search for a rate": {
        "load": "search",
        "search_over": "rate",
        "search_from": 10,
        "search_to": 40,
        "iterations": 8,
        "budgets": [*BUDGETS, "max_rate >= 1", "max_rate(ttft_ms.p50 <= 50000) >= 1"],
    },
    "against": {**CLOSED, "against": (4, 8, 40)},
    "against with an expectation": {**CLOSED, **TEMPLATE, "expect": {"contains": "lo"}, "against": (4, 8, 40)},
    "reference": {**CLOSED, "against": (12,), "concurrency": 1},
}
LONG_EXPECTATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "equals": ("word " * 300, {"equals": "word " * 300}),
    "contains": (" ".join(f"w{n}" for n in range(100, 150)), {"contains": [f"w{n}" for n in range(150)]}),
    "regex": ("b", {"regex": "a" * 1_500 + "|b"}),
    "json_schema": ('{"p120": 1}', {"json_schema": {"properties": {f"p{n}": {"type": "string"} for n in range(150)}}}),
}
OWN_KEYS = ("against", "processes", "words")
DECIDED_LATER = {"outcome": "error", "budgets": (), "partial": True}


class Server:
    """Answers; every fifth connection is refused for now; at one of them the process that measures is interrupted."""

    def __init__(self, *, interrupt_at: int | None, words: Sequence[str] = ("Hel", "lo")) -> None:
        self.words = words
        self.struck = threading.Event()
        self._interrupt_at = interrupt_at

    def behave(self, connection: socket.socket, number: int) -> None:
        """Serve a connection."""
        asked = read_request(connection)
        if number == self._interrupt_at:
            self.struck.set()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
        if number > 1 and number % 5 == 0:
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy")
            connection.close()
        elif b'"stream":false' in asked.replace(b" ", b""):
            body = b'{"id":"x","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}]}'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
            connection.sendall(head + b"%d\r\n\r\n%b" % (len(body), body))
            connection.close()
        else:
            answer(connection, self.words if len(self.words) == 1 else (*self.words, f" {number % 2}"))


def a_case(shape: dict[str, Any]) -> Case:
    """A case of that shape."""
    keys = {"name": "one", "prompt": "Hello", "budgets": BUDGETS}
    keys |= {key: value for key, value in shape.items() if key not in OWN_KEYS}
    scenario = scenario_of({key: value for key, value in keys.items() if value is not None})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("m",)), ["m"])[0]


def until_of(shape: dict[str, Any]) -> Until | None:
    """How the turns of a case go, where it has another side."""
    if "against" not in shape:
        return None
    terms: Any = REFERENCE_TERMS
    if len(shape["against"]) > 1:
        rules = parse_rules(["ttft_ms.p50 > +10%", "error_rate > +10%", "quality.mean < -10%"], "somewhere")
        terms = PairTerms("same", rules, 3, fail_undecided=True).to_record()
    return Until(shape["against"], lambda _: False, terms=terms)


def run(folder: Path, shape: dict[str, Any], interrupt_at: int | None) -> CaseResult:
    """Measure; what the case says itself where it was ended."""
    partial: list[CaseRun] = []
    case, until = a_case(shape), until_of(shape)
    server = Server(interrupt_at=interrupt_at, words=shape.get("words", ("Hel", "lo")))
    with RawServer(server.behave) as raw:
        recorder = Recorder(RunFolder(folder), Redactor())
        sampler = Sampler(Journal(folder / "resources.jsonl"))
        backend = OpenAiBackend.at(raw.base_url)
        with Bench(backend, recorder, "seed", sampler, shape.get("processes", 1)) as bench:
            prepared = bench.ready(case, beside=case if until is not None else None)
            budgets = parse_budgets(case.scenario.budgets)
            try:
                done = played(bench, prepared, budgets, None, on_partial=partial.append, until=until)
                if server.struck.is_set():
                    time.sleep(2)  # the interrupt comes after the last request
            except KeyboardInterrupt:
                done = partial[0] if partial else done
    if done.other is not None:
        assert until is not None
        return with_other_side(done.result, done.other, until.terms)
    return done.result


def without_verdict(case: Measured) -> dict[str, Any]:
    """All that is measured."""
    return replace(CaseResult.of(case), message="", **DECIDED_LATER).to_dict()  # type: ignore[arg-type]


def differences(recovered: CaseResult, said: CaseResult) -> dict[str, tuple[Any, Any]]:
    """The fields in which two results differ."""
    ours, theirs = without_verdict(recovered), without_verdict(said)
    return {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}


@pytest.mark.parametrize("name", SHAPES)
def test_whole_cases(tmp_path: Path, name: str) -> None:
    """Killed after its last request, before it was judged: every field but the verdict is as the case said it."""
    said = run(tmp_path, SHAPES[name] | ({"duration_s": 1} if name == "by time" else {}), None)
    (case,) = recover(tmp_path).cases
    assert said.requests.total > 0
    assert differences(case, said) == {}
    assert case.message.startswith(f"INTERRUPTED after {said.sent_words}")


@pytest.mark.parametrize("kind", LONG_EXPECTATIONS)
@pytest.mark.parametrize("against", [{}, {"against": (4, 8, 40)}], ids=["alone", "against"])
def test_expectations_that_results_cut(tmp_path: Path, kind: str, against: dict[str, Any]) -> None:
    """Answers are scored by the whole expectation, as the run did, on both sides."""
    text, expect = LONG_EXPECTATIONS[kind]
    said = run(tmp_path, {**CLOSED, **against, "expect": expect, "words": (text,)}, None)
    (case,) = recover(tmp_path).cases
    assert said.metrics["quality"].n > 0
    assert differences(case, said) == {}


def test_an_expectation_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept, so nothing is scored by what is left of it."""
    redactor = Redactor(["a-secret-of-mine"])
    monkeypatch.setattr(sys.modules[__name__], "Redactor", lambda: redactor)
    run(tmp_path, {**CLOSED, "expect": {"contains": "a-secret-of-mine"}}, None)
    (case,) = recover(tmp_path).cases
    assert "quality" not in case.metrics
    ((reason, count),) = case.not_scored.items()
    assert (reason, count) == (
        "the expected answer held something that looks like a key, which is not stored",
        case.requests.ok,
    )
    assert "a-secret-of-mine" not in (tmp_path / "run.jsonl").read_text()


@pytest.mark.parametrize("name", SHAPES)
def test_cases_that_are_under_way(tmp_path: Path, name: str) -> None:
    """Ended at a request of its own: what a case says of the requests that had ended is what a recovery says."""
    case = check_under_way(tmp_path, name, 19)
    assert case.requests.total > 0
    assert case.goodput is not None
    assert case.resources or name == "by time", "of whose steady window there may be no reading yet"
    assert bool(case.against) is (name.startswith("against"))
    assert (case.search is not None) is (name.startswith("search"))


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.integers(2, 70))
def test_at_any_request(name: str, interrupt_at: int) -> None:
    """Also in the warm-up, in the first request, and where a case has ended before."""
    with tempfile.TemporaryDirectory() as folder:
        check_under_way(Path(folder), name, interrupt_at)


def check_under_way(folder: Path, name: str, interrupt_at: int) -> CaseResult:
    """End a case at a request, recover it, and compare; the recovered case."""
    said = run(folder, SHAPES[name], interrupt_at)
    (case,) = recover(folder).cases
    # how busy the load process was, only the load process knew
    clock = replace(said.clock, loop_ms=case.clock.loop_ms, loop_histogram=case.clock.loop_histogram)
    assert differences(case, replace(said, clock=clock)) == {}
    assert case.message == f"INTERRUPTED after {said.sent_words}"
    return case


@pytest.fixture(scope="module", params=["search for streams", "against", "expectation"])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a killed run left."""
    folder = tmp_path_factory.mktemp("left")
    run(folder, SHAPES[request.param], 19)
    return folder


NASTY = (None, True, "x", -5, 0, 10**300, 10**400, 1.5, float("nan"), [], {}, [1], {"a": 1}, {"a": [1, 2]}, "\ud800")


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_damaged_logs(left: Path, data: st.DataObject) -> None:
    """Whatever stands in a field of any line, recovering raises nothing, and what comes back can be read again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        shutil.copytree(left, folder)
        log = folder / data.draw(st.sampled_from(["run.jsonl", "journal.jsonl", "resources.jsonl"]))
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found: Any = lines[data.draw(st.integers(0, len(lines) - 1))]
        while True:
            key = data.draw(st.sampled_from(sorted(found) if isinstance(found, dict) else range(len(found))))
            if not (isinstance(found[key], dict | list) and found[key] and data.draw(st.booleans())):
                break
            found = found[key]
        found[key] = data.draw(st.sampled_from(NASTY))
        log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        recovered = recover(folder)
        assert run_of(json.dumps(recovered.to_dict()), "here").status == "interrupted"
