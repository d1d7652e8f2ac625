"""Progress of a streaming answer: when its last text came."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns
from typing import Final

from pytest_flperf.wire.chunks import Answer, load_json
from pytest_flperf.wire.framing import Head, chunk_length
from pytest_flperf.wire.sse import is_end

__all__ = ["TextProgress"]

_LINE_LIMIT: Final = 8_192
_LARGEST_EVENT: Final = 65_536
"""Bytes of an event to decode; a larger one counts as text, since decoding it would hold up the other streams."""
_PIECE: Final = 4_096
"""Bytes to look at from one look at the clock to the next."""
_DONE_BYTES: Final = 24
"""Of the line with ``[DONE]``, blanks included."""
_BOM: Final = b"\xef\xbb\xbf"


class TextProgress:
    """Finds the latest text of an answer, in small steps.

    It reads everything once.  The load process has other streams to serve: what is new since the last look may be
    half a minute's answer.
    """

    __slots__ = (
        "_chunked", "_data", "_data_part", "_data_size", "_events", "_held", "_left", "_line", "_offset", "_part",
        "_rest", "_rest_size", "done", "last_part",
    )  # fmt: skip

    def __init__(self, head: Head) -> None:
        self.last_part: int | None = None
        """Which read brought the last text; None: none did so far."""
        self.done = False
        """Whether ``[DONE]`` has come."""
        self._chunked = head.chunked
        self._part, self._offset = 0, head.size  # the next byte to look at: of which read, and where in it
        self._left = 0  # bytes of a chunk, with its line end
        self._line = b""
        self._rest: list[bytes] = []  # of a line, in the pieces in which it came
        self._rest_size = 0
        self._held = False  # a carriage return at the end of what came last
        self._data: list[bytes] = []  # of an event, line by line
        self._data_part = self._data_size = 0
        self._events: list[tuple[bytes | None, int]] = []  # not decoded yet; None: too large for that

    def look(self, parts: Sequence[bytes], until_ns: int) -> bool:
        """Read on until all is read or time is up.

        Returns whether all reads so far are known.
        """
        while self._part < len(parts):
            part = parts[self._part]
            if self._offset < len(part):
                piece = part[self._offset : self._offset + _PIECE]
                self._take(piece)
                self._offset += len(piece)
            if self._offset >= len(part):  # by more than nothing only while the head is passed over
                self._offset -= len(part)
                self._part += 1
            if monotonic_ns() >= until_ns:
                return False
        # From the end: mostly the last event has text, and what is before it doesn't matter.
        while self._events:
            data, part_number = self._events.pop()
            if _has_text(data):
                self.last_part = part_number
                self._events.clear()
            elif monotonic_ns() >= until_ns:
                return not self._events
        return True

    def _take(self, piece: bytes) -> None:
        if not self._chunked:
            self._take_text(piece)
            return
        position, size = 0, len(piece)
        while position < size:
            if self._left:
                end = min(position + self._left, size)
                self._left -= end - position
                # The two last bytes of a chunk are its line end.
                text = piece[position : max(position, end - max(0, 2 - self._left))]
                if text:
                    self._take_text(text)
                position = end
                continue
            newline = piece.find(b"\n", position)
            if newline < 0:
                self._line = (self._line + piece[position:])[:_LINE_LIMIT]
                return
            length = chunk_length(self._line + piece[position:newline])
            self._line, position = b"", newline + 1
            if not length:
                return  # the last one, or what the framing has ended the request for
            self._left = length + 2

    def _take_text(self, text: bytes) -> None:
        if self._held:
            text, self._held = b"\r" + text, False
        if b"\r" in text:
            self._held = text.endswith(b"\r")  # its line feed may follow
            text = text[: len(text) - self._held].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._rest_size = [], 0
        if rest and self._rest_size <= _LARGEST_EVENT:  # of a longer line its length is enough
            self._rest.append(rest)
            self._rest_size += len(rest)
        if 0 < self._rest_size <= _DONE_BYTES:  # its line end may never come
            self.done |= _is_done(b"".join(self._rest))
        for line in lines:
            if not line:
                self._end_event()
            elif _is_done(line):
                self.done = True
            elif line.startswith((b"data:", _BOM)):
                self._add_data(line.removeprefix(_BOM))

    def _add_data(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data_part = self._part
            self._data_size += len(line)
            if self._data_size - len(line) <= _LARGEST_EVENT:  # of such an event its length is enough
                self._data.append(line[5:])

    def _end_event(self) -> None:
        if self._data:
            small = self._data_size <= _LARGEST_EVENT
            self._events.append((b"\n".join(self._data) if small else None, self._data_part))
            self._data, self._data_size = [], 0


def _is_done(line: bytes) -> bool:
    return line[:5] == b"data:" and len(line) <= _DONE_BYTES and is_end(line[5:])


def _has_text(data: bytes | None) -> bool:
    if data is None:
        return True
    try:
        return Answer().take(load_json(data)) > 0
    except ValueError:
        return False
