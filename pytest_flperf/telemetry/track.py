"""Sampling of one case: which readings count, and their sums."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from pytest_flperf.telemetry.attribution import with_unattributed
from pytest_flperf.telemetry.readings import Reading, ServerProcesses
from pytest_flperf.telemetry.sums import CaseResources, Sums, joined
from pytest_flperf.wire.exchange import Phase

__all__ = ["CaseResources", "Mark", "Track", "Watch"]

_AT_ONCE_S: Final = 0.001
"""How long the measuring thread waits for a requested reading; it takes about half of it."""
_LATE_S: Final = 0.25
"""How long a result waits for the last reading of a slow source."""
_FOR_EVER_NS: Final = 1 << 62


class Mark(Enum):
    """Moment at which an extra reading is taken."""

    MEASURED = "measured"
    """The first request that counts is about to be sent: the reading is the base of what follows, and not counted."""
    DONE = "done"
    """The last one has ended: the reading counts."""


class Track:
    """Sampling of a case by one source.

    The measuring thread sets marks, the source's thread adds readings.
    """

    def __init__(
        self,
        nodeid: str,
        server: ServerProcesses,
        metrics: Sequence[str],
        changed: threading.Condition,
        never: Mapping[str, str],
    ) -> None:
        """Start with the warm-up.

        Args:
            nodeid: The case.
            server: What serves it.
            metrics: What the source reads.
            changed: Condition of the source's thread; notified of every mark and every reading.
            never: Reasons for what the source can't ever read, as its thread finds them out.

        """
        self.nodeid = nodeid
        self.server = server
        self.phase = Phase.WARMUP.value
        self.over = False
        """Whether no more reading is wanted."""
        self._steady_ns: tuple[int, int] | None = None
        self._changed = changed
        self._never = never
        self._marks: deque[Mark] = deque()
        self._asked = self._answered = 0
        self._sums = Sums(metrics)
        self._told: Mapping[str, str] = {}

    @property
    def marked(self) -> bool:
        """Whether an extra reading is due."""
        return bool(self._marks)

    @property
    def fresh(self) -> bool:
        """Whether it has no reading yet."""
        return self._sums.before_ns is None

    def next_mark(self) -> Mark | None:
        """Mark that the next reading is for."""
        with self._changed:
            return self._marks.popleft() if self._marks else None

    def add(self, reading: Reading, phase: str, mark: Mark | None) -> str:
        """Add a reading; returns the phase of the time that it covers.

        The reading was begun in ``phase`` and for ``mark``.
        """
        with self._changed:
            if phase == Phase.MEASURED.value and not self._steady(reading.at_ns):
                phase = Phase.OUTSIDE.value
            self._sums.add(reading.at_ns, reading.values, counts=phase == Phase.MEASURED.value)
            self._sums.reasons.update(reading.absent)
            if mark is Mark.MEASURED:
                self.phase = Phase.MEASURED.value
            elif mark is Mark.DONE:
                self.over = True
            self._answered += mark is not None
            self._changed.notify_all()
            return phase

    def steady(self, from_ns: int, until_ns: int) -> None:
        """Count only readings of the measured phase between these moments."""
        with self._changed:
            self._steady_ns = (from_ns, until_ns)

    def _steady(self, at_ns: int) -> bool:
        """Whether a reading covers nothing but time of the steady window."""
        before_ns = self._sums.before_ns
        if self._steady_ns is None or before_ns is None:
            return True
        return self._steady_ns[0] <= before_ns and at_ns <= self._steady_ns[1]

    def mark(self, mark: Mark) -> None:
        """Request an extra reading; returns at once."""
        with self._changed:
            self._marks.append(mark)
            self._asked += 1
            self._changed.notify_all()

    def wait(self, until: float) -> None:
        """Wait until all marks have readings, at most until ``until``.

        ``until`` is a time of the monotonic clock.
        """
        with self._changed:
            while self._answered < self._asked and not self.over:
                left_s = until - time.monotonic()
                if left_s <= 0 or self._hopeless():
                    return
                self._changed.wait(left_s)

    def abandon(self) -> None:
        """Stop taking readings."""
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def news(self) -> Mapping[str, str]:
        """Reasons for missing metrics, where they changed since the last call."""
        with self._changed:
            known = {**self._sums.reasons, **self._never}
        if known == self._told:
            return {}
        self._told = known
        return known

    def result(self) -> CaseResources:
        """Resource use of the case."""
        with self._changed:
            return self._sums.result(self._never)

    def _hopeless(self) -> bool:
        return self._never.keys() >= self._sums.metrics


class Watch:
    """Watching of one case by all sources.

    Its methods are called in their order by the thread that measures.
    """

    def __init__(self, tracks: Sequence[Track]) -> None:
        """``tracks``: one for each source, the quickest source first."""
        self._tracks = tracks
        self._done = False

    def measured(self, steady_from_ns: int = 0, steady_until_ns: int = 0) -> None:
        """Start counting: the measured phase begins.

        Takes about half a millisecond, 1 ms at most.

        Args:
            steady_from_ns: How long the ramp-up takes.
            steady_until_ns: After which time the cool-down begins; 0: there is none.

        """
        if steady_from_ns or steady_until_ns:
            now_ns = time.monotonic_ns()
            for track in self._tracks:
                track.steady(now_ns + steady_from_ns, now_ns + steady_until_ns if steady_until_ns else _FOR_EVER_NS)
        self._mark(Mark.MEASURED)

    def done(self) -> None:
        """Stop counting: the last request has ended.

        Takes about half a millisecond, 1 ms at most.  A second call does nothing.
        """
        if not self._done:
            self._done = True
            self._mark(Mark.DONE)

    def result(self) -> CaseResources:
        """Resource use of the case.

        Waits up to a quarter of a second for the last reading of a slow source.
        """
        self.done()
        until = time.monotonic() + _LATE_S
        for track in self._tracks:
            track.wait(until)
            track.abandon()
        found = joined(track.result() for track in self._tracks)
        return with_unattributed(found, self._tracks[0].server) if self._tracks else found

    def _mark(self, mark: Mark) -> None:
        for track in self._tracks:
            track.mark(mark)
        # Only for the quickest: a driver may take its time.
        for track in self._tracks[:1]:
            track.wait(time.monotonic() + _AT_ONCE_S)
