"""Every way in which a request ends, and its one word."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from wire_doubles import CHUNKED, DONE, STOP, chunk, chunked, event, exchange, sized, text, until_close

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange
from pytest_flperf.wire.sample import Outcome


def lost(sends: list[bytes], detail: str = "") -> Exchange:
    """An exchange whose connection was lost."""
    return exchange(sends, ending=Ending.CONNECTION_LOST, detail=detail)


def http(status: int, body: Any) -> Exchange:
    """An error answer."""
    return exchange(sized(body if isinstance(body, bytes) else json.dumps(body).encode(), status=status))


OUTCOMES: dict[str, tuple[Callable[[], Exchange], Outcome, str]] = {
    "ok": (lambda: exchange(chunked(text("a"), STOP, DONE)), Outcome.OK, ""),
    "cut after finish and [DONE]": (lambda: lost(chunked(text("a"), STOP, DONE)[:-1]), Outcome.OK, ""),
    "finish without text": (lambda: exchange(chunked(STOP, DONE)), Outcome.LENGTH_ZERO, "without any text"),
    "refused": (lambda: exchange([], ending=Ending.CONNECT_REFUSED, detail="x"), Outcome.CONNECT_REFUSED, "x"),
    "connect timeout": (lambda: exchange([], ending=Ending.CONNECT_TIMEOUT), Outcome.CONNECT_TIMEOUT, ""),
    "headers timeout": (lambda: exchange([], ending=Ending.HEADERS_TIMEOUT), Outcome.HEADERS_TIMEOUT, ""),
    "first token": (lambda: exchange([CHUNKED], ending=Ending.FIRST_TOKEN_TIMEOUT), Outcome.FIRST_TOKEN_TIMEOUT, ""),
    "stall": (lambda: exchange(chunked(text("a"))[:2], ending=Ending.STALL_TIMEOUT), Outcome.STALL_TIMEOUT, ""),
    "total": (lambda: exchange(chunked(text("a"))[:2], ending=Ending.TOTAL_TIMEOUT), Outcome.TOTAL_TIMEOUT, ""),
    "cancelled": (lambda: exchange([], ending=Ending.CANCELLED), Outcome.CANCELLED, ""),
    "401": (lambda: http(401, {"error": {"message": "bad key"}}), Outcome.HTTP_4XX, "bad key"),
    "400 text": (lambda: http(400, {"error": "bad JSON"}), Outcome.HTTP_4XX, "bad JSON"),
    "404 path": (lambda: http(404, {"detail": "Not Found"}), Outcome.HTTP_4XX, "Not Found"),
    "422 detail": (lambda: http(422, {"detail": [{"loc": ["top_k"]}]}), Outcome.HTTP_4XX, "top_k"),
    "413": (lambda: http(413, b""), Outcome.HTTP_4XX, "HTTP 413"),
    "500 plain": (lambda: http(500, b"oops"), Outcome.HTTP_5XX, "oops"),
    "502 html": (lambda: http(502, b"<html>Bad Gateway</html>"), Outcome.HTTP_5XX, "Bad Gateway"),
    "503 loading": (
        lambda: http(503, {"error": {"message": "Loading model", "code": 503}}),
        Outcome.HTTP_5XX,
        "Loading",
    ),
    "error cut short": (lambda: lost([*sized(b"oops!", status=500)[:1], b"oo"]), Outcome.HTTP_5XX, "oo"),
    "429": (lambda: http(429, b"slow down"), Outcome.RATE_LIMITED, "slow down"),
    "redirect": (
        lambda: exchange([b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"]),
        Outcome.MALFORMED_STREAM,
        "302",
    ),
    "204": (lambda: exchange([b"HTTP/1.1 204 No Content\r\n\r\n"]), Outcome.MALFORMED_STREAM, "204"),
    "304": (lambda: exchange([b"HTTP/1.1 304 Not Modified\r\n\r\n"]), Outcome.MALFORMED_STREAM, "304"),
    "switching protocols": (lambda: exchange([b"HTTP/1.1 101 X\r\n\r\n"]), Outcome.MALFORMED_STREAM, "101"),
    "context llama.cpp": (
        lambda: http(
            400,
            {
                "error": {
                    "type": "exceed_context_size_error",
                    "message": "the request exceeds the available context size",
                }
            },
        ),
        Outcome.CONTEXT_EXCEEDED,
        "context size",
    ),
    "context other": (
        lambda: http(400, {"error": {"message": "This request exceeds the model's maximum context length"}}),
        Outcome.CONTEXT_EXCEEDED,
        "maximum context",
    ),
    "context in the stream": (
        lambda: exchange(chunked(b'data: {"error": {"message": "context_length_exceeded"}}\n\n')),
        Outcome.CONTEXT_EXCEEDED,
        "context_length",
    ),
    "model 404": (
        lambda: http(404, {"error": {"message": "The model `x` does not exist"}}),
        Outcome.MODEL_NOT_FOUND,
        "x",
    ),
    "model with a dot": (
        lambda: http(404, {"error": {"message": "model 'qwen2.5-0.5b' not found, try pulling it first"}}),
        Outcome.MODEL_NOT_FOUND,
        "pulling",
    ),
    "model doesn't": (lambda: http(400, {"error": "model x doesn't exist"}), Outcome.MODEL_NOT_FOUND, "exist"),
    "model 500": (lambda: http(500, {"error": {"code": "model_not_found"}}), Outcome.MODEL_NOT_FOUND, "model_not"),
    "not about a model": (
        lambda: http(404, {"error": "The model is fine. This path was not found"}),
        Outcome.HTTP_4XX,
        "path",
    ),
    "empty 200": (lambda: exchange(sized(b"")), Outcome.TRUNCATED, "empty body"),
    "empty chunked 200": (lambda: exchange(chunked()), Outcome.TRUNCATED, "empty body"),
    "[DONE] after a cut answer": (
        lambda: exchange(chunked(text("a"), DONE)),
        Outcome.TRUNCATED,
        "no finish_reason before [DONE]",
    ),
    "Successful in place of a finish_reason": (
        lambda: exchange(chunked(text("a", Successful=True), DONE)),
        Outcome.OK,
        "",
    ),
    "Successful, and then the connection was lost": (
        lambda: lost(chunked(text("a", Successful=True))[:-1]),
        Outcome.CONNECTION_LOST,
        "",
    ),
    "Successful, and then not": (
        lambda: exchange(chunked(text("a", Successful=True), text("b", Successful=False), DONE)),
        Outcome.TRUNCATED,
        "no finish_reason",
    ),
    "Successful, and then stray text": (
        lambda: exchange(chunked(text("a", Successful=True), b"proxy error: gone\n")),
        Outcome.ERROR_IN_STREAM,
        "proxy error",
    ),
    "clean end of a cut answer": (lambda: exchange(until_close(text("a"))), Outcome.TRUNCATED, "clean end"),
    "JSON document without finish": (
        lambda: exchange(sized(b'{"choices":[{"message":{"content":"a"}}]}'), stream=False),
        Outcome.TRUNCATED,
        "finish",
    ),
    "error event": (
        lambda: exchange(chunked(text("a"), b'data: {"error": {"message": "boom", "code": 500}}\n\n')),
        Outcome.ERROR_IN_STREAM,
        "boom",
    ),
    "error text in the middle": (
        lambda: exchange(chunked(text("a"), b"proxy error: Failed to read connection\n")),
        Outcome.ERROR_IN_STREAM,
        "proxy error: Failed",
    ),
    "error as finish_reason": (
        lambda: exchange(chunked(text("a"), event({}, finish="error"))),
        Outcome.TRUNCATED,
        "finish_reason 'error'",
    ),
    "error document": (lambda: exchange(sized(b'{"error": "no"}'), stream=False), Outcome.ERROR_IN_STREAM, "no"),
    "garbage event": (
        lambda: exchange(chunked(text("a"), b"data: {not json\n\n")),
        Outcome.MALFORMED_STREAM,
        "not JSON",
    ),
    "stray text": (lambda: exchange(chunked(b"hello there\n\n")), Outcome.MALFORMED_STREAM, "hello there"),
    "html 200": (
        lambda: exchange(sized(b"<html><body>Welcome</body></html>", kind="text/html")),
        Outcome.MALFORMED_STREAM,
        "Welcome",
    ),
    "html 200, not streaming": (
        lambda: exchange(sized(b"<html>Welcome</html>"), stream=False),
        Outcome.MALFORMED_STREAM,
        "an HTML page",
    ),
    "other JSON": (lambda: exchange(sized(b'{"status": "ok"}')), Outcome.MALFORMED_STREAM, "without any choice"),
    "gzip although identity": (
        lambda: exchange([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"\x1f\x8b\x08\x00"]),
        Outcome.MALFORMED_STREAM,
        "gzip",
    ),
    "too large": (
        lambda: exchange(chunked(text("a")), ending=Ending.ANSWER_TOO_LARGE, detail="longer than 1 MiB"),
        Outcome.ANSWER_TOO_LARGE,
        "longer than 1 MiB",
    ),
    "cut by the journal": (
        lambda: exchange(chunked(text("a"), STOP, DONE)).cut(100, "the line holds the first 100 bytes"),
        Outcome.ANSWER_TOO_LARGE,
        "first 100 bytes",
    ),
    "no descriptor": (
        lambda: exchange([], ending=Ending.CLIENT_LIMIT, detail="Too many open files (EMFILE)"),
        Outcome.CLIENT_LIMIT,
        "EMFILE",
    ),
    "no HTTP": (
        lambda: exchange([b"hello"], ending=Ending.MALFORMED, detail="not an HTTP/1.x answer"),
        Outcome.MALFORMED_STREAM,
        "not an HTTP",
    ),
    "bad chunk": (
        lambda: exchange([CHUNKED, b"xyz\r\n"], ending=Ending.MALFORMED, detail="d"),
        Outcome.MALFORMED_STREAM,
        "hex",
    ),
    "bad length": (
        lambda: exchange([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], ending=Ending.MALFORMED),
        Outcome.MALFORMED_STREAM,
        "not a length",
    ),
    "closed without a byte": (lambda: lost([], "closed"), Outcome.CONNECTION_LOST, "closed"),
    "closed in the head": (lambda: lost([b"HTTP/1.1 200 OK\r\nConte"]), Outcome.CONNECTION_LOST, "without an answer"),
    "chunked broken off": (
        lambda: lost([CHUNKED, chunk(text("a")), chunk(text("b"))[:12]]),
        Outcome.CONNECTION_LOST,
        "middle",
    ),
    "Content-Length short": (lambda: lost(sized(text("a"), STOP)[:2]), Outcome.CONNECTION_LOST, "middle"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_ending_has_its_one_outcome(name: str) -> None:
    """Every way to fail becomes its word of the list, with evidence that says why."""
    make, outcome, words = OUTCOMES[name]
    sample = decode(make())
    assert sample.outcome is outcome
    if outcome is Outcome.OK:
        assert sample.evidence is None
    else:
        assert sample.evidence is not None
        assert words in sample.evidence.detail


def test_every_outcome_of_the_list_is_reached() -> None:
    """The table above leaves no word of the list out."""
    assert {outcome for _, outcome, _ in OUTCOMES.values()} == set(Outcome)


@pytest.mark.parametrize(
    ("name", "transient"),
    [("502 html", True), ("500 plain", False), ("429", True), ("401", False), ("stall", True), ("refused", True)],
)
def test_transient_is_what_trying_again_could_help(name: str, *, transient: bool) -> None:
    """502, 503, 504, 429, timeouts and lost connections are transient; the rest is not."""
    assert decode(OUTCOMES[name][0]()).transient is transient


def test_what_looks_like_a_key_is_removed_from_the_evidence() -> None:
    """Servers quote the key that they refuse: neither the detail nor the body's head shows it."""
    sample = decode(http(401, {"error": {"message": "Incorrect API key provided: sk-abcdefgh12345678ZZ"}}))
    assert sample.evidence is not None
    assert "sk-abcdefgh" not in sample.evidence.detail + sample.evidence.body_head
    assert "Incorrect API key" in sample.evidence.detail


def test_evidence_is_at_most_two_kilobytes() -> None:
    """A page of a megabyte leaves its first 2 kB."""
    sample = decode(http(500, b"<p>" + b"x" * 1_000_000))
    assert sample.evidence is not None
    assert len(sample.evidence.body_head) <= 2_048
