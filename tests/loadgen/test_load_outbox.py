"""Ended requests on their way to the measuring process: in frames of a bounded size, and whole at the other end."""

from __future__ import annotations

import marshal
from typing import Any

import pytest
from load_doubles import S, plan_of, played, reference_request, request, target_of

from pytest_flperf.clock import RecentOffset
from pytest_flperf.loadgen.connection import Job
from pytest_flperf.loadgen.outbox import Outbox
from pytest_flperf.loadgen.queue import Incoming
from pytest_flperf.loadgen.turn_durations import LAST_BUCKET, LoopTurns
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.loadgen.worker_group import LoadGroup
from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.wire.exchange import Ending

FRAME_BYTES = 300_000


def ended(reads: int, size: int, index: int = 0) -> Job:
    """A request whose answer came in so many reads."""
    job = Job((index, "measured", 0, True, request(), None), 0, 1, 1 << 20)
    job.out, job.sent_ns = memoryview(b""), 2
    for number in range(reads):
        job.parts.append(bytes([number % 256]) * size)
        job.read_ns.append(number)
        job.stamps.append(bytes(48))
    job.end((Ending.COMPLETE, ""), RecentOffset())
    return job


@pytest.mark.parametrize(("reads", "size"), [(0, 0), (1, 10), (30_000, 230), (5, 65_536), (513, 1)])
def test_long_answers_come_in_parts(reads: int, size: int) -> None:
    """Nothing is lost, and no frame grows with the answer."""
    frames: list[tuple[Any, ...]] = []
    outbox, job = Outbox(lambda *frame: frames.append(frame)), ended(reads, size)
    outbox.add(job)
    outbox.release(2 * S, all_of_them=False)
    while outbox.released:
        outbox.send(0)
    assert not outbox.jobs
    assert all(len(marshal.dumps(frame)) < FRAME_BYTES for frame in frames)
    incoming = Incoming(reasoning_tags=True)
    (exchange,) = [each for frame in frames if (each := incoming.take(frame)) is not None]
    assert exchange.raw == b"".join(job.parts)
    assert exchange.read_bytes == (size,) * reads
    assert exchange.read_arrival_ns == tuple(range(reads))
    assert exchange.ending is Ending.COMPLETE


def test_a_turn_tells_no_more_than_it_has_time_for() -> None:
    """A frame at least, and the next one in the next turn."""
    frames: list[tuple[Any, ...]] = []
    outbox = Outbox(lambda *frame: frames.append(frame))
    for index in range(200):
        outbox.add(ended(2, 10, index))
    outbox.release(2 * S, all_of_them=False)
    outbox.send(0)
    assert len(frames) == 1
    while outbox.released:
        outbox.send(0)
    assert 1 < len(frames) < 10
    outbox.send_all()
    assert [frame[1] for frame in frames] == list(range(200))
    assert not outbox.jobs


def test_turns_of_the_loop_are_counted(session: LoadSession, reference: ReferenceServer) -> None:
    """Of every plan, over several processes as well."""
    plan = plan_of([reference_request()] * 20, target_of(reference), concurrency=4)
    _, stats = played(session, plan)
    count = sum(stats.turns.counts.values())
    assert count >= 20
    assert 0 < stats.turns.quantile_ns(0.5) <= stats.turns.quantile_ns(0.99) <= stats.turns.longest_ns
    assert stats.turns.longest_ns <= stats.finished_ns - stats.started_ns
    group = LoadGroup(2)
    try:
        stats = group.play(plan, lambda _: None)
    finally:
        group.stop()
    assert sum(stats.turns.counts.values()) >= 20


def test_turns_add_up() -> None:
    """Counts by bucket, the longest of all, and quantiles from the middle of a bucket."""
    some = LoopTurns({0: 98, 5: 1}, 6_000) + LoopTurns({LAST_BUCKET: 1}, 90_000_000)
    assert some.longest_ns == 90_000_000
    assert some.quantile_ns(0.5) == 512
    assert some.quantile_ns(0.99) == 5.5 * 1024
    assert some.quantile_ns(1.0) == 90_000_000
