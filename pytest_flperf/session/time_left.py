"""Time left: the position of a case in its run, and how long the rest may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

__all__ = ["TimeLeft"]

_SURE_SHARE: Final = 0.05
"""Share of the estimated work after which the speed of the run itself is known well enough."""
_SHORTEST_S: Final = 5.0
_MINUTE_S: Final = 60
_MINUTES_FROM_S: Final = 120


class TimeLeft:
    """Cases of a run with their estimated times, scaled by what the run has really taken."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        """``seconds``: estimated seconds of each case by node id, in order."""
        self._seconds = dict(seconds)
        self._places = {nodeid: index for index, nodeid in enumerate(self._seconds, 1)}
        self._total_s = math.fsum(self._seconds.values())
        self._ended: set[str] = set()
        self._current = ""
        self._begun_s: float | None = None

    def begin(self, nodeid: str, now_s: float) -> None:
        """Note that a case begins; the one before it has ended then."""
        if self._begun_s is None:
            self._begun_s = now_s
        if self._current and nodeid != self._current:
            self._ended.add(self._current)
        self._current = nodeid

    def place(self, nodeid: str) -> str:
        """Position of a case: ``3/22``; empty for a case that was not expected."""
        place = self._places.get(nodeid)
        return "" if place is None else f"{place}/{len(self._places)}"

    def left(self, nodeid: str, share: float, now_s: float) -> str:
        """Time left: ``40 s left``; empty as long as that is not known.

        Args:
            nodeid: The case under way.
            share: Of its requests that have ended, from 0 to 1.
            now_s: Now, on the clock of :meth:`begin`.

        """
        if self._begun_s is None or not self._total_s:
            return ""
        done_s = math.fsum(self._seconds.get(each, 0.0) for each in self._ended)
        done_s += min(max(share, 0.0), 1.0) * self._seconds.get(nodeid, 0.0)
        if done_s < _SURE_SHARE * self._total_s:
            return ""
        left_s = (self._total_s - done_s) * (now_s - self._begun_s) / done_s
        if left_s < _SHORTEST_S:
            return ""
        if left_s < _MINUTES_FROM_S:
            return f"{math.ceil(left_s)} s left"
        return f"{math.ceil(left_s / _MINUTE_S)} min left"
