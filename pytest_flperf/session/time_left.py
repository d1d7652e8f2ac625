"""Time left: the position of a case in its run, and how long the rest may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Expected", "TimeLeft"]

_SURE_SHARE: Final = 0.05
"""Share of the estimated work after which the speed of the run itself is known well enough."""
_MOST_SHARE: Final = 0.99
"""Share of a case that is measured by time, as long as it has not ended."""
_SHORTEST_S: Final = 5.0
_MINUTE_S: Final = 60
_MINUTES_FROM_S: Final = 120


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a case before it is measured."""

    seconds: float
    by_time: bool = False
    """Whether its progress is told by time: of a duration, a search or turns the number of requests is not known."""


class TimeLeft:
    """Cases of a run with their estimated times, scaled by what the run has really taken."""

    def __init__(self, cases: Mapping[str, Expected], ends_at_s: float | None = None) -> None:
        """Expect these cases.

        Args:
            cases: What is expected of each by node id, in order.
            ends_at_s: When the run will be ended, on the clock of :meth:`begin`; None: never.

        """
        self._cases = cases
        self._ends_at_s = ends_at_s
        self._places = {nodeid: index for index, nodeid in enumerate(cases, 1)}
        self._begun: dict[str, None] = {}
        self._begun_s = self._case_begun_s = 0.0
        self._current = ""
        self._share = 0.0

    def begin(self, nodeid: str, now_s: float) -> None:
        """Note that a case begins; the one before it has ended then."""
        if not self._begun:
            self._begun_s = now_s
        if nodeid != self._current:
            self._current, self._share, self._case_begun_s = nodeid, 0.0, now_s
        self._begun[nodeid] = None

    def place(self, nodeid: str) -> str:
        """Position of a case: ``3/22``; empty for a case that was not expected."""
        place = self._places.get(nodeid)
        return "" if place is None else f"{place}/{len(self._places)}"

    def left(self, share: float, now_s: float) -> str:
        """Time left: ``40 s left``; empty as long as that is not known.

        Args:
            share: Of the current case's requests that have ended, from 0 to 1.
            now_s: Now, on the clock of :meth:`begin`.

        """
        case = self._cases.get(self._current)
        if case is not None and case.by_time and _usable(case.seconds):
            share = min((now_s - self._case_begun_s) / case.seconds, _MOST_SHARE)
        self._share = min(max(share, self._share), 1.0)
        done_s = self._seconds_of_current() * self._share + sum(
            self._seconds(each) for each in self._begun if each != self._current
        )
        ahead_s = self._seconds_of_current() * (1 - self._share) + sum(
            self._seconds(each) for each in self._cases if each not in self._begun and not self._is_passed_over(each)
        )
        if not done_s or done_s < _SURE_SHARE * (done_s + ahead_s):
            return ""
        left_s = ahead_s * (now_s - self._begun_s) / done_s
        if self._ends_at_s is not None:
            left_s = min(left_s, self._ends_at_s - now_s)
        return _words(left_s)

    def _is_passed_over(self, nodeid: str) -> bool:
        """Whether a case was not begun although a later one is: it was skipped."""
        current = self._places.get(self._current)
        return current is not None and self._places[nodeid] < current

    def _seconds_of_current(self) -> float:
        return self._seconds(self._current)

    def _seconds(self, nodeid: str) -> float:
        case = self._cases.get(nodeid)
        return case.seconds if case is not None and _usable(case.seconds) else 0.0


def _usable(seconds: float) -> bool:
    return 0 < seconds < math.inf


def _words(left_s: float) -> str:
    if not _SHORTEST_S <= left_s < math.inf:
        return ""
    if left_s < _MINUTES_FROM_S:
        return f"{math.ceil(left_s)} s left"
    return f"{math.ceil(left_s / _MINUTE_S)} min left"
