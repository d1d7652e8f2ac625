"""Offsets between the clocks."""

from __future__ import annotations

import time

import pytest

from pytest_flperf import clock
from pytest_flperf.clock import RecentOffset, realtime_minus_monotonic_ns

MS = 1_000_000


def test_the_offset_is_that_of_the_clocks() -> None:
    """Within what a clock that is slewed may move while this runs."""
    before = realtime_minus_monotonic_ns()
    assert abs(RecentOffset().at(time.monotonic_ns()) - before) < 50 * MS


def test_one_reading_serves_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one sees a clock that was set meanwhile."""
    readings = iter([100, 5_000])
    monkeypatch.setattr(clock, "realtime_minus_monotonic_ns", lambda: next(readings))
    offset = RecentOffset()
    assert [offset.at(now) for now in (7, 7 + MS - 1, 7 + MS, 7 + 2 * MS - 1)] == [100, 100, 5_000, 5_000]
