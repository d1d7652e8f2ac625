"""Entry pool of a closed loop, shared by load processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pytest_flperf.loadgen.plan import Entry

__all__ = ["EntryPool"]


class EntryPool:
    """Entries not taken yet, and the requests in flight in all processes.

    A process with more streams, or with quicker answers, takes more of them; so all streams are busy to the end.
    """

    def __init__(self, entries: Iterable[Entry], total: int, streams: int, lock: threading.Lock) -> None:
        """``lock``: held while an entry is made; ``streams``: of all processes."""
        self._entries = iter(entries)
        self._streams = streams
        self._lock = lock
        self._under_way = 0
        self.left = total
        """Number of entries not taken yet."""

    def take(self, held: int, streams: int) -> Entry | None:
        """Take the next entry; None where this process gets no more now.

        The process says how many entries it holds and how many streams it has.

        Ahead of its streams it gets its share of what is left, so that none waits in one process while another idles.
        """
        with self._lock:
            share = (self.left + self._under_way) * streams // self._streams
            if not self.left or held >= max(streams, share):
                return None
            entry = next(self._entries, None)
            if entry is None:
                raise ValueError(f"the plan's entries ended {self.left} short of its total")
            self.left -= 1
            self._under_way += 1
            return entry

    def began(self) -> None:
        """Count a follow-up request, which an ended one caused."""
        with self._lock:
            self._under_way += 1

    def ended(self) -> None:
        """Count an ended request."""
        with self._lock:
            self._under_way -= 1
