"""``Bench`` as a library, without pytest's plugin: what a notebook uses."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.plan_progress import Counter
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench, CaseRun, NotReadyError
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.journal import JournalReader
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.wire.exchange import Phase

KEY = "a-planted-key-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A quick reference server."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=2, itl_ms=1, tokens=5)), in_thread=True) as running:
        yield running


def a_case(model: str = "reference", **settings: object) -> Case:
    """A case of a few requests."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "iterations": 4, "warmup": 1, **settings})
    suite = Suite("library", "library", Path(), "", "", (scenario,), (model,))
    return expand(suite, [model])[0]


def test_a_case_is_measured(server: ReferenceServer) -> None:
    """Verified once, warmed up, measured; nothing was loaded, so there is no cold TTFT."""
    with Bench(OpenAiBackend.at(server.base_url)) as bench:
        first, second = bench.run(a_case()).result, bench.run(a_case()).result
        assert gc.get_freeze_count() > 1_000, "the collector has nothing to do with what was there before"
    assert gc.get_freeze_count() < 1_000
    assert first.requests.ok == second.requests.ok == 4
    assert first.requests.warmup == 1
    assert (first.load_s, first.cold_ttft_ms) == (None, None)
    ttft = first.metric("ttft_ms")
    assert ttft is not None
    assert 2 <= ttft.p50 < 500
    asked = [entry.prompt_head for entry in server.log]
    assert asked.count("Say hello.") == 1
    assert len(set(asked)) == 1 + 1 + 4  # the verifying, the warming and the measured ones, each with a prefix


def test_due_times_come_from_the_seed_the_scenario_and_the_point(server: ReferenceServer, tmp_path: Path) -> None:
    """Neither another model nor a copy of the suite under another name changes when requests are due."""
    settings = {"load": "poisson", "rate": 200, "iterations": 30, "warmup": 0}
    copy = replace(a_case(**settings), suite="copy", suite_ref="elsewhere/copy.json")
    other_point = replace(copy, parameters=(("temperature", 0.5),))
    cases = [a_case(**settings), replace(a_case(**settings), parameters_id="another-model"), copy, other_point]
    with Bench(OpenAiBackend.at(server.base_url), Recorder(RunFolder(tmp_path), Redactor()), seed="same") as bench:
        for number, case in enumerate(cases):
            bench.play(bench.ready(case, nodeid=str(number)))
    due: dict[str, list[int]] = {}
    for record in JournalReader(tmp_path / "samples.jsonl"):
        if record["phase"] == "measured":
            due.setdefault(record["nodeid"], []).append(record["due_ns"])
    plans = [[at - min(times) for at in sorted(times)] for times in due.values()]
    assert [len(plan) for plan in plans] == [30] * 4
    assert plans[0] == plans[1] == plans[2] != plans[3]


def test_the_recorder_reads_back_what_it_did_not_keep(server: ReferenceServer, tmp_path: Path) -> None:
    """Beyond its room in memory, exchanges are decoded from the journal: the same requests, the same numbers."""
    folder = RunFolder(tmp_path)
    with Bench(OpenAiBackend.at(server.base_url), Recorder(folder, Redactor(), in_memory_bytes=3_000)) as bench:
        result = bench.run(a_case(iterations=12)).result
    assert result.requests.ok == 12
    samples = [record for record in JournalReader(tmp_path / "samples.jsonl") if record["phase"] == "measured"]
    assert sorted(record["index"] for record in samples) == list(range(12))


def test_a_key_reaches_no_file(tmp_path: Path) -> None:
    """A server that echoes the key in an answer and in an error: masked in journal, samples and message."""

    def echo(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            request = connection.recv(65_536)
            assert KEY.encode() in request
            body = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
            connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        backend = OpenAiBackend.at(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", KEY)
        with Bench(backend, Recorder(RunFolder(tmp_path), Redactor([KEY]))) as bench:
            with pytest.raises(NotReadyError, match="http_4xx") as caught:
                bench.run(a_case())
            assert KEY not in str(caught.value)
    assert (tmp_path / "journal.jsonl").stat().st_size > 0
    assert all(KEY not in path.read_text(encoding="utf-8") for path in tmp_path.iterdir())


def test_a_key_that_is_split_over_chunks_reaches_no_text(tmp_path: Path) -> None:
    """A server that streams the key back piece by piece: what the pieces make is masked."""

    def echo(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(65_536)
                events = b""
                for field in ("content", "reasoning_content"):
                    for piece in (KEY[:9], KEY[9:]):
                        events += b"data: " + json.dumps({"choices": [{"delta": {field: piece}}]}).encode() + b"\n\n"
                events += b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + events)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        backend = OpenAiBackend.at(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", KEY)
        with Bench(backend, Recorder(RunFolder(tmp_path), Redactor([KEY]))) as bench:
            assert bench.run(a_case()).result.requests.ok == 4
    (sample, *_) = JournalReader(tmp_path / "samples.jsonl")
    assert {*sample["output_text"], *sample["reasoning_text"]} == {"*"}
    assert all(KEY not in path.read_text(encoding="utf-8") for path in tmp_path.iterdir())


def test_an_abandoned_request_is_waited_for() -> None:
    """A server that works on for a second after a timeout: the next case begins when it answers again, and says so."""
    busy_until = [0.0]

    def serve(connection: socket.socket) -> None:
        request = connection.recv(65_536)
        if b"hang" in request:
            busy_until[0] = time.monotonic() + 1.0
            time.sleep(1.5)
        else:
            time.sleep(max(0.0, busy_until[0] - time.monotonic()))
            choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
            event = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\ndata: [DONE]\n\n"
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event)
        connection.close()

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        with Bench(OpenAiBackend.at(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")) as bench:
            hung = bench.run(a_case(prompt="hang", iterations=1, warmup=0, timeout_s=0.2)).result
            after = bench.run(a_case(warmup=0)).result
    assert hung.requests.by_outcome == {"total_timeout": 1}
    assert after.requests.ok == 4
    assert any("lost requests" in note for note in after.notes)
    e2e = after.metric("e2e_ms")
    assert e2e is not None
    assert e2e.max < 500


def test_a_server_that_is_not_there_is_not_asked_for_ever() -> None:
    """After two failures the next case of the model is not tried again."""
    with Bench(OpenAiBackend.at("http://127.0.0.1:9/v1")) as bench:
        for _ in range(2):
            with pytest.raises(NotReadyError, match=r"refused.*Is the server running"):
                bench.run(a_case())
        with pytest.raises(NotReadyError, match="not tried again"):
            bench.run(a_case())


def test_a_case_without_time_left(server: ReferenceServer) -> None:
    """From ``stop_at`` on nothing is sent: what was measured is summed up, and the case says that it was cut short."""
    with Bench(OpenAiBackend.at(server.base_url)) as bench:
        run = bench.play(bench.ready(a_case(iterations=1_000_000)), stop_at=time.monotonic() + 0.5)
        assert run.out_of_time
        assert run.trouble == ""
        assert 1 <= run.result.requests.ok == run.result.requests.total < 1_000_000
        late = bench.play(bench.ready(a_case()), stop_at=time.monotonic())
        assert late.out_of_time
        assert late.result.requests.total == 0
        whole = bench.play(bench.ready(a_case()), stop_at=time.monotonic() + 60)
        assert not whole.out_of_time
        assert whole.result.requests.ok == 4


def test_an_exception_leaves_a_bench_that_works(server: ReferenceServer) -> None:
    """What a timeout raises in the middle of a case ends the load process; the next case has another."""
    partial: list[CaseRun] = []

    def raise_it(count: Counter) -> None:
        assert count.phase is Phase.MEASURED
        raise TimeoutError("enough")

    with Bench(OpenAiBackend.at(server.base_url)) as bench:
        prepared = bench.ready(a_case(iterations=1_000_000))
        with pytest.raises(TimeoutError):
            bench.play(prepared, on_request=raise_it, on_partial=partial.append)
        assert partial[0].result.requests.ok >= 1
        assert bench.run(a_case()).result.requests.ok == 4
