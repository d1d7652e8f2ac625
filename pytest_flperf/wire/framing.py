"""HTTP/1.x framing of answers: end of head, end of body.

:class:`Framing` follows an answer while it arrives and is on the measured path; :func:`unframe` takes a whole
recorded answer apart afterwards.  Both read RFC 9112; neither raises on anything a server sends.
"""

from __future__ import annotations

import functools
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["Body", "Framing", "Head", "MalformedAnswerError", "Segments", "chunk_length", "parse_head", "unframe"]

HEAD_LIMIT: Final = 65_536
"""Bytes of a response head, interim (1xx) heads included, and of the trailers after the last chunk."""
_LINE_LIMIT: Final = 8_192
_HEADS: Final = 16
_STATUS_LINE: Final = re.compile(rb"HTTP/(1)\.([01])[ \t]+(\d{3})(?:[ \t]+([^\r\n]*))?\r?\Z")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")
_BEGIN: Final = b"HTTP/"
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_NO_HEAD_END: Final = f"no end of the response head in {HEAD_LIMIT} bytes"
_NO_TRAILER_END: Final = f"no end of the trailers in {HEAD_LIMIT} bytes"


class Segments(NamedTuple):
    """Map from payload offsets to offsets in the raw answer.

    Each contiguous stretch has its start in both, ascending.

    Arrays and no pairs: there may be one for every byte.
    """

    payload: Sequence[int]
    raw: Sequence[int]


class MalformedAnswerError(ValueError):
    """The bytes are no HTTP/1.x answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """HTTP response head."""

    status: int
    minor_version: int
    headers: Mapping[str, str]
    """By lower-case name; of a repeated header the last one."""
    size: int
    """Bytes from the start of the raw answer to the first byte of the body, interim (1xx) heads included."""
    chunked: bool = field(init=False)
    """Whether the body is chunked."""

    def __post_init__(self) -> None:
        """Look at the transfer codings once, for all answers that have these bytes as their head."""
        codings = self.headers.get("transfer-encoding", "").lower()
        chunked = codings.rpartition(",")[2].strip() == "chunked" and self.status not in (204, 304)
        object.__setattr__(self, "chunked", chunked)

    @property
    def successful(self) -> bool:
        """Whether the status is a success (2xx)."""
        return 200 <= self.status < 300

    @property
    def keep_alive(self) -> bool:
        """Whether the connection can carry another request."""
        connection = self.headers.get("connection")
        if connection is None:
            return self.minor_version != 0
        tokens = {token.strip() for token in connection.lower().split(",")}
        if self.minor_version == 0:
            return "keep-alive" in tokens
        return "close" not in tokens

    @property
    def content_length(self) -> int | None:
        """Content length in bytes, where the head gives it.

        Raises MalformedAnswerError for an invalid one.
        """
        if self.chunked:
            return None
        if self.status in (204, 304):
            return 0
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise MalformedAnswerError(f"Content-Length is {text[:40]!r}, which is not a length")
        return int(text)


def parse_head(raw: bytes) -> Head | None:
    """Parse the final response head; None while it is incomplete.

    Raises MalformedAnswerError for what is no HTTP/1.x head.
    """
    start = 0
    while (end := _HEAD_END.search(raw, start, HEAD_LIMIT)) is not None:
        head = _head_between(raw, start, end)
        if head is not None:
            return head
        start = end.end()
    if len(raw) > HEAD_LIMIT:
        raise MalformedAnswerError(_NO_HEAD_END)
    _refuse_early(raw, start)
    return None


def _head_between(raw: bytes | bytearray, start: int, end: re.Match[bytes]) -> Head | None:
    """Parse one head; None for an interim one (1xx).

    Another head follows an interim one.
    """
    return _parsed(bytes(raw[start : end.start()]), end.end())


@functools.lru_cache(_HEADS)
def _parsed(text: bytes, size: int) -> Head | None:
    """Parse the text of one head, whose body begins at ``size``.

    The heads of a server are the same ones for a second, until their date changes; reading one takes 10 µs.
    """
    lines = text.split(b"\n")
    match = _STATUS_LINE.match(lines[0])
    if match is None:
        raise MalformedAnswerError(f"not an HTTP/1.x answer: it begins with {lines[0][:60]!r}")
    status = int(match[3])
    if 100 <= status < 200 and status != 101:
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    return Head(status, int(match[2]), headers, size)


def _refuse_early(raw: bytes | bytearray, start: int) -> None:
    """Refuse at once what can't become a head.

    So garbage ends with its outcome and not with a timeout.
    """
    prefix = raw[start : start + len(_BEGIN)]
    if not _BEGIN.startswith(prefix):
        raise MalformedAnswerError(f"not an HTTP/1.x answer: it begins with {bytes(raw[start : start + 60])!r}")


class Framing:
    """Incremental framing: finds the end of an answer as bytes arrive.

    ``feed`` is called with every read and says whether the answer has ended.  A body without length ends with the
    connection: then ``feed`` never says so and ``at_eof`` does.  The work for a read depends on its size alone:
    earlier bytes are not read again.
    """

    __slots__ = (
        "_at_chunk", "_head_start", "_line", "_pending", "_remaining", "_trailer", "_trailer_bytes", "chunked", "ended",
        "head", "problem", "surplus", "too_large",
    )  # fmt: skip

    def __init__(self) -> None:
        self.head: Head | None = None
        self.chunked = False
        self.ended = False
        self.problem = ""
        """Why the bytes are no valid answer; empty while they are."""
        self.surplus = False
        """Whether bytes came behind the end: the connection can't be used again."""
        self.too_large = False
        """Whether the ``problem`` is a head or trailers beyond :data:`HEAD_LIMIT`."""
        self._pending = bytearray()
        self._head_start = 0
        self._line = bytearray()
        self._remaining: int | None = None  # of the body or of the chunk with its line end; None: until close
        self._trailer = False
        self._trailer_bytes = 0
        self._at_chunk = False
        """Whether the next byte begins a chunk."""

    def feed(self, data: bytes) -> bool:
        """Add a read; True when the answer has ended or is invalid.

        An invalid answer has a ``problem``.
        """
        begin = 0
        if self._at_chunk:
            # Nearly always a read is one whole chunk, or a few; recognised at once, each costs 0.3 µs instead of 1.
            size = len(data)
            while (line_end := data.find(b"\n", begin)) >= 0:
                span = _SPAN_BY_LINE.get(data[begin:line_end])
                if span is None or line_end + span > size:
                    break
                begin = line_end + span
                if begin == size:
                    return False
        if self.chunked:
            return self._feed_chunked(data, begin)
        if self.head is None:
            return self._feed_head(data)
        if self._remaining is None:
            return False
        return self._feed_length(len(data))

    def at_eof(self) -> bool:
        """Handle end of file: True if it ends the answer properly."""
        if self.ended:
            return True
        return self.head is not None and not self.chunked and self._remaining is None

    def _feed_head(self, data: bytes) -> bool:
        before = len(self._pending)
        self._pending += data
        try:
            head = self._next_head(before)
            if head is None:
                return bool(self.problem)
            self._remaining = head.content_length
        except MalformedAnswerError as error:
            self.problem = str(error)
            return True
        self.head = head
        body = bytes(self._pending[head.size :])
        self._pending.clear()
        if head.chunked:
            self.chunked = True
            self._remaining = 0
            return self._feed_chunked(body, 0) if body else False
        return self._feed_length(len(body)) if self._remaining is not None else False

    def _next_head(self, before: int) -> Head | None:
        """Parse the final head as soon as it is complete.

        ``before``: how much of it was there before this read.
        """
        pending = self._pending
        while (end := _HEAD_END.search(pending, max(self._head_start, before - 3), HEAD_LIMIT)) is not None:
            head = _head_between(pending, self._head_start, end)
            if head is not None:
                return head
            self._head_start = end.end()
        if len(pending) > HEAD_LIMIT:
            self.too_large = True
            self.problem = _NO_HEAD_END
        elif before - self._head_start < len(_BEGIN):  # it may become none
            _refuse_early(pending, self._head_start)
        return None

    def _feed_length(self, count: int) -> bool:
        assert self._remaining is not None
        self._remaining -= count
        self.surplus = self._remaining < 0
        self.ended = self._remaining <= 0
        return self.ended

    def _feed_chunked(self, data: bytes, position: int) -> bool:
        self._at_chunk = False
        size = len(data)
        remaining = self._remaining or 0
        while True:
            if remaining > size - position:
                self._remaining = remaining - (size - position)
                return False
            position += remaining
            remaining = 0
            if position == size:
                self._remaining = 0
                self._at_chunk = not self._trailer and not self._line
                return False
            newline = data.find(b"\n", position)
            if newline < 0:
                self._line += data[position:]
                self._remaining = 0
                return self._refuse_long(self._line)
            line = data[position:newline]
            if self._line:
                line = bytes(self._line + line)
                self._line.clear()
            position = newline + 1
            if len(line) > _LINE_LIMIT:
                return self._refuse_long(line)
            if self._trailer:
                if line.strip():
                    self._trailer_bytes += len(line) + 1
                    if self._trailer_bytes > HEAD_LIMIT:
                        self.too_large = True
                        self.problem = _NO_TRAILER_END
                        return True
                    continue
                self.ended = True
                self.surplus = position < size
                return True
            span = _SPAN_BY_LINE.get(line)
            length = chunk_length(line) if span is None else span - 3
            if length is None:
                self.problem = _no_length(line)
                return True
            if length:
                remaining = length + 2
            else:
                self._trailer = True

    def _refuse_long(self, line: bytes | bytearray) -> bool:
        if len(line) > _LINE_LIMIT:
            self.problem = _no_length(line)
        return bool(self.problem)


# By a chunk's first line, how many bytes follow from its LF to the next chunk.
_SPAN_BY_LINE: Final = {b"%x\r" % length: length + 3 for length in range(1, 2_048)}


def _no_length(line: bytes | bytearray) -> str:
    return f"a chunk begins with {bytes(line[:40])!r} where its length in hex was expected"


def chunk_length(line: bytes) -> int | None:
    """Length in a chunk's first line; None if invalid.

    Extensions are left out.
    """
    text = line.partition(b";")[0].strip()
    return int(text, 16) if _HEX.match(text) else None


@dataclass(frozen=True, slots=True)
class Body:
    """Body of a recorded answer without its transfer coding."""

    payload: bytes
    segments: Segments
    complete: bool
    """Whether the framing says that it ended; for a body that ends with the connection always True."""
    delimited: bool
    """Whether the framing has an end of its own (a length or a last chunk)."""
    problem: str


def unframe(raw: bytes, head: Head) -> Body:
    """Payload of a recorded answer, with positions in the raw bytes."""
    if head.chunked:
        return _unchunk(raw, head.size)
    payload = raw[head.size :]
    whole = Segments((0,), (head.size,))
    try:
        length = head.content_length
    except MalformedAnswerError as error:
        return Body(payload, whole, complete=False, delimited=True, problem=str(error))
    if length is None:
        return Body(payload, whole, complete=True, delimited=False, problem="")
    return Body(payload[:length], whole, len(payload) >= length, delimited=True, problem="")


def _unchunk(raw: bytes, position: int) -> Body:
    """Decode a chunked body in the same steps as ``Framing._feed_chunked``.

    A test holds the two together.
    """
    payload = bytearray()
    begins, places = array("Q"), array("Q")
    trailer_bytes = 0
    problem = ""
    complete = trailer = False
    while position < len(raw) and not complete:
        newline = raw.find(b"\n", position)
        size = (newline if newline >= 0 else len(raw)) - position
        if size > _LINE_LIMIT:
            problem = _no_length(raw[position : position + _LINE_LIMIT])
            break
        if newline < 0:
            break
        line = raw[position:newline]
        position = newline + 1
        if trailer:
            complete = not line.strip()
            trailer_bytes += size + 1
            if not complete and trailer_bytes > HEAD_LIMIT:
                problem = _NO_TRAILER_END
                break
            continue
        length = chunk_length(line)
        if length is None:
            problem = _no_length(line)
            break
        if length == 0:
            trailer = True
            continue
        end = min(position + length, len(raw))
        if position < end:
            begins.append(len(payload))
            places.append(position)
            payload += memoryview(raw)[position:end]
        position += length + 2
    return Body(bytes(payload), Segments(begins, places), complete, delimited=True, problem=problem)
