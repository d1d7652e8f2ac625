"""Which stream may begin, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.loadgen.pacing import Pacing
from pytest_flperf.loadgen.plan import LoadSchedule

START = 5_000
STEPS = st.lists(st.tuples(st.sampled_from(["ask", "end", "wait"]), st.integers(0, 50)), max_size=80)


def begun(streams: int, **schedule: int) -> Pacing:
    """A plan that began at ``START``."""
    pacing = Pacing(LoadSchedule(**schedule), streams)
    pacing.begin(START)
    return pacing


@given(st.integers(1, 6), st.integers(0, 40), st.integers(0, 40), st.integers(0, 300), STEPS)
def test_streams(streams: int, think_ns: int, stagger_ns: int, duration_ns: int, steps: list[tuple[str, int]]) -> None:
    """No stream has two requests, none begins before it has rested, and nothing begins after the end."""
    pacing = begun(streams, think_ns=think_ns, stagger_ns=stagger_ns, duration_ns=duration_ns)
    now, busy, free_from = START, set[int](), dict.fromkeys(range(streams), START)
    for step, number in steps:
        if step == "wait":
            now += number
        elif step == "end" and busy:
            slot = sorted(busy)[number % len(busy)]
            busy.remove(slot)
            free_from[slot] = now + think_ns
            pacing.release(slot, now)
        elif step == "ask":
            found = pacing.slot_for(None, now)
            if found is None:
                over = bool(duration_ns) and now >= START + duration_ns
                idle = [slot for slot in range(streams) if slot not in busy]
                assert over or all(max(free_from[slot], START + stagger_ns * slot // streams) > now for slot in idle)
                wake = pacing.wake_ns(waiting=True)
                assert over or not idle or wake > now
            else:
                assert found not in busy
                assert free_from[found] <= now
                assert not duration_ns or now < START + duration_ns
                busy.add(found)


def test_open_loop() -> None:
    """A request begins when it is due, or when a stream is free if that is later."""
    pacing = begun(1)
    assert pacing.slot_for(100, START + 99) is None
    assert pacing.wake_ns(waiting=True) == START + 100
    assert pacing.slot_for(100, START + 100) == 0
    assert pacing.slot_for(150, START + 200) is None, "the only stream is busy"
    assert pacing.wake_ns(waiting=True) == 0
    pacing.release(0, START + 300)
    assert pacing.slot_for(150, START + 300) == 0


def test_streams_begin_one_after_the_other() -> None:
    """A ramp-up of four streams over 100 ns: one at once, then one every 25."""
    pacing = begun(4, stagger_ns=100)
    times = []
    for now in range(START, START + 101):
        if pacing.slot_for(None, now) is not None:
            times.append(now - START)
    assert times == [0, 25, 50, 75]


@pytest.mark.parametrize(("at", "steady"), [(0, False), (9, False), (10, True), (89, True), (90, False)])
def test_the_steady_window(at: int, steady: bool) -> None:
    """From the end of the ramp-up to the begin of the cool-down."""
    assert begun(1, steady_from_ns=10, steady_until_ns=90).steady(START + at) is steady
    assert begun(1).steady(START + at)
