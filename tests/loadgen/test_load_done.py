"""``[DONE]`` ends an answer, also where its body stays open."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_doubles import HEAD, RawServer, S, chunk, deadlines, plan_of, read_request, request, samples, token

from pytest_flperf.loadgen.after_done import PERHAPS_DONE, AfterDone, may_be_done
from pytest_flperf.loadgen.connection import Connection, Job
from pytest_flperf.loadgen.plan import Destination
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.framing import parse_head
from pytest_flperf.wire.progress import TextProgress
from pytest_flperf.wire.sample import Outcome

FOREVER = 1 << 62
TEXT = token("a") + token("b") + token("", "stop")
DONE = b"data: [DONE]\n\n"
BARE = HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"")
PLAIN = b"".join(part for part in TEXT.split(b"\r\n") if part.startswith(b"data:"))


def leaving_open(*sends: bytes) -> Callable[[socket.socket, int], None]:
    """Sends an answer and then nothing, as long as the client holds the connection."""

    def serve(sock: socket.socket, _number: int) -> None:
        while read_request(sock):
            for send in sends:
                sock.sendall(send)

    return serve


OPEN: dict[str, tuple[bytes, ...]] = {
    "chunked": (HEAD + TEXT + chunk(DONE),),
    "until close": (BARE + PLAIN, DONE),
    "too long a length": (BARE.replace(b"\r\n\r\n", b"\r\nContent-Length: 99999\r\n\r\n") + PLAIN + DONE,),
    "no blank line": (BARE + PLAIN + b"data: [DONE]\n",),
    "no line end at all": (BARE + PLAIN + b"data: [DONE]",),
    "no blank": (BARE + PLAIN + b"data:[DONE]\n\n",),
    "CRLF": (BARE + (PLAIN + DONE).replace(b"\n", b"\r\n"),),
    "split": (BARE + PLAIN + b"data: [DO", b"NE]\n\n"),
    "keep-alives behind it": (HEAD + TEXT + chunk(DONE), chunk(b": ping\n\n")),
    "byte by byte": tuple(bytes([byte]) for byte in BARE + PLAIN + DONE),
}


@pytest.mark.parametrize("name", OPEN)
def test_the_answer_ends_with_done(session: LoadSession, name: str) -> None:
    """It is whole, no deadline has to pass, and the next request has a connection of its own."""
    limits = deadlines(stall=600 * S, total=900 * S)
    with RawServer(leaving_open(*OPEN[name])) as server:
        found = samples(session, plan_of([request()] * 4, server.target, limits=limits))
        assert server.connections >= 4
    for sample in found:
        assert (sample.outcome, sample.output_text, sample.finish_reason) == (Outcome.OK, "ab", "stop")
        assert sample.end_ns is not None
        assert sample.last_token_ns is not None
        assert sample.last_token_ns <= sample.end_ns


def test_text_that_speaks_of_done_is_no_end(session: LoadSession) -> None:
    """The answer goes on behind it, however late."""

    def serve(sock: socket.socket, _number: int) -> None:
        while read_request(sock):
            sock.sendall(HEAD + token("data: [DONE]\n\n") + token("[DONE]"))
            sock.settimeout(0.3)  # longer than the patience for the end of a body
            try:
                sock.recv(1)
            except TimeoutError:
                sock.settimeout(None)
            sock.sendall(token("b") + token("", "stop") + chunk(DONE) + b"0\r\n\r\n")

    with RawServer(serve) as server:
        found = samples(session, plan_of([request()] * 2, server.target))
        assert server.connections == 1
    for sample in found:
        assert (sample.outcome, sample.output_text) == (Outcome.OK, "data: [DONE]\n\n[DONE]b")


def test_a_body_that_ends_keeps_its_connection(session: LoadSession) -> None:
    """Its end comes a moment later: that is waited for."""

    def serve(sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while read_request(sock):
            sock.sendall(HEAD + TEXT + chunk(DONE))
            sock.sendall(b"0\r\n\r\n")

    with RawServer(serve) as server:
        found = samples(session, plan_of([request()] * 20, server.target))
        assert server.connections < 10  # a busy machine may be late once
    assert all(sample.ok for sample in found)


class Decrypted:
    """A TLS socket that has decrypted more than one read takes."""

    def __init__(self, *reads: bytes) -> None:
        self.reads = list(reads)

    def recv(self, _size: int) -> bytes:
        """The next of it."""
        return self.reads.pop(0)

    def pending(self) -> int:
        """What no event will announce."""
        return sum(map(len, self.reads))


def test_what_tls_has_decrypted_is_read_behind_done() -> None:
    """Else the body's end would be missed, and the connection given up."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connection = Connection(0, Destination(((int(socket.AF_INET), ("127.0.0.1", 1)),), "localhost"), tls)
    connection.sock = Decrypted(HEAD + TEXT + chunk(DONE), b"0\r\n\r\n")
    connection.job = Job((0, "measured", 0, True, b"", None), 0, 0, 1 << 20)
    assert connection.read() == (Ending.COMPLETE, "")
    assert connection.job.framing.ended
    connection.sock = Decrypted(HEAD + TEXT + chunk(DONE))
    connection.job = Job((0, "measured", 0, True, b"", None), 0, 0, 1 << 20)
    assert connection.read() is PERHAPS_DONE


def test_done_without_a_reason_is_no_whole_answer(session: LoadSession) -> None:
    """Servers send it after cutting an answer short."""
    with RawServer(leaving_open(HEAD + token("a") + chunk(DONE))) as server:
        (sample,) = samples(session, plan_of([request()], server.target))
    assert sample.outcome is Outcome.TRUNCATED


def test_a_target_that_never_ends_a_body_costs_no_patience() -> None:
    """After two of them; others are not affected."""
    after = AfterDone()
    assert after.look_ns(0, 100) > 100
    after.stayed_open(0)
    assert after.look_ns(0, 100) > 100
    after.stayed_open(0)
    assert after.look_ns(0, 100) == 100
    assert after.look_ns(1, 100) > 100


@given(
    st.binary(max_size=40), st.lists(st.integers(1, 30), min_size=1, max_size=4), st.sampled_from([b"\n\n", b"\n", b""])
)
def test_no_split_hides_it(before: bytes, sizes: list[int], end: bytes) -> None:
    """Some read says that it may have come, and a look at all of them says that it has."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    raw = head + before.replace(b"\r", b"") + b"\n\ndata: [DONE]" + end
    parts: list[bytes] = []
    noticed, at = False, 0
    while at < len(raw):
        for size in sizes:
            if at < len(raw):
                parts.append(raw[at : at + size])
                noticed |= may_be_done(parts[-1], parts)
                at += size
    assert noticed
    known = parse_head(raw)
    assert known is not None
    progress = TextProgress(known)
    assert progress.look(parts, FOREVER)
    assert progress.done
