"""Connections that never open, end too soon or speak something else."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

import pytest
from load_doubles import (
    ANSWER,
    HEAD,
    MS,
    RawServer,
    chunk,
    deadlines,
    plan_of,
    read_request,
    request,
    reset,
    samples,
    silent,
    token,
)

from pytest_flperf.loadgen.plan import Destination
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.wire.sample import Outcome, Sample

SHORT = 200 * MS
LATE = 5_000 * MS  # a busy machine: nobody promises to be on time


def took(sample: Sample) -> int:
    """How long the load process was at it."""
    return sample.finished_ns - sample.started_ns


def test_nobody_listens(session: LoadSession) -> None:
    """Refused at once, for every request, with the system's words."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        target = Destination(((int(socket.AF_INET), nobody.getsockname()),))
        decoded = samples(session, plan_of([request()] * 50, target, concurrency=4))
    assert [sample.outcome for sample in decoded] == [Outcome.CONNECT_REFUSED] * 50
    assert decoded[0].evidence is not None
    assert "ECONNREFUSED" in decoded[0].evidence.detail
    assert decoded[0].sent_ns is None


def test_a_connection_that_never_opens(session: LoadSession) -> None:
    """A server that accepts and then says nothing of TLS: the connecting has its own limit."""
    with RawServer(silent, tls_name="localhost") as server:
        plan = plan_of([request()], server.target, limits=deadlines(connect=SHORT))
        (sample,) = samples(session, plan)
    assert sample.outcome is Outcome.CONNECT_TIMEOUT
    assert 0 <= took(sample) - SHORT < LATE
    assert sample.sent_ns is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where Linux is silent")
def test_a_full_backlog(session: LoadSession) -> None:
    """A server that accepts nothing more: no connection within the limit, for each request anew."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        time.sleep(0.05)
        target = Destination(((int(socket.AF_INET), full.getsockname()),))
        decoded = samples(session, plan_of([request()] * 2, target, limits=deadlines(connect=SHORT)))
    for sample in decoded:
        assert (sample.outcome, sample.sent_ns) == (Outcome.CONNECT_TIMEOUT, None)
        assert 0 <= took(sample) - SHORT < LATE
        assert sample.evidence is not None
        assert sample.evidence.detail == "no connection within 0.2 s"


def test_no_tls_where_tls_was_expected(session: LoadSession) -> None:
    """A plain server behind an https URL is said to fail in the handshake."""
    with RawServer(lambda sock, _number: sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), tls_name="localhost") as server:
        (sample,) = samples(session, plan_of([request()], server.target))
    assert sample.outcome is Outcome.CONNECT_REFUSED
    assert sample.evidence is not None
    assert "TLS handshake" in sample.evidence.detail


@pytest.mark.parametrize(
    ("said", "hard", "outcome"),
    [
        pytest.param(b"", False, Outcome.CONNECTION_LOST, id="closed at once"),
        pytest.param(b"", True, Outcome.CONNECTION_LOST, id="reset at once"),
        pytest.param(HEAD[:30], False, Outcome.CONNECTION_LOST, id="closed in the head"),
        pytest.param(HEAD + token("a"), False, Outcome.CONNECTION_LOST, id="closed between chunks"),
        pytest.param(HEAD + token("a"), True, Outcome.CONNECTION_LOST, id="reset between chunks"),
        pytest.param(HEAD + token("a")[:20], False, Outcome.CONNECTION_LOST, id="closed in a chunk"),
        pytest.param(
            HEAD + token("a") + token("", "stop") + chunk(b"data: [DONE]\n\n"),
            False,
            Outcome.OK,
            id="last chunk missing",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", False, Outcome.MALFORMED_STREAM, id="another protocol"),
        pytest.param(b"\x00\x01\x02", False, Outcome.MALFORMED_STREAM, id="binary"),
        pytest.param(b"<html>hello</html>", False, Outcome.MALFORMED_STREAM, id="HTTP 0.9"),
        pytest.param(HEAD + b"zz\r\n", False, Outcome.MALFORMED_STREAM, id="no chunk"),
    ],
)
def test_connections_that_end_too_soon(session: LoadSession, said: bytes, hard: bool, outcome: Outcome) -> None:
    """Closed or reset without a byte, in the head, in the middle; or speaking something else than HTTP."""

    def serve(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(said)
        time.sleep(0.02)
        if hard:
            reset(sock)

    with RawServer(serve) as server:
        decoded = samples(session, plan_of([request()] * 2, server.target))
    assert [sample.outcome for sample in decoded] == [outcome] * 2


@pytest.mark.parametrize("tls_name", [None, "localhost"])
def test_resets_at_any_moment_of_connecting(session: LoadSession, tls_name: str | None) -> None:
    """A server that resets whatever it accepts, over and over: every request has its end, the load process lives."""
    with RawServer(lambda sock, _number: reset(sock), tls_name=tls_name) as server:
        decoded = samples(session, plan_of([request()] * 600, server.target, concurrency=8))
    assert len(decoded) == 600
    assert {sample.outcome for sample in decoded} <= {Outcome.CONNECT_REFUSED, Outcome.CONNECTION_LOST}


def test_a_server_that_closes_without_having_said_so(session: LoadSession) -> None:
    """It hangs up on the second request of each connection: that one goes out on another, and no later one is lost."""

    def serve(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(ANSWER)
        read_request(sock)

    with RawServer(serve) as server:
        decoded = samples(session, plan_of([request()] * 12, server.target, concurrency=2))
        connections = server.connections
    assert [sample.outcome for sample in decoded] == [Outcome.OK] * 12
    assert connections <= 2 + 12
    assert sum(sample.connect_ns is None for sample in decoded) == 0


def test_a_server_that_hangs_up_after_thinking(session: LoadSession) -> None:
    """A request that was worked on is lost, however old its connection was."""

    def serve(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(ANSWER)
        read_request(sock)
        time.sleep(0.15)

    with RawServer(serve) as server:
        decoded = samples(session, plan_of([request()] * 4, server.target))
    assert [sample.outcome for sample in decoded] == [Outcome.OK, Outcome.CONNECTION_LOST] * 2
