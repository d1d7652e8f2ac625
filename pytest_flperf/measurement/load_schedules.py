"""Load schedules of closed and open loops, and deadlines, in ns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pytest_flperf.loadgen.plan import Deadlines, LoadSchedule
from pytest_flperf.measurement.arrivals import arrival_seed, due_times_ns, traced_times_ns
from pytest_flperf.suite.model import Case, LoadShape, Timeouts

__all__ = ["OpenLoop", "closed_loop", "deadlines", "open_loop", "whole_ns"]

_NS_PER_S: Final = 1_000_000_000
_OPEN_AHEAD: Final = 8


def whole_ns(seconds: float) -> int:
    """Whole nanoseconds of a time in seconds."""
    return round(seconds * _NS_PER_S)


def deadlines(timeouts: Timeouts) -> Deadlines:
    """Deadlines in ns, from timeouts in seconds.

    None becomes 0 (no deadline).
    """

    def ns(seconds: float | None) -> int:
        return 0 if seconds is None else max(whole_ns(seconds), 1)

    return Deadlines(
        connect_ns=ns(timeouts.connect_s),
        headers_ns=ns(timeouts.headers_s),
        first_token_ns=ns(timeouts.first_token_s),
        stall_ns=ns(timeouts.stall_s),
        total_ns=ns(timeouts.total_s),
    )


def closed_loop(load: LoadShape) -> LoadSchedule:
    """Schedule of a closed loop: think time, ramp-up, duration, steady window."""
    return LoadSchedule(
        think_ns=whole_ns(load.think_time_s),
        stagger_ns=whole_ns(load.ramp_up_s),
        duration_ns=whole_ns(load.duration_s or 0.0),
        steady_from_ns=whole_ns(load.ramp_up_s),
        steady_until_ns=whole_ns(load.duration_s - load.cool_down_s) if load.duration_s is not None else 0,
    )


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Open loop: when its requests are due, whatever has ended."""

    due_ns: Callable[[], Iterator[int]]
    """When each request is due, from the start of the plan; the same at each call."""
    total: int
    """Number of requests."""
    schedule: LoadSchedule
    longest_pause_ns: int
    """Longest time in which no request is due."""


def open_loop(case: Case, seed: str) -> OpenLoop:
    """Open loop of a case: arrivals by its load, reproducible by seed."""
    settings, load = case.scenario.settings, case.scenario.settings.load
    arrivals = arrival_seed(seed, case)

    def due_ns() -> Iterator[int]:
        source = case.scenario.source
        if load.kind == "trace" and source is not None:
            return traced_times_ns(load, settings.iterations, (each.due_s for each in source.trace))
        return due_times_ns(load, settings.iterations, arrivals)

    total = last_ns = longest_ns = 0
    for at_ns in due_ns():
        total += 1
        longest_ns, last_ns = max(longest_ns, at_ns - last_ns), at_ns
    end_ns = whole_ns(load.duration_s) if load.duration_s is not None else last_ns + 1
    schedule = LoadSchedule(
        open_ahead=max(_OPEN_AHEAD, load.burst_size or 0),
        steady_from_ns=whole_ns(load.ramp_up_s),
        steady_until_ns=end_ns - whole_ns(load.cool_down_s) if load.cool_down_s else 0,
    )
    return OpenLoop(due_ns, total, schedule, longest_ns)
