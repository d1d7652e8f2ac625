"""HTTP responses reassembled: bodies without chunk framing, texts of events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pytest_flperf.results.encodings import View, parts_of

__all__ = ["head_end", "texts_of_events", "unframed"]

_HEAD_LIMIT: Final = 1 << 16
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_CHUNKED: Final = re.compile(rb"\ntransfer-encoding[ \t]{0,64}:[^\r\n]{0,256}chunked", re.IGNORECASE)
_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,15}")
_LONGEST_PLAIN_FRAME: Final = 18
# Fields in which servers stream a model's text, piece by piece.
_FIELDS: Final = ("content", "text", "reasoning_content", "reasoning", "thinking", "refusal", "arguments", "name")
_TEXTS: Final = tuple(
    (b'"%s"' % name, re.compile(rb'"%s"[ \t]{0,4}:[ \t]{0,4}"([^"\\]*(?:\\.[^"\\]*)*)"' % name))
    for name in map(str.encode, _FIELDS)
)


def head_end(raw: bytes) -> int:
    """Offset at which the body begins; 0 where no head ends.

    Interim heads (1xx) are skipped.
    """
    end = 0
    while (found := _HEAD_END.search(raw, end, _HEAD_LIMIT)) is not None:
        interim = raw[end + 9 : end + 10] == b"1" and raw[end + 9 : end + 12] != b"101"
        end = found.end()
        if not interim:
            return end
    return 0


def unframed(raw: View) -> tuple[View, View]:
    """Split a response into head with chunk framing, and plain body."""
    text = raw.text
    begin, size = head_end(text), len(text)
    if not begin or not _CHUNKED.search(text, 0, begin):
        return parts_of(raw, [(0, begin)]), parts_of(raw, [(begin, size)])
    chunks, frames = [], [(0, begin)]
    position = begin
    while position < size:
        newline = text.find(b"\n", position, position + _HEAD_LIMIT)
        length = _SIZE.match(text, position)
        if newline < 0 or length is None:
            chunks.append((position, size))  # the rest is none of HTTP's
            break
        if newline - position > _LONGEST_PLAIN_FRAME:
            frames.append((position, newline))
        position = newline + 1
        count = int(length[0], 16)
        if not count:
            frames.append((position, size))  # trailers
            break
        chunks.append((position, min(position + count, size)))
        position += count
        position += 2 if text[position : position + 2] == b"\r\n" else text[position : position + 1] == b"\n"
    return parts_of(raw, frames), parts_of(raw, chunks)


def texts_of_events(body: View) -> Iterator[View]:
    """The joined pieces of a streamed text, for each text field."""
    for field, pattern in _TEXTS:
        if field in body.text:
            spans = [found.span(1) for found in pattern.finditer(body.text)]
            if len(spans) > 1:
                yield parts_of(body, spans)
