"""Deadlines, faults and endings: each request ends in time, in its own way, and its connection with it."""

from __future__ import annotations

import random
import socket
import threading
import time

import pytest
from load_doubles import (
    ANSWER,
    HEAD,
    MS,
    ROLE,
    RawServer,
    S,
    answering,
    chunk,
    deadlines,
    plan_of,
    played,
    read_request,
    reference_request,
    request,
    reset,
    samples,
    silent,
    target_of,
    token,
)

from pytest_flperf.loadgen.plan import Deadlines, Destination
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.sample import Outcome, Sample

SHORT = 200 * MS
LATE = 5 * S  # a busy machine: nobody promises to be on time, and every other limit is longer


def took(sample: Sample) -> int:
    """How long the load process was at it."""
    return sample.finished_ns - sample.started_ns


@pytest.mark.parametrize(
    ("fault", "limits", "outcome"),
    [
        ("hang-before-headers", deadlines(headers=SHORT), Outcome.HEADERS_TIMEOUT),
        ("hang-before-headers", deadlines(total=SHORT), Outcome.TOTAL_TIMEOUT),
        ("hang-before-first-token", deadlines(first_token=SHORT), Outcome.FIRST_TOKEN_TIMEOUT),
        ("never-ends", deadlines(total=SHORT), Outcome.TOTAL_TIMEOUT),
    ],
)
def test_each_deadline_ends_the_request_in_time(
    session: LoadSession, reference: ReferenceServer, fault: str, limits: Deadlines, outcome: Outcome
) -> None:
    """Its own word, close after the limit, and the next request finds a fresh connection."""
    plan = plan_of([reference_request(fault=fault)] * 2, target_of(reference), limits=limits)
    for sample in samples(session, plan):
        assert sample.outcome is outcome
        assert 0 <= took(sample) - SHORT < LATE
        assert sample.evidence is not None
        assert "0.2 s" in sample.evidence.detail


def test_a_stall_counts_from_the_last_token(session: LoadSession, reference: ReferenceServer) -> None:
    """Silence after a token is a stall as soon as its limit is over, however long the other limits are."""
    wish = reference_request(fault={"kind": "stall", "after_tokens": 3}, schedule={"ttft_ms": 50})
    (sample,) = samples(session, plan_of([wish], target_of(reference), limits=deadlines(stall=SHORT)))
    assert (sample.outcome, len(sample.chunk_ns)) == (Outcome.STALL_TIMEOUT, 3)
    assert sample.last_token_ns is not None
    assert -10 * MS < sample.finished_ns - sample.last_token_ns - SHORT < LATE


def test_a_slow_stream_is_no_stall(session: LoadSession, reference: ReferenceServer) -> None:
    """Tokens that come within the limit keep a request alive for much longer than the limit."""
    wish = reference_request(schedule={"ttft_ms": 1_000, "itl_ms": 1_000, "tokens": 5})
    limits = deadlines(headers=3 * S, first_token=3 * S, stall=3 * S)
    (sample,) = samples(session, plan_of([wish], target_of(reference), limits=limits))
    assert (sample.outcome, len(sample.chunk_ns)) == (Outcome.OK, 5)
    assert took(sample) > 4 * S


def test_an_answer_that_does_not_stream_knows_no_tokens(session: LoadSession, reference: ReferenceServer) -> None:
    """The limits of the first token and of stalls are for streams only."""
    wish = reference_request(stream=False, schedule={"ttft_ms": 300})
    limits = deadlines(first_token=50 * MS, stall=50 * MS)
    (sample,) = samples(session, plan_of([wish], target_of(reference), stream=False, limits=limits))
    assert sample.outcome is Outcome.OK


def test_zero_is_no_limit(session: LoadSession, reference: ReferenceServer) -> None:
    """Without any limit a plan is played as usual; nothing is due at once."""
    plan = plan_of([request()] * 3, target_of(reference), limits=Deadlines(0, 0, 0, 0, 0))
    assert [sample.outcome for sample in samples(session, plan)] == [Outcome.OK] * 3
    for limits in (Deadlines(0, 0, 0, LATE, 0), Deadlines(0, LATE, 0, 0, 0), Deadlines(0, 0, LATE, 0, 0)):
        assert samples(session, plan_of([request()], target_of(reference), limits=limits))[0].outcome is Outcome.OK


@pytest.mark.parametrize(
    "noise", [ROLE, chunk(b": keep-alive 1/2\n\n"), chunk(b"data: {}\n\n")], ids=["role", "comment", "empty"]
)
@pytest.mark.parametrize("tokens", [0, 2])
def test_bytes_without_text_re_arm_nothing(session: LoadSession, noise: bytes, tokens: int) -> None:
    """Role chunks, comments and empty events keep no request alive, neither before its first token nor after."""

    def chatter(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(HEAD + token("a") * tokens)
        for _ in range(200):
            sock.sendall(noise)
            time.sleep(0.01)

    limits = deadlines(first_token=SHORT) if tokens == 0 else deadlines(stall=SHORT)
    with RawServer(chatter) as server:
        (sample,) = samples(session, plan_of([request()], server.target, limits=limits))
    assert sample.outcome is (Outcome.STALL_TIMEOUT if tokens else Outcome.FIRST_TOKEN_TIMEOUT)
    assert 0 <= took(sample) - SHORT < LATE


def test_after_a_timeout_the_connection_is_closed_before_the_next_request(session: LoadSession) -> None:
    """When the slot's next request comes, the server can see that the one before was given up."""
    previous: list[socket.socket] = []
    seen: list[str] = []

    def serve(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        for before in previous:
            before.setblocking(False)
            try:
                seen.append("closed" if not before.recv(1) else "data")
            except BlockingIOError:
                seen.append("open")
            except OSError:
                seen.append("reset")
        previous[:] = [sock]
        threading.Event().wait(1.0)  # not reading: whoever reads first takes the reset

    with RawServer(serve) as server:
        plan = plan_of([request()] * 4, server.target, limits=deadlines(headers=100 * MS))
        assert {sample.outcome for sample in samples(session, plan)} == {Outcome.HEADERS_TIMEOUT}
    assert seen == ["reset"] * 3


@pytest.mark.parametrize("seed", range(3))
def test_a_server_gone_mad(session: LoadSession, seed: int) -> None:
    """Cut, reset, stalled, joined, garbled at random bytes: one outcome for each request, and the plan ends in time."""

    def rave(sock: socket.socket, number: int) -> None:
        rng = random.Random(f"{seed}:{number}")
        while read_request(sock):
            answer = ANSWER[: rng.randrange(len(ANSWER))] if rng.random() < 0.4 else ANSWER
            if rng.random() < 0.2:
                place = rng.randrange(len(ANSWER))
                answer = answer[:place] + rng.randbytes(rng.randrange(1, 20)) + answer[place:]
            for start in range(0, len(answer), size := rng.randrange(5, 300)):
                sock.sendall(answer[start : start + size])
            match rng.randrange(5):
                case 0:
                    reset(sock)
                case 1:
                    return
                case 2:
                    time.sleep(rng.random() * 0.2)

    with RawServer(rave) as server:
        plan = plan_of([request()] * 300, server.target, concurrency=16, limits=deadlines(total=SHORT))
        exchanges, stats = played(session, plan)
    assert [exchange.index for exchange in exchanges] == list(range(300))
    assert stats.finished_ns - stats.started_ns < 120 * S
    assert len({decode(exchange).outcome for exchange in exchanges}) >= 3


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("refuse", Outcome.CONNECTION_LOST),
        ("cut", Outcome.CONNECTION_LOST),
        ("cut-reset", Outcome.CONNECTION_LOST),
        ("truncate", Outcome.TRUNCATED),
        ("truncate-done", Outcome.TRUNCATED),
        ("garbage-json", Outcome.MALFORMED_STREAM),
        ("error-event", Outcome.ERROR_IN_STREAM),
        ("early-done", Outcome.TRUNCATED),  # [DONE] ends the answer, and none had said that it was whole
        ("empty-stream", Outcome.TRUNCATED),
        ({"kind": "slow_drip", "drip_bytes": 50}, Outcome.OK),
        ("http-429", Outcome.RATE_LIMITED),
        ("http-401", Outcome.HTTP_4XX),
        ("http-500", Outcome.HTTP_5XX),
        ("http-html", Outcome.HTTP_5XX),
        ("context-exceeded", Outcome.CONTEXT_EXCEEDED),
        ("model-not-found", Outcome.MODEL_NOT_FOUND),
    ],
)
def test_faults_of_the_reference_server(
    session: LoadSession, reference: ReferenceServer, fault: object, outcome: Outcome
) -> None:
    """Each fault that the server plays on command has its outcome."""
    decoded = samples(session, plan_of([reference_request(fault=fault)] * 3, target_of(reference), concurrency=2))
    assert [sample.outcome for sample in decoded] == [outcome] * 3


def test_one_bad_server_does_not_hold_up_the_other(session: LoadSession) -> None:
    """Requests to a silent target run into their limit while the others are answered."""
    with (
        RawServer(answering(ANSWER)) as good,
        RawServer(silent) as mute,
    ):
        plan = plan_of([request()] * 20, good.target, mute.target, concurrency=10, limits=deadlines(headers=SHORT))
        exchanges, stats = played(session, plan)
    assert [exchange.ending for exchange in exchanges] == [Ending.COMPLETE, Ending.HEADERS_TIMEOUT] * 10
    assert stats.finished_ns - stats.started_ns < 20 * S


def test_giving_up_on_a_server_that_never_answers(session: LoadSession) -> None:
    """After so many failures in a row the rest of a plan is not tried."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hopeless = Destination(((int(socket.AF_INET), nobody.getsockname()),))
        exchanges, stats = played(session, plan_of([request()] * 5_000, hopeless, concurrency=2, give_up_after=10))
    assert stats.gave_up
    assert 10 <= stats.finished == len(exchanges) < 5_000


def test_giving_up_on_a_server_that_dies_in_the_middle(session: LoadSession) -> None:
    """Answers before it died don't make a plan wait for the limit of every request that is left."""
    answered = 0

    def dying(sock: socket.socket, _number: int) -> None:
        nonlocal answered
        while read_request(sock):
            answered += 1
            if answered > 20:
                silent(sock, 0)
                return
            sock.sendall(ANSWER)

    with RawServer(dying) as server:
        plan = plan_of([request()] * 500, server.target, give_up_after=5, limits=deadlines(headers=100 * MS))
        exchanges, stats = played(session, plan)
    assert stats.gave_up
    assert [exchange.ending for exchange in exchanges[:25]] == [Ending.COMPLETE] * 20 + [Ending.HEADERS_TIMEOUT] * 5
    assert 25 <= stats.finished == len(exchanges) < 30


@pytest.mark.parametrize(("every", "status"), [(3, b"200"), (1, b"500")])
def test_failures_between_answers_are_no_reason_to_give_up(session: LoadSession, every: int, status: bytes) -> None:
    """An answer begins the count anew, and an error page is an answer."""
    answer = ANSWER.replace(b"200", status, 1)

    def sometimes(sock: socket.socket, number: int) -> None:
        if read_request(sock) and number % every == 0:
            sock.sendall(answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))

    with RawServer(sometimes) as server:
        exchanges, stats = played(session, plan_of([request()] * 30, server.target, give_up_after=3))
    assert (stats.gave_up, stats.finished) == (False, 30)
    assert sum(exchange.ending is Ending.COMPLETE for exchange in exchanges) == 30 // every


def test_a_plan_that_was_played_whole_was_not_given_up(session: LoadSession) -> None:
    """Where the last request is the one too many, nothing was left to give up."""
    with RawServer(lambda sock, _number: reset(sock)) as server:
        for _ in range(5):
            _, stats = played(session, plan_of([request()] * 4, server.target, give_up_after=4))
            assert (stats.gave_up, stats.finished) == (False, 4)


def test_the_same_connection_has_its_limits_anew(session: LoadSession) -> None:
    """A limit counts for its own request: the tenth on a connection has as long as the first."""

    def serve(sock: socket.socket, _number: int) -> None:
        while read_request(sock):
            time.sleep(0.06)
            sock.sendall(ANSWER)

    with RawServer(serve) as server:
        plan = plan_of([request()] * 10, server.target, limits=deadlines(headers=LATE, first_token=LATE, total=LATE))
        decoded = samples(session, plan)
        assert [sample.outcome for sample in decoded] == [Outcome.OK] * 10
        assert server.connections == 1
