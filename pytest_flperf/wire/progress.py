"""How far an answer has come that still streams."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from pytest_flperf.wire.chunks import Answer, load_json
from pytest_flperf.wire.framing import MalformedAnswerError, parse_head, unframe
from pytest_flperf.wire.sse import parse_events

__all__ = ["last_content_arrival"]


def last_content_arrival(raw: bytes, read_arrival_ns: Sequence[int], read_bytes: Sequence[int]) -> int | None:
    """Arrival of the last chunk with text in what has come of an answer that still streams (for its deadlines).

    Read from the end: mostly the last event has text, and the load process has other streams to look after.
    """
    try:
        head = parse_head(raw)
    except MalformedAnswerError:
        return None
    if head is None or head.status != 200:
        return None
    body = unframe(raw, head)
    starts = [start for start, _ in body.segments]
    for event in reversed(parse_events(body.payload).events):
        try:
            text, _answer = Answer().take(load_json(event.data))
        except ValueError:
            continue
        if text:
            segment = max(bisect_right(starts, event.end) - 1, 0)
            offset = body.segments[segment][1] + event.end - body.segments[segment][0]
            read = bisect_right(list(accumulate(read_bytes)), offset)
            return read_arrival_ns[min(read, len(read_arrival_ns) - 1)]
    return None
