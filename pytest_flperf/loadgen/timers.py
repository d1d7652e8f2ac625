"""Timer queue for connection deadlines: few timers, many connections."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_flperf.loadgen.connection import Connection

__all__ = ["Timers"]


class Timers:
    """Timer queue: which connections are due for a deadline check."""

    def __init__(self, connections: Mapping[int, Connection]) -> None:
        """``connections``: open ones by file number; the owner adds and removes."""
        self.heap: list[tuple[int, int, Connection]] = []
        """Time, unique number, connection; the loop reads the first."""
        self._connections = connections
        self._numbers = itertools.count()

    def set(self, when_ns: int, connection: Connection) -> None:
        """Check the connection at that time, not earlier; 0: never."""
        connection.deadline_ns = when_ns
        # A timer that fires too early is moved on: so there are few of them, however many requests there are.
        if not when_ns or 0 < connection.timer_ns <= when_ns:
            return
        connection.timer_ns = when_ns
        heapq.heappush(self.heap, (when_ns, next(self._numbers), connection))
        if len(self.heap) > 4 * len(self._connections) + 256:
            # In place: the loop holds the list.
            self.heap[:] = [timer for timer in self.heap if self._counts(*timer)]
            heapq.heapify(self.heap)

    def fire(self, now_ns: int) -> Iterator[Connection]:
        """Connections whose timer has expired."""
        while self.heap and self.heap[0][0] <= now_ns:
            when_ns, _number, connection = heapq.heappop(self.heap)
            if connection.timer_ns != when_ns:
                continue  # an earlier one has taken its place
            connection.timer_ns = 0
            if connection.deadline_ns > now_ns:
                self.set(connection.deadline_ns, connection)
            elif connection.deadline_ns:
                yield connection

    def _counts(self, when_ns: int, _number: int, connection: Connection) -> bool:
        return connection.timer_ns == when_ns and self._connections.get(connection.fd) is connection
