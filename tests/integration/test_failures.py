"""What a person reads of a case that failed, and of one that is not quite what was asked for."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable

import pytest
from fault_doubles import HEAD, RawServer, answer, read_request
from tiny_runs import RecordingServer, Tiny


def short_summary(text: str) -> str:
    """The line of the failed item in pytest's own summary."""
    (line,) = [line for line in text.splitlines() if line.startswith("FAILED ")]
    return line


def test_a_case_that_was_given_up(tiny: Tiny) -> None:
    """The headline says so where every budget is met; what we cut off ourselves is in no error rate."""

    def behave(connection: socket.socket, number: int) -> None:
        read_request(connection)
        if number >= 20:
            time.sleep(0.03)  # all at once they would have failed before anybody could give up
            connection.close()
        else:
            answer(connection)

    tiny.suite({"iterations": 100, "concurrency": 2, "budgets": ["error_rate <= 90%"]})
    with RawServer(behave) as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=m", "-rf")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    case = done.case
    reason = r"one on m: stopped after \d+ of 100 requests: 3 in a row had no complete answer\n"
    assert re.match(reason, case["message"]), case["message"]
    assert "in a row had no complete answer" in done.text
    assert case["requests"]["failed"] == case["requests"]["by_outcome"]["connection_lost"]
    assert case["requests"]["total"] == case["requests"]["ok"] + case["requests"]["failed"]
    assert case["error_rate"] == pytest.approx(case["requests"]["failed"] / case["requests"]["total"])


ONE_TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


def refusing(status: int) -> Callable[[socket.socket], None]:
    """Answers with an error."""

    def fault(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno" % status)
        connection.close()

    return fault


def stalling(connection: socket.socket) -> None:
    """One token, and silence until the client goes."""
    connection.sendall(HEAD + ONE_TOKEN)
    connection.recv(1)
    connection.close()


def truncating(connection: socket.socket) -> None:
    """One token, and a clean end."""
    connection.sendall(HEAD + ONE_TOKEN)
    connection.close()


@pytest.mark.parametrize(
    ("fault", "options", "outcome", "hint"),
    [
        (refusing(401), (), "http_4xx", "--flperf-api-key-env=NAME names"),
        (refusing(429), (), "rate_limited", "a lower concurrency or rate"),
        (refusing(500), (), "http_5xx", "the server's own log says more"),
        (stalling, ("--flperf-timeout=0.3",), "total_timeout", "in the suite or --flperf-timeout"),
        (truncating, (), "truncated", "journal.jsonl holds it as it arrived"),
    ],
    ids=["401", "429", "500", "stall", "truncated"],
)
def test_what_to_do(
    tiny: Tiny, fault: Callable[[socket.socket], None], options: tuple[str, ...], outcome: str, hint: str
) -> None:
    """The line of pytest's summary names what happened, the text says what can be done."""

    def behave(connection: socket.socket, number: int) -> None:
        read_request(connection)
        if number == 1:  # the verifying request is answered; what is measured is not
            answer(connection)
        else:
            fault(connection)

    tiny.suite({"max_tokens": 8, "iterations": 2})
    with RawServer(behave) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=m")
        done = tiny.run("--flperf-suite=tiny.json", *at, *options, "-rf")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert f": all 2 requests failed: {outcome}" in short_summary(done.text)
    assert hint in done.text


def test_another_model_answers(tiny: Tiny) -> None:
    """Said at any verbosity but -q, once for each model."""
    tiny.suite({}, {"name": "two"}, {"name": "three"})

    def behave(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        chunk = {"model": "another", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
        event = b"data: " + json.dumps(chunk).encode()
        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        connection.sendall(head + event + b"\n\ndata: [DONE]\n\n")
        connection.close()

    with RawServer(behave) as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=mine")
    assert done.ret == 0, done.text
    (line,) = [each for each in done.warnings if "echoed" in each]
    assert line.startswith("warning: mine, one: model echoed as 'another' in 1 of 1 answers, asked for 'mine'")
    assert line.endswith("(and 2 more cases like this)")


def test_failed_warm_ups_are_told(tiny: Tiny) -> None:
    """Requests before the measured ones fail without failing the case, and not without a word."""
    tiny.suite({"warmup": 2})
    with RecordingServer(refuse=lambda _headers: "busy", after=1) as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at)
    assert "warning: m, one: 2 of 2 warm-up requests failed" in done.text


def test_hooks(tiny: Tiny) -> None:
    """A conftest is told of each case and of the run; what it raises is a line and no failure."""
    tiny.suite({}, {"name": "two"})
    tiny.pytester.makeconftest(
        """
        import pathlib
        def pytest_flperf_case_measured(config, result):
            print("HEARD OF", result.scenario, result.metric("ttft_ms").n)
            if result.scenario == "two":
                raise RuntimeError("broken hook")
        def pytest_flperf_run_finished(config, run, folder):
            pathlib.Path("heard.txt").write_text(f"{run.status} {len(run.cases)} {(folder / 'results.json').exists()}")
        """
    )
    done = tiny.measure("-s")
    assert done.ret == 0, done.text
    assert "HEARD OF one 1" in done.text
    assert "HEARD OF two 1" in done.text
    assert "flperf: pytest_flperf_case_measured: RuntimeError: broken hook" in done.text
    assert (tiny.folder / "heard.txt").read_text(encoding="utf-8") == "passed 2 True"


def test_a_key_in_extra_stays_out_of_the_files(tiny: Tiny) -> None:
    """``extra`` is shown beside the results, and may hold what looks like a key."""
    key = "sk-abcdefghijklmnop0123456789"
    tiny.suite({"extra": {"custom": {"token": key}}})
    done = tiny.measure()
    assert done.ret == 0, done.text
    for path in done.report.iterdir():
        if path.is_file():
            assert key not in path.read_text(encoding="utf-8"), path.name
