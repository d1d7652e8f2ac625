"""Server-sent events, as the WHATWG HTML standard (section 9.2) parses them, with the place where each one ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Event", "Events", "parse_events"]

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"
_KNOWN_FIELDS: Final = frozenset({b"event", b"id", b"retry"})
_STRAY_LIMIT: Final = 2_048


@dataclass(frozen=True, slots=True)
class Event:
    """The data of one event."""

    data: bytes
    end: int
    """Offset in the payload of the byte that completed the data: the first byte of its last line's end."""


@dataclass(frozen=True, slots=True)
class Events:
    """A payload taken apart."""

    events: tuple[Event, ...]
    unfinished: Event | None
    """Data at the end of the payload that no blank line dispatched."""
    stray: bytes
    """Lines that are no field of the standard (servers put error texts there), 2 kB at most."""


def parse_events(payload: bytes) -> Events:
    """Take a payload apart.  Comments and fields other than ``data`` are passed over; nothing raises."""
    events: list[Event] = []
    stray: list[bytes] = []
    data: list[bytes] = []
    data_end = 0
    start = len(_BOM) if payload.startswith(_BOM) else 0
    for match in _LINE_END.finditer(payload, start):
        end = match.start()
        line = payload[start:end]
        start = match.end()
        if not line:
            if data:
                events.append(Event(b"\n".join(data), data_end))
                data = []
        elif line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
            data_end = end
        elif line == b"data":
            data.append(b"")  # a field without a colon has an empty value
            data_end = end
        else:
            _note_stray(line, stray)
    rest = payload[start:]
    if rest.startswith(b"data:"):
        data.append(rest[6:] if rest[5:6] == b" " else rest[5:])
        data_end = max(len(payload) - 1, 0)
    elif rest:
        _note_stray(rest, stray)
    unfinished = Event(b"\n".join(data), data_end) if data else None
    return Events(tuple(events), unfinished, b"\n".join(stray)[:_STRAY_LIMIT])


def _note_stray(line: bytes, stray: list[bytes]) -> None:
    field = line.partition(b":")[0]
    if field and field not in _KNOWN_FIELDS and field != b"data" and len(stray) < 64:
        stray.append(line[:_STRAY_LIMIT])
