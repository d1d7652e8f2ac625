"""Bounds of one answer: what is larger ends as ``answer_too_large``, with what was seen before."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from load_doubles import ANSWER, HEAD, RawServer, chunk, plan_of, played, read_request, request, token

from pytest_flperf.loadgen.plan import RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.sample import Outcome, Sample

MIB = 1 << 20
KEPT = 3 * MIB
"""More than what is kept of an answer, with the last read."""
BLOCK = b"x" * 65_536

Send = Callable[[socket.socket], None]


def again_and_again(begin: bytes, block: bytes) -> Send:
    """Sends a beginning, then a block until the client hangs up."""

    def send(sock: socket.socket) -> None:
        sock.sendall(begin)
        while True:
            sock.sendall(block)

    return send


def byte_by_byte(begin: bytes) -> Send:
    """Sends a beginning, then single bytes."""

    def send(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(begin)
        while True:
            sock.send(b"x")

    return send


FIRST = HEAD + token("first")
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"
LARGE: dict[str, Send] = {
    "one token": again_and_again(FIRST + b'%x\r\ndata: {"choices":[{"delta":{"content":"' % (1 << 30), BLOCK),
    "many tokens": again_and_again(FIRST, token("more") * 1_000),
    "one chunk": again_and_again(HEAD + b"%x\r\n" % (1 << 30) + token("first")[4:-2], b": " + BLOCK + b"\n"),
    "a length": again_and_again(LENGTH + b'data: {"choices":[{"delta":{"content":"first"}}]}\n\n', BLOCK),
    "until close": again_and_again(
        b'HTTP/1.0 200 OK\r\n\r\ndata: {"choices":[{"delta":{"content":"first"}}]}\n\n', BLOCK
    ),
    "one line of an event": again_and_again(FIRST + chunk(b"data: "), chunk(BLOCK)),
    "empty lines": again_and_again(FIRST, chunk(b"\n" * 65_536)),
    "chunks of one byte": again_and_again(FIRST, chunk(b"\n") * 10_000),
    "comments": again_and_again(FIRST, chunk(b": still here\n\n") * 1_000),
    "byte by byte": byte_by_byte(FIRST + b"%x\r\n: " % (1 << 30)),
}
LARGE_FRAMES: dict[str, Send] = {
    "a header": again_and_again(b"HTTP/1.1 200 OK\r\nX: ", BLOCK),
    "headers": again_and_again(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000),
    "interim heads": again_and_again(b"", b"HTTP/1.1 103 Hints\r\n\r\n" * 1_000),
    "trailers": again_and_again(ANSWER[:-2], b"X: y\r\n" * 10_000),
}


def only(session: LoadSession, plan: RequestPlan) -> tuple[Exchange, Sample]:
    """The only exchange of a plan, and its sample."""
    exchanges, _ = played(session, plan)
    (exchange,) = exchanges
    return exchange, decode(exchange)


def serving(send: Send) -> Callable[[socket.socket, int], None]:
    """Answers one request of each connection so."""

    def serve(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        with contextlib.suppress(OSError, ssl.SSLError):
            send(sock)

    return serve


@pytest.fixture(params=LARGE)
def large(request: pytest.FixtureRequest) -> Iterator[RawServer]:
    """A server whose answer does not end."""
    with RawServer(serving(LARGE[request.param])) as server:
        yield server


def test_an_answer_beyond_the_bound_ends_with_what_was_seen(session: LoadSession, large: RawServer) -> None:
    """However it grows: an outcome of its own, the first token's time, and the number of bytes that were left out."""
    exchange, sample = only(session, replace(plan_of([request()], large.target), answer_bytes=4 * MIB))
    assert sample.outcome is Outcome.ANSWER_TOO_LARGE
    assert sample.evidence is not None
    assert (sample.evidence.status, sample.evidence.detail) == (200, "the answer is longer than 4 MiB (max_answer_mb)")
    assert sample.first_token_ns is not None
    assert sample.output_text.startswith("first")
    assert not sample.transient
    assert len(exchange.raw) < KEPT
    assert sum(exchange.read_bytes) == len(exchange.raw)
    assert exchange.left_out_bytes > 0


def test_a_small_bound_keeps_all_of_the_answer(session: LoadSession, large: RawServer) -> None:
    """Below what is kept in any case nothing is left out."""
    exchange, sample = only(session, replace(plan_of([request()], large.target), answer_bytes=MIB))
    assert sample.outcome is Outcome.ANSWER_TOO_LARGE
    assert exchange.left_out_bytes == 0


@pytest.mark.parametrize("kind", LARGE_FRAMES)
def test_a_head_or_trailers_without_end(session: LoadSession, kind: str) -> None:
    """They have a bound of their own, whatever an answer may have."""
    with RawServer(serving(LARGE_FRAMES[kind])) as server:
        exchange, sample = only(session, plan_of([request()], server.target))
    assert sample.outcome is Outcome.ANSWER_TOO_LARGE
    assert sample.evidence is not None
    assert "in 65536 bytes" in sample.evidence.detail
    assert len(exchange.raw) < MIB


def test_an_answer_within_the_bound_is_ok(session: LoadSession) -> None:
    """The bound is of bytes and not of tokens; one more is too much, and other requests don't feel it."""
    size = len(ANSWER)
    with RawServer(
        lambda sock, number: [sock.sendall(ANSWER) for _ in iter(lambda: read_request(sock), b"")]
    ) as server:
        plan = plan_of([request()] * 3, server.target)
        outcomes = [
            [decode(exchange).outcome for exchange in played(session, replace(plan, answer_bytes=bound))[0]]
            for bound in (max(size, 256), max(size, 256) - 1)
        ]
    assert outcomes == [[Outcome.OK] * 3, [Outcome.ANSWER_TOO_LARGE] * 3]
