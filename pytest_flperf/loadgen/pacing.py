"""Pacing: when the next request of a plan may start.

That depends on free streams, pauses, due times and the plan's end.
"""

from __future__ import annotations

import heapq
import time
from typing import Final

from pytest_flperf.clock import KERNEL_STAMPS_POSSIBLE
from pytest_flperf.loadgen.plan import LoadSchedule

__all__ = ["Pacing", "rest_until"]

_NEVER: Final = 0
# epoll takes whole milliseconds and rounds up: a shorter wait is made of short sleeps.  What arrives meanwhile is read
# later; the kernel has stamped it.
_NEAR_S: Final = 0.0012
_EPOLL_STEP_S: Final = 0.001
_REST_S: Final = 0.0003 if KERNEL_STAMPS_POSSIBLE else 0.00005


def rest_until(left_s: float) -> float:
    """How long to wait for events when something is due in ``left_s``.

    Sleeps instead where the milliseconds of epoll are too coarse for it.
    """
    if left_s > _NEAR_S:
        return left_s - _EPOLL_STEP_S
    if left_s > 0:
        time.sleep(min(left_s, _REST_S))
    return 0.0


class Pacing:
    """Streams of one plan and their timing.

    All times are monotonic ns; 0 stands for never.
    """

    __slots__ = ("_due_ns", "_free", "_resting", "_schedule", "started_ns")

    def __init__(self, schedule: LoadSchedule, streams: int) -> None:
        self._schedule = schedule
        self._free = list(range(streams - 1, -1, -1))
        self._resting: list[tuple[int, int]] = []  # time from which a stream is free again, and its number
        self._due_ns = _NEVER
        self.started_ns = 0

    def begin(self, now_ns: int) -> None:
        """Start the plan: its times count from now."""
        self.started_ns = now_ns
        stagger_ns = self._schedule.stagger_ns
        if stagger_ns:
            streams = self._free[::-1]
            self._resting = [(now_ns + stagger_ns * n // len(streams), slot) for n, slot in enumerate(streams)]
            self._free.clear()

    def release(self, slot: int, now_ns: int) -> None:
        """Free the stream of an ended request."""
        think_ns = self._schedule.think_ns
        if think_ns:
            heapq.heappush(self._resting, (now_ns + think_ns, slot))
        else:
            self._free.append(slot)

    def slot_for(self, due_ns: int | None, now_ns: int) -> int | None:
        """Free stream for the next entry, if it may start now.

        Args:
            due_ns: When the entry is due, from the start of the plan; None: when a stream is free.
            now_ns: The time.

        """
        self._due_ns = self.started_ns + (due_ns or 0)
        resting = self._resting
        while resting and resting[0][0] <= now_ns:
            self._free.append(heapq.heappop(resting)[1])
        if not self._free or self._due_ns > now_ns or self.over(now_ns):
            return None
        return self._free.pop()

    def wake_ns(self, *, waiting: bool) -> int:
        """When to try for a stream again although no request ended.

        ``waiting``: whether the last one got none.  A caller that waits only for answers must not be woken for
        streams: it would be woken for ever.
        """
        wake_ns = self._end_ns
        if waiting:
            next_ns = self._due_ns if self._free else self._resting[0][0] if self._resting else _NEVER
            if next_ns and (not wake_ns or next_ns < wake_ns):
                wake_ns = next_ns
        return wake_ns

    def over(self, now_ns: int) -> bool:
        """Whether the plan's duration is over."""
        return bool(self._end_ns) and now_ns >= self._end_ns

    def steady(self, now_ns: int) -> bool:
        """Whether a start or due time lies in the steady window.

        That is the time between ramp-up and cool-down.
        """
        since_ns, schedule = now_ns - self.started_ns, self._schedule
        return since_ns >= schedule.steady_from_ns and not 0 < schedule.steady_until_ns <= since_ns

    @property
    def _end_ns(self) -> int:
        return self.started_ns + self._schedule.duration_ns if self._schedule.duration_ns else _NEVER
