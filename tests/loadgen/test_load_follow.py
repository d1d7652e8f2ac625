"""Requests that others bring about, and one plan over several load processes."""

from __future__ import annotations

import heapq
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_doubles import MS, deadlines, plan_of, played, reference_request, request, target_of

from pytest_flperf.loadgen.backlog import Backlog
from pytest_flperf.loadgen.entry_pool import EntryPool
from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, LoadSchedule, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadProcessError, LoadSession
from pytest_flperf.loadgen.worker_group import LoadGroup, parts_of
from pytest_flperf.measurement.followups import Retries
from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.sample import Outcome

NOBODY = Destination(((int(socket.AF_INET), ("127.0.0.1", 9)),))


def entries_of(count: int, wish: bytes | None = None) -> tuple[Entry, ...]:
    """Requests of a closed loop."""
    return tuple(Entry(number, Phase.MEASURED, 0, True, wish or request()) for number in range(count))


def chain(length: int, wait_ns: int = 0) -> Callable[[Exchange], Entry | None]:
    """After each request another one, ``length`` in all for each first one; their numbers are 1,000 apart."""

    def follow(exchange: Exchange) -> Entry | None:
        number = exchange.index + 1_000
        if number >= length * 1_000:
            return None
        return Entry(number, Phase.MEASURED, 0, True, request(), wait_ns=wait_ns)

    return follow


def all_ok(exchanges: list[Exchange]) -> bool:
    """Whether every answer came whole."""
    return {decode(exchange).outcome for exchange in exchanges} == {Outcome.OK}


def test_requests_that_follow(session: LoadSession, reference: ReferenceServer) -> None:
    """Each begins after the one that brought it about has ended, and the plan ends with the last of them."""
    plan = replace(plan_of([request()] * 3, target_of(reference), concurrency=2), follow=chain(4), window=2)
    exchanges, stats = played(session, plan)
    assert all_ok(exchanges)
    assert sorted(each.index for each in exchanges) == sorted(1_000 * turn + n for turn in range(4) for n in range(3))
    assert (stats.finished, stats.gave_up, stats.stopped) == (12, False, False)
    at = {each.index: each for each in exchanges}
    for index, exchange in at.items():
        if index >= 1_000:
            assert exchange.started_ns >= at[index - 1_000].finished_ns
    # Two at a time: the third chain begins when another one is over.
    assert at[2].started_ns >= min(at[3_000].finished_ns, at[3_001].finished_ns)


def test_a_pause_before_what_follows(session: LoadSession, reference: ReferenceServer) -> None:
    """It is kept, and meanwhile others are sent."""
    plan = replace(plan_of([request()] * 4, target_of(reference)), follow=chain(2, wait_ns=400 * MS))
    exchanges, _ = played(session, plan)
    at = {each.index: each for each in exchanges}
    assert len(at) == 8
    for index in range(4):
        assert at[index + 1_000].started_ns - at[index].finished_ns >= 400 * MS
    assert at[1].started_ns < at[1_000].started_ns


def test_what_follows_ends_with_the_time(session: LoadSession, reference: ReferenceServer) -> None:
    """A duration, and the time to stop, end chains too; what is under way may end."""
    endless = chain(10**6)
    timed = replace(
        plan_of([request()] * 2, target_of(reference), concurrency=2),
        follow=endless,
        schedule=LoadSchedule(duration_ns=200 * MS),
    )
    exchanges, stats = played(session, timed)
    assert all_ok(exchanges)
    assert all(each.started_ns - stats.started_ns <= 200 * MS for each in exchanges)
    found: list[Exchange] = []
    untimed = replace(timed, schedule=LoadSchedule())
    stats = session.play(untimed, found.append, stop_at=time.monotonic() + 1.0)
    assert all_ok(found)
    assert stats.stopped
    assert 2 < len(found) < 100_000


def test_a_follower_that_goes_wrong_is_given_up(session: LoadSession) -> None:
    """Requests in a row without an answer end a plan although each brings about another."""
    nobody = RequestPlan((NOBODY,), deadlines(), 1, 1, entries_of(1), give_up_after=3, follow=chain(99))
    exchanges, stats = played(session, nobody)
    assert stats.gave_up
    assert 3 <= len(exchanges) < 99
    assert exchanges[0].ending is Ending.CONNECT_REFUSED
    assert {each.ending for each in exchanges} <= {Ending.CONNECT_REFUSED, Ending.CANCELLED}


@pytest.mark.parametrize(
    "schedule", [LoadSchedule(open_ahead=4), LoadSchedule(think_ns=5_000 * MS)], ids=["open", "think"]
)
def test_whoever_waits_for_answers_only_does_not_spin(
    session: LoadSession, reference: ReferenceServer, schedule: LoadSchedule
) -> None:
    """After the last request was sent, the load process sleeps until its answer comes."""
    slow = reference_request(ttft_ms=800, itl_ms=0, tokens=1)
    dues = (0, MS) if schedule.open_ahead else (None, None)
    fast = Entry(0, Phase.MEASURED, 0, True, request(), dues[0])
    plan = RequestPlan(
        (target_of(reference),), deadlines(), 2, 2, (fast, Entry(1, Phase.MEASURED, 0, True, slow, dues[1])),
        schedule=schedule,
    )  # fmt: skip
    exchanges, stats = played(session, plan)
    assert all_ok(exchanges)
    assert stats.cpu_ns < 400 * MS  # it was all of the 800 ms


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 3)),
            st.tuples(st.just("later"), st.integers(0, 50)),
            st.tuples(st.just("take"), st.integers(0, 5)),
        )
    )
)
def test_a_backlog_gives_what_is_due_first(steps: list[tuple[str, int]]) -> None:
    """What was brought about comes first once its time is there, by its time; the rest in its order."""
    backlog, now, number = Backlog(), 100, 0
    queue: list[int] = []
    later: list[tuple[int, int]] = []
    for what, amount in steps:
        number += 10
        if what == "add":
            backlog.add([(number + each,) for each in range(amount)])
            queue += [number + each for each in range(amount)]
        elif what == "later":
            backlog.add_later((number,), now + amount)
            heapq.heappush(later, (now + amount, number))
        else:
            now += amount
            due = bool(later) and later[0][0] <= now
            expected = later[0][1] if due else queue[0] if queue else None
            entry = backlog.first(now)
            assert (entry[0] if entry is not None else None) == expected
            if entry is not None:
                backlog.take(entry)
                heapq.heappop(later) if due else queue.pop(0)
        waits = [at for at, _ in later if at > now]
        assert backlog.wake_ns(now) == (later[0][0] if waits and later[0][0] > now else 0)
        assert bool(backlog) is bool(queue or later)
    backlog.clear()
    assert not backlog


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 9), st.integers())
def test_parts_make_the_whole(total: int, concurrency: int, processes: int, seed: int) -> None:
    """No entry of an open loop is lost or doubled, whoever asks first; streams and windows add up."""
    rng = random.Random(seed)
    entries = [replace(each, due_ns=each.index) for each in entries_of(total)]
    plan = RequestPlan((), Deadlines(0, 0, 0, 0, 0), concurrency, total, entries, window=concurrency)
    parts, pool = parts_of(plan, processes, threading.Lock())
    assert pool is None
    assert len(parts) == min(total, concurrency, processes)
    assert sum(part.concurrency for part in parts) == concurrency
    assert sum(part.window for part in parts) == concurrency
    assert sum(part.total for part in parts) == total
    left: list[tuple[Iterator[Entry], int]] = [(iter(part.entries), part.total) for part in parts]
    found: list[int] = []
    while left:
        chosen = rng.randrange(len(left))
        entries_left, missing = left.pop(chosen)
        found.append(next(entries_left).index)
        if missing > 1:
            left.append((entries_left, missing - 1))
    assert sorted(found) == list(range(total))


@given(st.integers(1, 200), st.lists(st.integers(1, 7), min_size=2, max_size=5), st.integers(0, 9), st.integers())
def test_a_pool_keeps_every_stream_busy(total: int, streams: list[int], ahead: int, seed: int) -> None:
    """With answers that take as long, all is done as soon as if one process had all streams, or one answer later."""
    rng = random.Random(seed)
    pool = EntryPool(entries_of(total), total, sum(streams), threading.Lock())
    held = [0] * len(streams)
    found: list[int] = []
    rounds = 0
    while pool.left or any(held):
        rounds += 1
        for number in rng.sample(range(len(streams)), len(streams)):
            most = 2 * streams[number] + ahead
            while held[number] < most and (entry := pool.take(held[number], streams[number])) is not None:
                held[number] += 1
                found.append(entry.index)
        for number, own in enumerate(streams):
            for _ in range(min(held[number], own)):
                held[number] -= 1
                pool.ended()
    assert sorted(found) == list(range(total))
    assert rounds <= -(-total // sum(streams)) + 1


@pytest.fixture(scope="module")
def group() -> Iterator[LoadGroup]:
    """Three load processes."""
    group = LoadGroup(3)
    yield group
    group.stop()


def play_group(group: LoadGroup, plan: RequestPlan) -> tuple[list[Exchange], PlanStats]:
    """Play a plan over all of them."""
    exchanges: list[Exchange] = []
    stats = group.play(plan, exchanges.append)
    return sorted(exchanges, key=lambda each: each.index), stats


def test_a_closed_loop_over_several_processes(group: LoadGroup, reference: ReferenceServer) -> None:
    """Every request once, every stream a number of its own, and one clock for all."""
    exchanges, stats = play_group(group, plan_of([request()] * 40, target_of(reference), concurrency=8))
    assert all_ok(exchanges)
    assert [each.index for each in exchanges] == list(range(40))
    assert {each.slot for each in exchanges} == set(range(8))
    assert stats.finished == 40
    assert all(stats.started_ns <= each.started_ns <= each.finished_ns for each in exchanges)


@pytest.mark.parametrize("window", [0, 3])
def test_streams_of_all_processes_are_as_busy(reference: ReferenceServer, window: int) -> None:
    """Three streams on two processes: the one that has a process for itself gets a third of the requests, not half."""
    group = LoadGroup(2)
    try:
        plan = plan_of(
            [reference_request(schedule={"ttft_ms": 20, "tokens": 1})] * 60, target_of(reference), concurrency=3
        )
        exchanges, stats = play_group(group, replace(plan, window=window))
    finally:
        group.stop()
    assert [each.index for each in exchanges] == list(range(60))
    assert stats.finished == 60
    counts = Counter(each.slot for each in exchanges)
    assert all(13 <= counts[slot] <= 27 for slot in range(3)), counts
    # And so to the end: nobody is done long before the others.
    last_ns = [max(each.finished_ns for each in exchanges if each.slot == slot) for slot in range(3)]
    assert max(last_ns) - min(last_ns) < 0.4 * (stats.finished_ns - stats.started_ns)


def test_retries_over_several_processes(reference: ReferenceServer) -> None:
    """A process whose requests are tried again takes fewer of the others'; none is lost, and all are tried."""
    group = LoadGroup(2)
    failing, fine = reference_request(fault="http-503"), reference_request(schedule={"ttft_ms": 20, "tokens": 1})
    requests = [failing if number % 6 == 0 else fine for number in range(36)]
    plan = plan_of(requests, target_of(reference), concurrency=3)
    retries = Retries(2, 10 * MS, 10_000 * MS)
    try:
        exchanges, _ = play_group(group, replace(plan, entries=retries.watched(plan.entries), follow=retries.after))
    finally:
        group.stop()
    tries = Counter(each.index for each in exchanges)
    assert tries == {number: 3 if number % 6 == 0 else 1 for number in range(36)}


def test_an_open_loop_over_several_processes(group: LoadGroup, reference: ReferenceServer) -> None:
    """Due times count from one beginning: the plan's times, whoever sends."""
    due_ns = [n * 5 * MS for n in range(30)]
    entries = tuple(replace(each, due_ns=due) for each, due in zip(entries_of(30), due_ns, strict=True))
    schedule = LoadSchedule(open_ahead=2, steady_from_ns=50 * MS)
    plan = RequestPlan((target_of(reference),), deadlines(), 30, 30, entries, schedule=schedule)
    exchanges, stats = play_group(group, plan)
    assert all_ok(exchanges)
    assert [(each.due_ns or 0) - stats.started_ns for each in exchanges] == due_ns
    late_ns = sorted((each.sent_ns or 0) - (each.due_ns or 0) for each in exchanges)
    assert late_ns[0] >= 0
    assert late_ns[len(late_ns) // 4] < 100 * MS, "the quickest quarter, which a busy machine doesn't hold up"
    assert late_ns[-1] < 5_000 * MS
    assert [each.phase for each in exchanges] == [Phase.OUTSIDE] * 10 + [Phase.MEASURED] * 20


def test_chains_over_several_processes(group: LoadGroup, reference: ReferenceServer) -> None:
    """What a request brings about is played as well."""
    exchanges, _ = play_group(
        group, replace(plan_of([request()] * 6, target_of(reference), concurrency=4), follow=chain(3), window=4)
    )
    assert all_ok(exchanges)
    assert len(exchanges) == 18


def test_one_stream_needs_one_process(group: LoadGroup, reference: ReferenceServer) -> None:
    """Where there is less to do than there are processes, the others rest."""
    exchanges, _ = play_group(group, plan_of([request()] * 3, target_of(reference)))
    assert all_ok(exchanges)
    assert {each.slot for each in exchanges} == {0}


def test_a_process_that_dies_ends_the_plan(reference: ReferenceServer) -> None:
    """The others are told to end, what they measured is handed over, and the error says what happened."""
    group = LoadGroup(2)
    slow = reference_request(ttft_ms=60_000, itl_ms=0, tokens=1)
    plan = RequestPlan((target_of(reference),), deadlines(), 2, 2, entries_of(2, slow))
    reference.clear_log()

    def kill() -> None:
        give_up_at = time.monotonic() + 60
        while len(reference.log) < 2 and time.monotonic() < give_up_at:
            time.sleep(0.01)
        os.kill(group.pids[0], getattr(signal, "SIGKILL", signal.SIGTERM))

    killer = threading.Thread(target=kill)
    killer.start()
    exchanges: list[Exchange] = []
    try:
        with pytest.raises(LoadProcessError, match="the load process ended"):
            group.play(plan, exchanges.append)
    finally:
        killer.join()
        group.stop()
    assert [each.ending for each in exchanges] == [Ending.CANCELLED]
