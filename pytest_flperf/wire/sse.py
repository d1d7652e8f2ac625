"""Server-sent events, with the position of each one's end.

As the WHATWG HTML standard (section 9.2) parses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Event", "Events", "is_end"]

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"
_KNOWN_FIELDS: Final = frozenset({b"id", b"retry"})
_ENDS: Final = (b"[done]", b"done", b"[end]", b"eof")
_STRAY_LIMIT: Final = 2_048
_STRAY_LINES: Final = 64
_NAME_LIMIT: Final = 100
_WINDOW: Final = 65_536


class Event(NamedTuple):
    """Data of one server-sent event.

    A tuple, because there is one for every chunk and a frozen dataclass costs three times as much.
    """

    data: bytes
    end: int
    """Offset in the payload of the byte that completed the data: the first byte of its last line's end."""
    name: bytes = b""
    """Its ``event:`` field, 100 bytes at most; empty for most."""


def is_end(data: bytes) -> bool:
    """Whether event data marks the end of the answer.

    ``[DONE]``, and how else servers write it.
    """
    return data.strip().lower() in _ENDS


class Events:
    """Iterator over the events of a payload, usable once.

    Comments and fields other than ``data`` and ``event`` are skipped; nothing raises.  It holds a window of the
    payload and not all of its lines: there may be as many lines as bytes.
    """

    def __init__(self, payload: bytes) -> None:
        self.unfinished: Event | None = None
        """After iteration: data at the end of the payload that no blank line dispatched."""
        self._stray: list[bytes] = []
        self._payload = payload
        self._rest = b""

    @property
    def stray(self) -> bytes:
        """Lines so far that are no SSE field, at most 2 kB.

        Servers put error texts there.
        """
        return b"\n".join(self._stray)[:_STRAY_LIMIT]

    def __iter__(self) -> Iterator[Event]:
        """Yield each event that a blank line completed."""
        stray = self._stray
        data: list[bytes] = []
        data_end = 0
        name = b""
        for line, end in self._lines():
            if not line:
                if data:
                    yield Event(data[0] if len(data) == 1 else b"\n".join(data), data_end, name)
                    data = []
                elif name:  # the standard passes it over, but a name may be all that is said of an error
                    yield Event(b"", end, name)
                name = b""
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
                data_end = end
            elif line == b"data":
                data.append(b"")  # a field without a colon has an empty value
                data_end = end
            elif line.startswith(b"event:"):
                name = line[6 : 6 + _NAME_LIMIT].strip()
            else:
                _note_stray(line, stray)
        rest = self._rest
        if rest.startswith(b"data:"):
            data.append(rest[6:] if rest[5:6] == b" " else rest[5:])
            data_end = max(len(self._payload) - 1, 0)
        elif rest.startswith(b"event:"):
            name = rest[6 : 6 + _NAME_LIMIT].strip()
        elif rest:
            _note_stray(rest, stray)
        self.unfinished = Event(b"\n".join(data), data_end, name) if data or name else None

    def _lines(self) -> Iterator[tuple[bytes, int]]:
        """Lines with the offset of their end.

        What comes after the last line end is the rest.
        """
        payload = self._payload
        start = len(_BOM) if payload.startswith(_BOM) else 0
        if b"\r" in payload:
            for match in _LINE_END.finditer(payload, start):
                yield payload[start : match.start()], match.start()
                start = match.end()
            self._rest = payload[start:]
            return
        # As nearly all servers write; the expression costs 2 µs a line more.
        while (last := payload.rfind(b"\n", start, start + _WINDOW)) >= 0 or (last := payload.find(b"\n", start)) >= 0:
            for line in payload[start:last].split(b"\n"):
                end = start + len(line)
                yield line, end
                start = end + 1
        self._rest = payload[start:]


def _note_stray(line: bytes, stray: list[bytes]) -> None:
    field = line.partition(b":")[0]
    if field and field not in _KNOWN_FIELDS and line not in (b"event", b"data") and len(stray) < _STRAY_LINES:
        stray.append(line[:_STRAY_LIMIT])
