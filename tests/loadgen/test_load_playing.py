"""Plans played by a real load process against servers that answer."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from load_doubles import (
    ANSWER,
    HEAD,
    MS,
    RawServer,
    answering,
    plan_of,
    played,
    read_request,
    reference_request,
    request,
    samples,
    target_of,
    token,
)

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import LogEntry, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.sample import Outcome, Sample

LINUX = sys.platform == "linux"
kernel_stamps = pytest.mark.skipif(not LINUX, reason="the kernel stamps arrivals on Linux only")


@pytest.fixture
def fresh(reference: ReferenceServer) -> ReferenceServer:
    """The reference server with an empty log."""
    reference.clear_log()
    return reference


def by_id(samples: list[Sample], raws: list[bytes], log: tuple[LogEntry, ...]) -> Iterator[tuple[Sample, LogEntry]]:
    """Each sample with the server's log of it, joined by the id that the server echoed."""
    entries = {entry.id: entry for entry in log}
    for sample, raw in zip(samples, raws, strict=True):
        start = raw.index(b'"id":"') + 6
        yield sample, entries[raw[start : raw.index(b'"', start)].decode()]


@kernel_stamps
def test_stamps_are_the_kernels_and_true(session: LoadSession, fresh: ReferenceServer) -> None:
    """On plain TCP the arrival of each token is within a moment of the server's own log, read late or not."""
    exchanges, stats = played(session, plan_of([request()] * 6, target_of(fresh), concurrency=2))
    decoded = [decode(exchange) for exchange in exchanges]
    assert {sample.outcome for sample in decoded} == {Outcome.OK}
    assert stats.finished == 6
    assert stats.reads == sum(len(exchange.read_bytes) for exchange in exchanges)
    assert 0 < stats.cpu_ns < stats.finished_ns - stats.started_ns
    errors = []
    assert all(len(exchange.read_lag_ns) == len(exchange.read_bytes) > 0 for exchange in exchanges)
    for sample, entry in by_id(decoded, [exchange.raw for exchange in exchanges], fresh.log):
        assert (sample.clock_source, sample.clock_step, len(sample.chunk_ns)) == ("kernel", False, 8)
        errors += [came - sent for came, sent in zip(sample.chunk_ns, entry.text_ns, strict=True)]
    # A process may lose the processor between stamping and sending, so the quicker quarter is what must be right.
    errors.sort()
    assert errors[0] > -0.05 * MS
    assert errors[len(errors) // 4] < 0.5 * MS


def test_connections_are_opened_before_and_used_again(session: LoadSession, fresh: ReferenceServer) -> None:
    """Eight streams open eight connections, before the first request; each request after the first uses an open one."""
    decoded = samples(session, plan_of([request()] * 24, target_of(fresh), concurrency=8))
    assert {sample.outcome for sample in decoded} == {Outcome.OK}
    assert len({entry.connection for entry in fresh.log}) == 8
    assert sum(sample.connect_ns is None for sample in decoded) >= 16
    assert {sample.slot for sample in decoded} == set(range(8))


def test_sixty_four_streams_at_once(session: LoadSession, fresh: ReferenceServer) -> None:
    """64 streams stream at the same time, and all their answers come whole."""
    decoded = samples(session, plan_of([request()] * 192, target_of(fresh), concurrency=64))
    assert {(sample.outcome, sample.output_tokens) for sample in decoded} == {(Outcome.OK, 8)}
    moments = [(sample.started_ns, 1) for sample in decoded] + [(sample.end_ns or 0, -1) for sample in decoded]
    open_now = most = 0
    for _, change in sorted(moments):
        open_now += change
        most = max(most, open_now)
    assert most == 64


def test_fewer_streams_close_the_connections_of_more(session: LoadSession, fresh: ReferenceServer) -> None:
    """A case with two streams doesn't keep the server busy with the connections of the case before."""
    samples(session, plan_of([request()] * 6, target_of(fresh), concurrency=6))
    decoded = samples(session, plan_of([request()] * 4, target_of(fresh), concurrency=2))
    assert all(sample.connect_ns is None for sample in decoded)
    assert len({entry.connection for entry in fresh.log[6:]}) == 2


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_every_framing_of_a_stream(session: LoadSession, fresh: ReferenceServer, framing: str) -> None:
    """Chunked, with a length, ended by close: the answer is whole, and a closed connection is replaced."""
    wish = reference_request(schedule={"framing": framing})
    decoded = samples(session, plan_of([wish] * 3, target_of(fresh)))
    assert {sample.outcome for sample in decoded} == {Outcome.OK}
    assert all(sample.end_ns is not None for sample in decoded)
    if framing == "close":
        assert len({entry.connection for entry in fresh.log}) == 3
        assert all(sample.connect_ns is not None for sample in decoded[1:])


def test_answers_that_do_not_stream(session: LoadSession, fresh: ReferenceServer) -> None:
    """Asked for in one piece: text, tokens and the end, but no times of tokens."""
    wish = reference_request(stream=False)
    decoded = samples(session, plan_of([wish] * 2, target_of(fresh), stream=False))
    for sample in decoded:
        assert (sample.outcome, sample.stream, sample.first_token_ns) == (Outcome.OK, False, None)
        assert sample.output_tokens == 8
        assert sample.end_ns is not None
        assert sample.end_ns - sample.started_ns > 20 * MS


def test_ipv6_and_the_next_address(session: LoadSession) -> None:
    """IPv6 works, and where one address refuses, the next one is tried."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = RawServer(answering(ANSWER), socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refusing = (int(socket.AF_INET), nobody.getsockname())
        impossible = (12_345, ("127.0.0.1", 1))
        both = Destination((impossible, refusing, *server.target.addresses))
        for target in (server.target, both):
            assert [sample.outcome for sample in samples(session, plan_of([request()] * 2, target))] == [Outcome.OK] * 2


def test_two_targets_in_turn(session: LoadSession) -> None:
    """Entries name their target; each has its own connections, all opened before."""
    with RawServer(answering(ANSWER)) as one, RawServer(answering(ANSWER)) as other:
        decoded = samples(session, plan_of([request()] * 12, one.target, other.target, concurrency=2))
        assert [(sample.outcome, sample.target) for sample in decoded] == [(Outcome.OK, n % 2) for n in range(12)]
        assert (one.connections, other.connections) == (2, 2)


def test_tls(certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS the stamps are our own, the lag can't be known, connections are used again, and names are checked."""
    cert, key = certificate
    schedule = Schedule(ttft_ms=20.0, itl_ms=2.0, tokens=8)
    with ReferenceServer(ReferenceConfig(schedule=schedule, cert_file=cert, key_file=key)) as server:
        with LoadSession() as untrusting:
            decoded = samples(untrusting, plan_of([request()], target_of(server)))
            assert decoded[0].outcome is Outcome.CONNECT_REFUSED
            assert decoded[0].evidence is not None
            assert decoded[0].evidence.detail.startswith("TLS handshake: ")
        monkeypatch.setenv("SSL_CERT_FILE", cert)
        server.clear_log()
        with LoadSession() as session:
            decoded = samples(session, plan_of([request()] * 32, target_of(server), concurrency=16))
            assert {sample.outcome for sample in decoded} == {Outcome.OK}
            assert {(sample.clock_source, sample.lag_ns) for sample in decoded} == {("user", ())}
            assert all((sample.first_token_ns or 0) - (sample.sent_ns or 0) > 19 * MS for sample in decoded)
            assert len({entry.connection for entry in server.log}) == 16
            wrong = Destination(target_of(server).addresses, "another.example")
            decoded = samples(session, plan_of([request()], wrong))
            assert decoded[0].outcome is Outcome.CONNECT_REFUSED


def test_connecting_is_stamped_apart(certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow handshake is in connect_ns and not in the time to the first token."""
    cert, key = certificate
    monkeypatch.setenv("SSL_CERT_FILE", cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def slow(sock: socket.socket, _number: int) -> None:
        time.sleep(1.5)
        with context.wrap_socket(sock, server_side=True) as wrapped:
            answering(ANSWER)(wrapped, 0)

    with RawServer(slow) as server, LoadSession() as session:
        target = Destination(server.target.addresses, "127.0.0.1")
        first, second = samples(session, plan_of([request()] * 2, target))
        assert first.connect_ns is not None
        assert first.connect_ns > 1_490 * MS
        assert second.connect_ns is None
        assert (first.first_token_ns or 0) - first.started_ns < 1_400 * MS


@pytest.mark.skipif(not LINUX, reason="only Linux can be asked to acknowledge at once")
def test_a_server_with_nagles_algorithm_is_not_held_up(session: LoadSession) -> None:
    """Head and text in two sends, request after request: the text waits for no delayed acknowledgement (40 ms)."""

    def serve(sock: socket.socket, _number: int) -> None:
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        while read_request(sock):
            sock.sendall(HEAD)
            sock.sendall(ANSWER.removeprefix(HEAD))

    with RawServer(serve) as server:
        decoded = samples(session, plan_of([request()] * 40, server.target))
        assert server.connections == 1
    ttfts = sorted((sample.first_token_ns or 0) - (sample.sent_ns or 0) for sample in decoded)
    assert ttfts[0] > 0
    assert ttfts[len(ttfts) // 4] < 20 * MS, "the bound is for a busy machine"


def test_a_connection_that_closed_while_idle_is_replaced(session: LoadSession) -> None:
    """A server may close a silent connection between two cases; no request is lost to it."""
    asked = threading.Semaphore(0)

    def once(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(ANSWER)
        asked.release()

    with RawServer(once) as server:
        for _ in range(5):
            assert [sample.outcome for sample in samples(session, plan_of([request()], server.target))] == [Outcome.OK]
            asked.acquire(timeout=60.0)
            time.sleep(0.02)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ANSWER + b"HTTP/1.1 200 OK\r\n", id="bytes behind the end"),
        pytest.param(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), id="connection: close"),
        pytest.param(ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
    ],
)
def test_a_connection_in_doubt_is_not_used_again(session: LoadSession, answer: bytes) -> None:
    """The next request goes over a new connection."""
    with RawServer(answering(answer)) as server:
        exchanges, _ = played(session, plan_of([request()] * 3, server.target))
        assert {decode(exchange).outcome for exchange in exchanges} == {Outcome.OK}
        assert server.connections == 3
        assert all(exchange.connect_ns is not None for exchange in exchanges)


def test_a_prompt_of_ten_megabytes(session: LoadSession) -> None:
    """A request larger than every buffer goes out in pieces; ``sent`` is before the last of them."""
    received: list[int] = []

    def slow(sock: socket.socket, _number: int) -> None:
        time.sleep(1.0)
        received.append(len(read_request(sock)))
        sock.sendall(ANSWER)

    with RawServer(slow) as server:
        (sample,) = samples(session, plan_of([request(b"x" * 10_000_000)], server.target))
    assert (sample.outcome, received) == (Outcome.OK, [10_000_000])
    assert sample.sent_ns is not None
    assert sample.sent_ns - sample.started_ns > 500 * MS


@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_before_the_request_was_all_sent(session: LoadSession, *, reset: bool) -> None:
    """A server that refuses a long prompt says so and hangs up: its words are the outcome, not the broken pipe."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big"

    def refuse(sock: socket.socket, _number: int) -> None:
        sock.recv(1_000)
        sock.sendall(refusal)
        if not reset:
            threading.Event().wait(0.3)

    with RawServer(refuse) as server:
        decoded = samples(session, plan_of([request(b"x" * 10_000_000)] * 2, server.target))
    assert [sample.outcome for sample in decoded] == [Outcome.HTTP_4XX] * 2
    assert [sample.status for sample in decoded] == [413] * 2
    assert server.connections == 2


def test_the_window_of_entries_is_bounded_by_their_bytes(session: LoadSession) -> None:
    """Long requests are not built all at once: what is ahead stays within tens of megabytes."""
    built = ended = most = 0

    def entries() -> Iterator[Entry]:
        nonlocal built, most
        for number in range(40):
            built += 1
            most = max(most, built - ended)
            yield Entry(number, Phase.MEASURED, 0, True, request(b"x" * 4_000_000))

    def count(_exchange: object) -> None:
        nonlocal ended
        ended += 1

    with RawServer(answering(ANSWER)) as server:
        plan = RequestPlan((server.target,), Deadlines(0, 0, 0, 0, 0), 2, 40, entries())
        assert session.play(plan, count).finished == 40
    assert (built, ended) == (40, 40)
    assert most <= 12


def test_a_long_plan_is_taken_entry_by_entry(session: LoadSession) -> None:
    """Entries are asked for a window ahead, and each is played once."""
    built = 0

    def entries() -> Iterator[Entry]:
        nonlocal built
        for built in range(1, 1_501):
            yield Entry(built - 1, Phase.MEASURED, 0, True, request())

    seen: list[int] = []
    ahead: list[int] = []
    with RawServer(answering(ANSWER)) as server:
        plan = RequestPlan((server.target,), Deadlines(0, 0, 0, 0, 0), 4, 1_500, entries())

        def take(exchange: object) -> None:
            seen.append(getattr(exchange, "index", -1))
            ahead.append(built - len(seen))

        session.play(plan, take)
    assert sorted(seen) == list(range(1_500))
    assert max(ahead) <= 300


def test_many_small_reads_are_all_stamped(session: LoadSession) -> None:
    """A server that drips single bytes gets its answer put together, every read with a stamp of its own."""

    def drip(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        for start in range(len(ANSWER)):
            sock.sendall(ANSWER[start : start + 1])
            time.sleep(0.001)

    with RawServer(drip) as server:
        exchanges, _ = played(session, plan_of([request()], server.target))
    (exchange,) = exchanges
    assert decode(exchange).outcome is Outcome.OK
    assert exchange.raw == ANSWER
    assert len(exchange.read_arrival_ns) == len(exchange.read_bytes) > 5, "a busy machine reads several at once"
    assert list(exchange.read_arrival_ns) == sorted(exchange.read_arrival_ns)


@kernel_stamps
def test_a_late_reader_knows_when_a_token_came(session: LoadSession) -> None:
    """While one answer of megabytes keeps the load process busy, the kernel's stamps of another stay true.

    A read that is so late that it holds several tokens has the stamp of the last of them.
    """
    sent: list[list[tuple[int, int]]] = []  # of each small answer, right before and after each token

    def serve(sock: socket.socket, _number: int) -> None:
        big = b"big" in read_request(sock)
        sock.sendall(HEAD)
        spans: list[tuple[int, int]] = []
        if not big:
            sent.append(spans)
        for _ in range(10):
            before_ns = time.monotonic_ns()
            sock.sendall(token("x" * 1_000_000) if big else token("a"))
            spans.append((before_ns, time.monotonic_ns()))
            time.sleep(0.02)
        sock.sendall(token("", "stop") + b"0\r\n\r\n")

    with RawServer(serve) as server:
        exchanges, _ = played(session, plan_of([request(b"big")] + [request()] * 3, server.target, concurrency=4))
    for exchange in exchanges:
        assert (exchange.ending, exchange.clock_source) == (Ending.COMPLETE, "kernel")
    for exchange in exchanges[1:]:
        stamps = decode(exchange).chunk_ns
        assert len(stamps) == 10
        last_of_reads = {stamp: number for number, stamp in enumerate(stamps)}
        assert any(
            all(spans[number][0] - MS <= stamp <= spans[number][1] + MS for stamp, number in last_of_reads.items())
            for spans in sent
        )


def test_nothing_is_sent_when_the_time_is_over(session: LoadSession) -> None:
    """What is under way may end, whole; the rest is not sent, and the next plan is played as ever."""
    asked: list[float] = []

    def serve(sock: socket.socket, _number: int) -> None:
        while read_request(sock):
            asked.append(time.monotonic())
            time.sleep(0.2)
            sock.sendall(ANSWER)

    with RawServer(serve) as server:
        stop_at = time.monotonic() + 1.0
        exchanges: list[Exchange] = []
        stats = session.play(plan_of([request()] * 50, server.target, concurrency=2), exchanges.append, stop_at=stop_at)
        assert stats.stopped
        assert not stats.gave_up
        assert stats.finished == len(exchanges) == len(asked)
        assert 1 <= len(asked) <= 30, "of 50, which take 5 s"
        assert {exchange.ending for exchange in exchanges} == {Ending.COMPLETE}
        assert max(asked) < stop_at + 2, "a tick later at most, but for a busy machine"
        assert len({exchange.index for exchange in exchanges}) == len(exchanges)
        again, stats = played(session, plan_of([request()] * 3, server.target))
        assert (len(again), stats.stopped) == (3, False)


def test_a_time_that_is_not_over_stops_nothing(session: LoadSession) -> None:
    """A plan that ends in time is whole."""
    with RawServer(answering(ANSWER)) as server:
        stats = session.play(plan_of([request()] * 5, server.target), lambda _: None, stop_at=time.monotonic() + 60)
    assert (stats.finished, stats.stopped) == (5, False)
