"""Byte arrival times of an answer, and chunks that share reads."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import Final

from pytest_flperf.wire.exchange import READ_BYTES, Exchange
from pytest_flperf.wire.framing import Body, Segments

__all__ = ["Arrivals", "first_read_window_ns", "sharing"]

_FASTEST_NS: Final = 50_000
"""Between two chunks of one stream: no model writes 20,000 a second, and a buffer that is emptied looks so."""
_BURST: Final = 4
"""Chunks to a read, from which on a stream may come out of a buffer."""


class Arrivals:
    """Arrival time of each byte of the raw answer and its payload."""

    def __init__(self, exchange: Exchange, body: Body | None) -> None:
        self._stamps = exchange.read_arrival_ns
        self._ends = list(accumulate(exchange.read_bytes))
        self._begins, self._places = body.segments if body else Segments((), ())
        # Position of the last lookup: there are thousands of them in ascending order, and stepping on is quicker than
        # searching anew.
        self._segment = self._read = 0

    @property
    def part(self) -> int:
        """Number of the body part that holds the last looked-up payload byte.

        In a chunked body a part is an HTTP chunk.
        """
        return self._segment

    def of_raw(self, offset: int) -> int | None:
        """Arrival of the raw answer's byte ``offset``."""
        read = bisect_right(self._ends, offset)
        return self._stamps[read] if read < len(self._stamps) else None

    def of_payload(self, offset: int) -> int | None:
        """Arrival of the payload's byte ``offset``; offsets must not decrease."""
        begins, segment = self._begins, self._segment
        if not begins:
            return None
        last = len(begins) - 1
        while segment < last and begins[segment + 1] <= offset:
            segment += 1
        self._segment = segment
        raw = self._places[segment] + offset - begins[segment]
        ends, read = self._ends, self._read
        while read < len(ends) and ends[read] <= raw:
            read += 1
        self._read = read
        return self._stamps[read] if read < len(self._stamps) else None


def sharing(chunk_ns: tuple[int, ...], together: int) -> tuple[int, float, float]:
    """Coalescing of chunks into reads.

    How many chunks shared a read, the first read's surplus, and the share of the chunks that came with the first.

    Reads are told apart by their one arrival.

    Args:
        chunk_ns: Arrivals of the chunks.
        together: How many of them certainly left the server together with the first, itself included.

    """
    if not chunk_ns:
        return 0, 0.0, 0.0
    per_read = Counter(chunk_ns)
    chunks, first = len(chunk_ns), per_read[chunk_ns[0]]
    is_burst = chunks >= _BURST * len(per_read) and chunk_ns[-1] - chunk_ns[0] < _FASTEST_NS * (chunks - 1)
    share = 1.0 if is_burst else first / chunks if first > 1 else 0.0
    coalesced = sum(count for count in per_read.values() if count > 1)
    return coalesced, max(0.0, first - max(together, _median(list(per_read.values())))), share


def first_read_window_ns(exchange: Exchange, first_ns: int) -> int | None:
    """Longest fill time of the first token's read, in ns.

    From the last read that left the socket empty to the stamp of the first token's read.
    """
    read = exchange.read_arrival_ns.index(first_ns)
    if read == 0:
        return None if exchange.sent_ns is None else first_ns - exchange.sent_ns
    if exchange.read_bytes[read - 1] >= READ_BYTES:
        return None  # the buffer was full: more may have been waiting
    lag_ns = exchange.read_lag_ns[read - 1] if exchange.read_lag_ns else 0
    return max(0, first_ns - exchange.read_arrival_ns[read - 1] - lag_ns)


def _median(counts: list[int]) -> float:
    # statistics.median, without the 10 ms that importing it costs the load process
    counts.sort()
    return (counts[(len(counts) - 1) // 2] + counts[len(counts) // 2]) / 2
