"""HTTP answers put together: chunks without their frames, texts of events."""

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
# What servers put a model's words in, piece by piece.
_FIELDS: Final = ("content", "text", "reasoning_content", "reasoning", "thinking", "refusal", "arguments", "name")
_TEXTS: Final = tuple(
    (b'"%s"' % name, re.compile(rb'"%s"[ \t]{0,4}:[ \t]{0,4}"([^"\\]*(?:\\.[^"\\]*)*)"' % name))
    for name in map(str.encode, _FIELDS)
)


def head_end(raw: bytes) -> int:
    """Where the body of an answer begins, interim heads (1xx) passed over; 0 where no head ends."""
    end = 0
    while (found := _HEAD_END.search(raw, end, _HEAD_LIMIT)) is not None:
        interim = raw[end + 9 : end + 10] == b"1" and raw[end + 9 : end + 12] != b"101"
        end = found.end()
        if not interim:
            return end
    return 0


def unframed(raw: View) -> tuple[View, View]:
    """The head with whatever frames the body, and the body without the frames of its chunks."""
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
    """What the pieces of a streamed text say together, for each field that holds text."""
    for field, pattern in _TEXTS:
        if field in body.text:
            spans = [found.span(1) for found in pattern.finditer(body.text)]
            if len(spans) > 1:
                yield parts_of(body, spans)
