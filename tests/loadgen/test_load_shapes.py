"""Open loops, pauses, durations and windows, played by a real load process against real servers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
from load_doubles import MS, deadlines, plan_of, played, reference_request, request, target_of

from pytest_flperf.loadgen.plan import Entry, LoadSchedule, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.sample import Outcome

LATE_NS = 5_000 * MS  # a busy machine: how punctual we are is for benchmarks/
SOON_NS = 100 * MS  # of the quickest, which a busy machine doesn't hold up


def quickest(times_ns: Iterable[int]) -> int:
    """The upper end of the quickest quarter, or of the first where there are few."""
    found = sorted(times_ns)
    return found[len(found) // 4]


def open_plan(server: ReferenceServer, due_ns: list[int], streams: int = 50, wish: bytes | None = None) -> RequestPlan:
    """Requests at these times."""
    entries = tuple(Entry(number, Phase.MEASURED, 0, True, wish or request(), due) for number, due in enumerate(due_ns))
    schedule = LoadSchedule(open_ahead=2)
    return RequestPlan((target_of(server),), deadlines(), streams, len(entries), entries, schedule=schedule)


def ok(exchanges: list[Exchange]) -> bool:
    """Whether all of them ended well."""
    return {decode(exchange).outcome for exchange in exchanges} == {Outcome.OK}


def test_requests_are_sent_when_they_are_due(session: LoadSession, reference: ReferenceServer) -> None:
    """None before its time, each soon after it, and the absolute due times are those of the plan."""
    due_ns = [0, 0, 0, 5 * MS, 30 * MS, 31 * MS, 31 * MS, 90 * MS]
    exchanges, stats = played(session, open_plan(reference, due_ns))
    assert ok(exchanges)
    for exchange, due in zip(exchanges, due_ns, strict=True):
        assert exchange.due_ns == stats.started_ns + due
        assert exchange.sent_ns is not None
        assert 0 <= exchange.sent_ns - exchange.due_ns < LATE_NS
        assert exchange.phase is Phase.MEASURED
    assert quickest(each.sent_ns - each.due_ns for each in exchanges if each.sent_ns and each.due_ns) < SOON_NS


def test_a_slow_server_delays_nobody(session: LoadSession, reference: ReferenceServer) -> None:
    """Requests go out although none before them has been answered: the load is the plan's, not the server's."""
    slow = reference_request(ttft_ms=3_000, itl_ms=0, tokens=1)
    exchanges, _ = played(session, open_plan(reference, [n * 5 * MS for n in range(20)], wish=slow))
    assert ok(exchanges)
    sent = [exchange.sent_ns or 0 for exchange in exchanges]
    assert max(sent) < min(exchange.finished_ns for exchange in exchanges)


def test_what_is_in_flight_is_bounded(session: LoadSession, reference: ReferenceServer) -> None:
    """Where no stream is free a request waits, and its due time says for how long."""
    slow = reference_request(ttft_ms=60, itl_ms=0, tokens=1)
    exchanges, _ = played(session, open_plan(reference, [0] * 6, streams=2, wish=slow))
    assert ok(exchanges)
    waited = sorted((exchange.sent_ns or 0) - (exchange.due_ns or 0) for exchange in exchanges)
    assert waited[2] >= 50 * MS
    assert waited[4] >= 110 * MS


def test_more_requests_than_the_window(session: LoadSession, reference: ReferenceServer) -> None:
    """A thousand under way or due at once: none is held up by how entries are handed over."""
    slow = reference_request(ttft_ms=3_000, itl_ms=0, tokens=1)
    due_ns = [n * MS // 5 for n in range(1_000)]
    exchanges, _ = played(session, open_plan(reference, due_ns, streams=1_000, wish=slow))
    assert ok(exchanges)
    assert len(exchanges) == 1_000
    first_end = min(exchange.finished_ns for exchange in exchanges)
    assert sum((exchange.sent_ns or 0) < first_end for exchange in exchanges) > 500


def test_think_time(session: LoadSession, reference: ReferenceServer) -> None:
    """A stream rests between the end of a request and the next one."""
    plan = plan_of([request()] * 8, target_of(reference), concurrency=2)
    exchanges, _ = played(session, replace(plan, schedule=LoadSchedule(think_ns=40 * MS)))
    assert ok(exchanges)
    rests: list[int] = []
    for slot in (0, 1):
        mine = [exchange for exchange in exchanges if exchange.slot == slot]
        assert len(mine) == 4
        for before, after in itertools.pairwise(mine):
            assert 40 * MS <= after.started_ns - before.finished_ns < 40 * MS + LATE_NS
            rests.append(after.started_ns - before.finished_ns)
    assert quickest(rests) < 40 * MS + SOON_NS


def test_a_duration_ends_a_closed_loop(session: LoadSession, reference: ReferenceServer) -> None:
    """Nothing begins after it, what is under way ends, and that is no stopping and no giving up."""
    endless = (Entry(number, Phase.MEASURED, 0, True, request()) for number in itertools.count())
    schedule = LoadSchedule(duration_ns=1_000 * MS)
    plan = RequestPlan((target_of(reference),), deadlines(), 3, 1 << 40, endless, schedule=schedule)
    begun = time.monotonic()
    exchanges, stats = played(session, plan)
    assert time.monotonic() - begun < 60
    assert ok(exchanges)
    assert not stats.gave_up
    assert not stats.stopped
    assert len(exchanges) == stats.finished > 3
    late = [each for each in exchanges if each.started_ns > stats.started_ns + 1_000 * MS]
    assert len({each.slot for each in late}) == len(late), "a stream may be held up between the clock and its request"
    assert {exchange.slot for exchange in exchanges} == {0, 1, 2}


@pytest.mark.parametrize("is_open", [False, True])
def test_ramp_up_and_cool_down_are_outside(session: LoadSession, reference: ReferenceServer, is_open: bool) -> None:
    """The phase says which requests began, or were due, in the steady window."""
    window = LoadSchedule(duration_ns=300 * MS, steady_from_ns=100 * MS, steady_until_ns=200 * MS)
    if is_open:
        due_ns = [n * 10 * MS for n in range(30)]
        plan = open_plan(reference, due_ns)
        plan = replace(plan, schedule=replace(window, open_ahead=2, duration_ns=0))
    else:
        endless = (Entry(number, Phase.MEASURED, 0, True, request()) for number in itertools.count())
        plan = RequestPlan((target_of(reference),), deadlines(), 1, 1 << 40, endless, schedule=window)
    exchanges, stats = played(session, plan)
    assert ok(exchanges)
    for exchange in exchanges:
        begins = (exchange.due_ns if is_open else exchange.started_ns) or 0
        near = min(abs(begins - stats.started_ns - edge * MS) for edge in (100, 200)) < 5 * MS
        inside = 100 * MS <= begins - stats.started_ns < 200 * MS
        assert near or (exchange.phase is Phase.MEASURED) is inside
        assert exchange.phase in (Phase.MEASURED, Phase.OUTSIDE)
    if is_open:
        assert sum(exchange.phase is Phase.MEASURED for exchange in exchanges) == 10


def test_long_silence_is_no_fault_of_a_slow_plan(session: LoadSession, reference: ReferenceServer) -> None:
    """A pause of the plan longer than any deadline is waited for."""
    plan = open_plan(reference, [0, 700 * MS])
    limits = replace(deadlines(), connect_ns=50 * MS, total_ns=100 * MS)
    exchanges, _ = played(session, replace(plan, deadlines=limits, longest_pause_ns=700 * MS))
    assert ok(exchanges)
