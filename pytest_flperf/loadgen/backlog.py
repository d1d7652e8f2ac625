"""Backlog: plan entries that have not started yet."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Any

__all__ = ["Backlog"]

_Entry = tuple[Any, ...]


class Backlog:
    """Queue of pending entries; follow-ups come before the plan's own.

    The plan's own entries keep their order.
    """

    __slots__ = ("_later", "_numbers", "_queue", "taken")

    def __init__(self) -> None:
        self._queue: deque[_Entry] = deque()
        self._later: list[tuple[int, int, _Entry]] = []  # start time, unique number, entry
        self._numbers = itertools.count()
        self.taken = 0
        """How many entries have come so far."""

    def __bool__(self) -> bool:
        return bool(self._queue or self._later)

    def add(self, entries: Iterable[_Entry]) -> None:
        """Add entries of the plan."""
        before = len(self._queue)
        self._queue.extend(entries)
        self.taken += len(self._queue) - before

    def add_later(self, entry: _Entry, from_ns: int) -> None:
        """Add an entry that may not start before a monotonic time."""
        heapq.heappush(self._later, (from_ns, next(self._numbers), entry))
        self.taken += 1

    def first(self, now_ns: int) -> _Entry | None:
        """Next entry to start; None where none may start now."""
        if self._later and self._later[0][0] <= now_ns:
            return self._later[0][2]
        return self._queue[0] if self._queue else None

    def take(self, entry: _Entry) -> None:
        """Remove the entry that :meth:`first` returned: it starts."""
        if self._queue and self._queue[0] is entry:
            self._queue.popleft()
        else:
            heapq.heappop(self._later)

    def wake_ns(self, now_ns: int) -> int:
        """When the next delayed entry may start; 0: never."""
        return self._later[0][0] if self._later and self._later[0][0] > now_ns else 0

    def clear(self) -> None:
        """Drop all entries that have not started."""
        self._queue.clear()
        self._later.clear()
