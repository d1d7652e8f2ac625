"""Servers that are not there or behave badly, measured by their URL."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_doubles import PytestRun, RawServer, answer, read_request, write_suite

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

GOOD = {"name": "good"}


@pytest.fixture(scope="module")
def reference() -> Iterator[ReferenceServer]:
    """A quick reference server."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=2, itl_ms=1, tokens=5)), in_thread=True) as server:
        yield server


def at(base_url: str, model: str = "reference") -> tuple[str, str]:
    """Options that measure a server."""
    return f"--flperf-base-url={base_url}", f"--flperf-model={model}"


FAULTS = {
    "hang_before_headers": "headers_timeout",
    "hang_before_first_token": "first_token_timeout",
    "stall": "stall_timeout",
    "cut": "connection_lost",
    "truncate": "truncated",
    "garbage": "error_in_stream",
    "error_event": "error_in_stream",
    "empty_stream": "truncated",
    "http_error": "http_5xx",
}


def test_every_fault_fails_its_case_and_no_other(tmp_path: Path, reference: ReferenceServer) -> None:
    """Each outcome is in the results and in the text; the case without a fault passes; the run ends in time."""
    scenarios = [{"name": kind, "iterations": 1, "extra": {"flperf_reference": {"fault": kind}}} for kind in FAULTS]
    deadlines = {f"{stage}_timeout_s": 0.4 for stage in ("headers", "first_token", "stall")}
    # The good case first: the model is seen to answer, and the faults meet measured requests.
    write_suite(tmp_path, GOOD, *scenarios, defaults={**deadlines, "timeout_s": 5})
    with PytestRun(tmp_path, *at(reference.base_url)) as run:
        assert run.end() == 1
        assert "Traceback" not in run.output
        for kind, outcome in FAULTS.items():
            case = run.case(kind)
            words = f"{case['requests']['by_outcome']} {case['message']}"
            assert case["outcome"] in ("failed", "error"), kind
            assert outcome in words, (kind, words)
            assert outcome in run.output
        assert run.case("good")["outcome"] == "passed"


@pytest.mark.parametrize(
    ("preset", "outcome"), [("http-401", "http_4xx"), ("http-404", "http_4xx"), ("http-429", "rate_limited")]
)
def test_a_server_that_refuses_the_verifying_request(
    tmp_path: Path, reference: ReferenceServer, preset: str, outcome: str
) -> None:
    """The cases are errors of set-up that name the outcome."""
    write_suite(tmp_path, GOOD)
    with PytestRun(tmp_path, *at(reference.base_url, f"reference-fault-{preset}")) as run:
        assert run.end() == 1
        assert run.case("good")["outcome"] == "error"
        assert outcome in run.case("good")["message"]
        assert "Traceback" not in run.output


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Connecting is refused: error of set-up, exit 1, within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    write_suite(tmp_path, GOOD, {"name": "second"}, {"name": "third"})
    with PytestRun(tmp_path, *at(f"http://127.0.0.1:{port}/v1")) as run:
        assert run.end() == 1
        assert set(run.outcomes().values()) == {"error"}
        assert "Is the server running, and is the URL right?" in run.output
        assert "not tried again" in run.case("third")["message"]


def test_a_server_that_answers_html(tmp_path: Path) -> None:
    """A page in place of a stream is a malformed stream, with the page's beginning as evidence."""

    def page(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Welcome</html>"
        )
        connection.close()

    write_suite(tmp_path, GOOD)
    with RawServer(page) as server, PytestRun(tmp_path, *at(server.base_url)) as run:
        assert run.end() == 1
        assert "malformed_stream" in run.case("good")["message"]


_TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
_CUT_SHORT = {
    "filtered": (
        _TEXT + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\n',
        "truncated",
    ),
    "flat error": (_TEXT + b'data: {"object":"error","message":"out of KV blocks","code":500}\n\n', "error_in_stream"),
    "too long": (b'data: {"detail":"prompt is too long: 9 tokens > 8 maximum"}\n\n', "context_exceeded"),
    "Ollama's": (b'{"model":"m","created_at":"x","response":"a","done":false}\n' * 2, "malformed_stream"),
}
_SHOWN = {
    "filtered": "content_filter",
    "flat error": "out of KV blocks",
    "too long": "prompt is too long",
    "Ollama's": "Ollama's own API (NDJSON)",
}


@pytest.mark.parametrize("name", _CUT_SHORT)
def test_an_answer_that_is_none_says_so_in_the_servers_words(tmp_path: Path, name: str) -> None:
    """Status 200 and a clean end prove nothing: the outcome and the words are in the results and in the text."""
    body, outcome = _CUT_SHORT[name]

    def behave(connection: socket.socket, _number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body)
        connection.close()

    write_suite(tmp_path, GOOD)
    with RawServer(behave) as server, PytestRun(tmp_path, *at(server.base_url)) as run:
        assert run.end() == 1
        assert outcome in run.case("good")["message"]
        assert _SHOWN[name] in run.case("good")["message"]
        assert _SHOWN[name] in run.output


def test_every_second_request_fails(tmp_path: Path) -> None:
    """The case goes on, fails by its error rate, and shows the evidence."""

    def every_second(connection: socket.socket, number: int) -> None:
        read_request(connection)
        if number % 2:
            answer(connection)
        else:
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 7\r\nConnection: close\r\n\r\nno slot")
            connection.close()

    write_suite(tmp_path, {"name": "half", "iterations": 20})
    with RawServer(every_second) as server, PytestRun(tmp_path, *at(server.base_url)) as run:
        assert run.end() == 1
        case = run.case("half")
        assert case["requests"]["total"] == 20
        assert 0 < case["error_rate"] < 1
        assert "no slot" in case["message"]


def test_loopback_never_goes_through_a_proxy(tmp_path: Path, reference: ReferenceServer) -> None:
    """Dead proxies in the environment change nothing."""
    write_suite(tmp_path, GOOD)
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), "http://127.0.0.1:9")
    with PytestRun(tmp_path, *at(reference.base_url), env=proxies) as run:
        assert run.end() == 0
