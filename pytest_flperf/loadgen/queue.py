"""Queues between both processes: plan entries out, ended requests back."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from pytest_flperf.clock import kernel_stamps_ns
from pytest_flperf.loadgen.entry_pool import EntryPool
from pytest_flperf.loadgen.plan import Entry, RequestPlan
from pytest_flperf.wire.exchange import Ending, Exchange, Phase

__all__ = ["Incoming", "Supply", "longest_silence_s"]

_WINDOW: Final = 256
_WINDOW_BYTES: Final = 32 << 20
_AHEAD_NS: Final = 1_000_000_000
_POOL_AHEAD_NS: Final = 100_000_000
"""Entries for requests that end within this time are taken ahead: the next ones arrive some ms after an end."""
_POOL_LEAST: Final = 32
_SILENCE_MARGIN_S: Final = 10.0


class Supply:
    """Hands a plan's entries to the load process, a window ahead.

    It never hands over more than the load process can hold with ease.
    """

    def __init__(self, plan: RequestPlan, pool: EntryPool | None = None) -> None:
        """``pool``: source of the entries instead of the plan."""
        self._entries = iter(plan.entries)
        self._pool = pool
        self._left = plan.total if pool is None else 0
        self._streams = plan.concurrency
        self._ended = 0
        self._window = plan.window or max(_WINDOW, 2 * plan.concurrency)
        self._strict = bool(plan.window)
        self._least = plan.concurrency + 1
        self._under_way: dict[tuple[int, int], int] = {}  # length of each entry's request
        self._bytes = 0
        self._next: Entry | None = None
        self._begun_ns = time.monotonic_ns()

    @property
    def over(self) -> bool:
        """Whether every entry was handed over and has ended."""
        return not self._left and not self._under_way and (self._pool is None or not self._pool.left)

    def ended(self, exchange: Exchange) -> None:
        """Count an ended request."""
        self._bytes -= self._under_way.pop((exchange.target, exchange.index), 0)
        self._ended += 1
        if self._pool is not None:
            self._pool.ended()

    def follows(self, entry: Entry) -> None:
        """Count a follow-up request, which an ended one caused."""
        self._count(entry)
        if self._pool is not None:
            self._pool.began()

    def more(self) -> list[Entry]:
        """Entries to hand over now.

        Raises ValueError if the plan has fewer entries than its total.
        """
        if self._pool is not None:
            return self._from_pool(self._pool)
        entries: list[Entry] = []
        plenty = len(self._under_way) > self._window // 2 and self._bytes <= _WINDOW_BYTES
        if plenty and not self._strict and not self._hurry():
            return entries
        while self._left and (self._room() or self._hurry()):
            entry, self._next = self._peek(), None
            self._left -= 1
            self._count(entry)
            entries.append(entry)
        return entries

    def _from_pool(self, pool: EntryPool) -> list[Entry]:
        """Entries from the shared pool, enough until the next refill.

        No more than that: the other processes take from the same pool.
        """
        entries: list[Entry] = []
        room = self._window
        if not self._strict:
            rate = self._ended / max(time.monotonic_ns() - self._begun_ns, 1)
            room = min(room, 2 * self._streams + _POOL_LEAST + round(rate * _POOL_AHEAD_NS))
            if len(self._under_way) > max(room // 2, self._streams):
                return entries  # many at a time cost less
        while len(self._under_way) < room and self._room():
            entry = pool.take(len(self._under_way), self._streams)
            if entry is None:
                break
            self._count(entry)
            entries.append(entry)
        return entries

    def _count(self, entry: Entry) -> None:
        self._bytes += len(entry.request)
        self._under_way[entry.target, entry.index] = len(entry.request)

    def _room(self) -> bool:
        if self._bytes > _WINDOW_BYTES and len(self._under_way) >= self._least:
            return False
        return len(self._under_way) < self._window

    def _hurry(self) -> bool:
        """Whether the next entry is due soon.

        Then it goes out whatever else is in flight.  The plan started later than this clock.
        """
        if not self._left:
            return False
        due_ns = self._peek().due_ns
        return due_ns is not None and due_ns < time.monotonic_ns() - self._begun_ns + _AHEAD_NS

    def _peek(self) -> Entry:
        if self._next is None:
            self._next = next(self._entries, None)
            if self._next is None:
                raise ValueError(f"the plan's entries ended {self._left} short of its total")
        return self._next


def longest_silence_s(plan: RequestPlan) -> float:
    """Longest silence of a healthy load process, in seconds.

    Every request has ended by then, so a load process that is silent for longer must be stuck.
    """
    limits = plan.deadlines
    if not (limits.total_ns and limits.connect_ns):
        return math.inf
    # Each connection is tried twice at most: before the plan's first request and for its own.
    return (2 * limits.connect_ns + limits.total_ns + plan.longest_pause_ns) / 1e9 + _SILENCE_MARGIN_S


class Incoming:
    """Rebuilds exchanges from the load process's frames."""

    def __init__(self, reasoning_tags: bool) -> None:
        """``reasoning_tags``: the plan's setting."""
        self._reasoning_tags = reasoning_tags
        self._parts: list[tuple[bytes, list[int], list[int], bytes]] = []

    def take(self, frame: tuple[Any, ...]) -> Exchange | None:
        """Take a frame; returns an exchange once it is complete.

        A ``part`` frame holds some reads; an ``exchange`` frame holds the last reads and completes the exchange.
        """
        if frame[0] == "part":
            self._parts.append(frame[1:])
            return None
        parts, self._parts = [*self._parts, frame[-4:]], []
        stamps, read_ns, sizes, raw = parts[0] if len(parts) == 1 else _joined(parts)
        return _exchange_of((*frame[1:-4], stamps, read_ns, sizes, raw), reasoning_tags=self._reasoning_tags)


def _joined(
    parts: Sequence[tuple[bytes, list[int], list[int], bytes]],
) -> tuple[bytes, list[int], list[int], bytes]:
    stamps, read_ns, sizes, raw = zip(*parts, strict=True)
    return b"".join(stamps), list(chain(*read_ns)), list(chain(*sizes)), b"".join(raw)


def _exchange_of(values: tuple[Any, ...], *, reasoning_tags: bool) -> Exchange:
    """Build an Exchange from the load process's values.

    Kernel stamps become monotonic here, off the measured path.
    """
    (
        index, phase, target, stream, slot, due_ns, connect_ns, started_ns, sent_ns, finished_ns, offset_ns,
        end_offset_ns, ending, detail, left_out_bytes, stamps, read_ns, sizes, raw,
    ) = values  # fmt: skip
    arrivals = kernel_stamps_ns(stamps)
    moved = end_offset_ns - offset_ns if any(arrivals) else 0
    stamped = [arrival for arrival in arrivals if arrival]
    source = "user" if not stamped else "kernel" if len(stamped) == len(arrivals) else "mixed"
    slope = moved / max(finished_ns - started_ns, 1)
    monotonic = [
        arrival - offset_ns - round(slope * (read - started_ns)) if arrival else read
        for arrival, read in zip(arrivals, read_ns, strict=True)
    ]
    return Exchange(
        index=index,
        phase=Phase(phase),
        target=target,
        stream=stream,
        slot=slot,
        due_ns=due_ns,
        connect_ns=connect_ns,
        started_ns=started_ns,
        sent_ns=sent_ns,
        finished_ns=finished_ns,
        read_arrival_ns=tuple(monotonic),
        read_lag_ns=tuple(read - at for at, read in zip(monotonic, read_ns, strict=True)) if source != "user" else (),
        read_bytes=tuple(sizes),
        clock_source=source,
        clock_moved_ns=moved,
        ending=Ending(ending),
        detail=detail,
        raw=raw,
        left_out_bytes=left_out_bytes,
        reasoning_tags=reasoning_tags,
    )
