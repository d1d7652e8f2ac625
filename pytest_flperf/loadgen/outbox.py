"""Outbox: queue of ended requests for the measuring process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Final

from pytest_flperf.loadgen.connection import Job

__all__ = ["Outbox"]

# Streams that start together end together: their reports are sent bit by bit, while the next requests are in flight, so
# that the measuring process doesn't wake up to hundreds of answers when the server is busiest.
_TELL_NS: Final = 1_000_000
_TELL_SHARE: Final = 64
_PART_BYTES: Final = 131_072
_PART_READS: Final = 512
"""Reads in one frame: an answer of ten minutes in one frame would hold up the loop for milliseconds."""
_LEFT_OUT_READS: Final = 256
"""Reads of an oversized answer to drop at a time: freeing their memory takes as long as a frame."""


class Outbox:
    """Reports ended requests in shares, one share every millisecond.

    Each share goes out in frames of a bounded size.
    """

    __slots__ = ("_kept", "_next", "_released", "_say", "_told_ns", "jobs")

    def __init__(self, say: Callable[..., None]) -> None:
        """``say`` sends a frame."""
        self._say = say
        self.jobs: deque[Job] = deque()
        """Requests not reported yet; the loop checks whether there are any."""
        self._released = 0
        self._next = 0  # the first read of the first request that was not reported
        self._kept = -1  # how many of its reads are reported; negative: not known yet
        self._told_ns = 0

    def clear(self) -> None:
        """Reset for a new plan."""
        self.jobs.clear()
        self._released = self._next = 0
        self._kept = -1

    @property
    def released(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._released)

    def patience_ns(self) -> int:
        """How long the next share may wait."""
        return 0 if self._released else _TELL_NS

    def add(self, job: Job) -> None:
        """Queue an ended request."""
        self.jobs.append(job)

    def release(self, now_ns: int, *, all_of_them: bool) -> None:
        """Release the next share when it is due."""
        if now_ns - self._told_ns >= _TELL_NS:
            self._told_ns = now_ns
            share = len(self.jobs) if all_of_them else 1 + len(self.jobs) // _TELL_SHARE
            self._released = max(self._released, share)

    def send(self, until_ns: int) -> None:
        """Send the released share within a time budget, at least one frame."""
        while self._released:
            self._send_frame()
            if monotonic_ns() >= until_ns:
                return

    def send_all(self) -> None:
        """Send everything."""
        self._released = len(self.jobs)
        while self._released:
            self._send_frame()

    def _send_frame(self) -> None:
        job, start = self.jobs[0], self._next
        if self._kept < 0:
            self._kept = job.kept_reads()
        if len(job.parts) > self._kept:
            job.leave_out(min(_LEFT_OUT_READS, len(job.parts) - self._kept))
            return
        size = 0
        end = min(len(job.parts), start + _PART_READS)
        for number in range(start, end):
            size += len(job.parts[number])
            if size >= _PART_BYTES:
                end = number + 1
                break
        reads = job.reads(start, end)
        if end < len(job.parts):
            self._next = end
            self._say("part", *reads)
            return
        self.jobs.popleft()
        self._released -= 1
        self._next, self._kept = 0, -1
        self._say("exchange", *job.facts(), *reads)
