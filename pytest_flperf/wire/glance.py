"""Glance: first token and token count of an answer, without decoding it.

For what is shown while a case is measured: its results come from the decoder.  A look reads the first events up to the
first with text, and the end; what lies between, and what is odd, it passes over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from pytest_flperf.wire.chunks import Answer, load_json
from pytest_flperf.wire.exchange import Ending, Exchange

__all__ = ["Glance", "glance"]

_OK: Final = re.compile(rb"HTTP/1\.[01] 200\b")
_EVENTS: Final = 16
"""Events that are searched for the first text: most servers begin with one without any."""
_LARGEST_EVENT: Final = 65_536
_END: Final = 4_096
"""Bytes at the end that are searched for the server's count."""
_COUNT: Final = re.compile(rb'"(?:completion_tokens|predicted_n)"\s*:\s*(\d{1,9})')
_WITHOUT_TEXT: Final = 2
"""Events without text that end a stream: the reason of its end, and ``[DONE]``."""
_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Glance:
    """What a look at an answer tells."""

    ttft_ms: float | None
    """Time to the first token, late read or not; None without streaming, or where none was found."""
    tokens: int | None
    """The server's own count; else about the number of events with text."""
    seconds: float
    """From when it was sent to its end."""


def glance(exchange: Exchange) -> Glance | None:
    """Look at an answer; None for one that is not whole, or no answer."""
    raw = exchange.raw
    if exchange.ending is not Ending.COMPLETE or exchange.sent_ns is None or not _OK.match(raw):
        return None
    seconds = (exchange.finished_ns - exchange.sent_ns) / _NS_PER_S
    first = _first_text(raw) if exchange.stream else None
    if first is None:
        return Glance(None, _counted(raw), seconds)
    begun_ns = exchange.sent_ns if exchange.due_ns is None else exchange.due_ns
    reads = zip(accumulate(exchange.read_bytes), exchange.read_arrival_ns, strict=False)
    arrival_ns = next((arrival_ns for end, arrival_ns in reads if end > first), None)
    ttft_ms = None if arrival_ns is None else (arrival_ns - begun_ns) / _NS_PER_MS
    count = _counted(raw)
    if count is None:
        count = max(raw.count(b"data:", first) + 1 - _WITHOUT_TEXT, 1)
    return Glance(ttft_ms, count, seconds)


def _first_text(raw: bytes) -> int | None:
    """Where the first event with text ends."""
    position = raw.find(b"\r\n\r\n") + 4
    for _ in range(_EVENTS):
        start = raw.find(b"data:", position)
        end = raw.find(b"\n", start)
        if start < 0 or not 0 < end - start <= _LARGEST_EVENT:
            return None
        try:
            if Answer().take(load_json(raw[start + 5 : end])) > 0:
                return end
        except ValueError:  # [DONE], or an event that the chunks of HTTP cut in two
            pass
        position = end
    return None


def _counted(raw: bytes) -> int | None:
    """The server's count of tokens; of several the last."""
    found = _COUNT.findall(raw, max(len(raw) - _END, 0))
    return int(found[-1]) if found else None
