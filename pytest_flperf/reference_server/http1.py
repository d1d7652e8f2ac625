"""Incremental HTTP/1.x request parser for hostile input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["BadRequestError", "Request", "RequestParser"]

_MOST_HEAD_BYTES: Final = 64 << 10
_MOST_CHUNK_LINE_BYTES: Final = 1 << 10
MOST_BODY_BYTES: Final = 64 << 20
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_DECIMAL: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class BadRequestError(Exception):
    """Malformed request: it gets this status, then the connection is unusable."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status: Final = status
        self.message: Final = message


@dataclass(frozen=True, slots=True)
class Request:
    """Complete HTTP request."""

    method: str
    target: str
    """Path and query, as sent."""
    version: str
    """``1.0`` or ``1.1``."""
    headers: Mapping[str, str]
    """Names in lower case; of a name that was sent twice, the last."""
    body: bytes

    @property
    def path(self) -> str:
        """Target without its query."""
        return self.target.partition("?")[0]

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the answer."""
        wish = self.headers.get("connection", "").lower()
        return "keep-alive" in wish if self.version == "1.0" else "close" not in wish


class RequestParser:
    """Incremental parser: bytes in, requests out, however the bytes are split."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._looked = 0
        self._head: Request | None = None
        self._length: int | None = 0
        self._body = bytearray()
        self._chunk_left = 0
        self._state = "head"
        self.continues = False
        """The client waits for ``100 Continue``; the sender of that line resets this to False."""

    @property
    def started(self) -> bool:
        """Whether a part of a request has arrived."""
        return bool(self._buffer) or self._head is not None

    @property
    def held_bytes(self) -> int:
        """Buffered bytes, not yet returned in a request."""
        return len(self._buffer) + len(self._body)

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """Next complete request, or None until more bytes arrive.

        After :class:`BadRequestError` the parser can't be used any longer.
        """
        if self._head is None:
            self._head = self._parse_head()
            if self._head is None:
                return None
        done = self._take_chunks() if self._length is None else self._take_length(self._length)
        if not done:
            return None
        head, body = self._head, bytes(self._body)
        self._head, self._body, self._state, self.continues = None, bytearray(), "head", False
        return Request(head.method, head.target, head.version, head.headers, body)

    def _parse_head(self) -> Request | None:
        while self._buffer[:2] == b"\r\n":  # an empty line ahead of a request is to be overlooked (RFC 9112, 2.2)
            del self._buffer[:2]
            self._looked = 0
        end = self._buffer.find(b"\r\n\r\n", max(0, self._looked - 3))
        if end < 0:
            self._looked = len(self._buffer)
            if self._looked > _MOST_HEAD_BYTES:
                raise BadRequestError(431, f"a request head of more than {_MOST_HEAD_BYTES >> 10} kB")
            return None
        if end > _MOST_HEAD_BYTES:
            raise BadRequestError(431, f"a request head of more than {_MOST_HEAD_BYTES >> 10} kB")
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        self._looked = 0
        method, target, version = _request_line(lines[0])
        headers = _headers(lines[1:])
        self._length = _body_length(headers)
        expect = headers.get("expect", "").lower()
        self.continues = expect == "100-continue" and version == "1.1" and self._length != 0
        self._state = "size"
        return Request(method, target, version, headers, b"")

    def _take_length(self, length: int) -> bool:
        wanted = length - len(self._body)
        if wanted and self._buffer:
            self._body += self._buffer[:wanted]
            del self._buffer[:wanted]
        return len(self._body) == length

    def _take_chunks(self) -> bool:
        while True:
            if self._state == "data":
                several = min(self._chunk_left, len(self._buffer))
                self._body += self._buffer[:several]
                del self._buffer[:several]
                self._chunk_left -= several
                if self._chunk_left:
                    return False
                self._state = "after"
            line = self._line()
            if line is None:
                return False
            if self._state == "after":
                if line:
                    raise BadRequestError(400, "a chunk that does not end where its size says")
                self._state = "size"
            elif self._state == "size":
                self._chunk_left = _chunk_size(line, len(self._body))
                self._state = "data" if self._chunk_left else "trailer"
            elif not line:
                return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, _MOST_CHUNK_LINE_BYTES)
        if end < 0:
            if len(self._buffer) >= _MOST_CHUNK_LINE_BYTES:
                raise BadRequestError(400, "a chunk line that is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _request_line(line: bytes) -> tuple[str, str, str]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not parts[1] or not parts[2].startswith(b"HTTP/"):
        raise BadRequestError(400, "the first line is not an HTTP request line")
    if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise BadRequestError(505, "only HTTP/1.0 and HTTP/1.1 are supported")
    return parts[0].decode("ascii"), parts[1].decode("latin-1"), parts[2][5:].decode("ascii")


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or b"\0" in value or b"\r" in value or b"\n" in value:
            raise BadRequestError(400, "an invalid header line")
        key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
        if key == "content-length" and headers.get(key, text) != text:
            raise BadRequestError(400, "two different Content-Length headers")
        headers[key] = text
    return headers


def _body_length(headers: Mapping[str, str]) -> int | None:
    """Length of the body; None: it is chunked."""
    encoding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if encoding is not None:
        if encoding.lower() != "chunked":
            raise BadRequestError(501, "the only supported transfer encoding is chunked")
        if length is not None:
            raise BadRequestError(400, "both Content-Length and Transfer-Encoding")
        return None
    if length is None:
        return 0
    if not _DECIMAL.fullmatch(length):
        raise BadRequestError(400, "a Content-Length that is not a number")
    if int(length) > MOST_BODY_BYTES:
        raise BadRequestError(413, f"a body of more than {MOST_BODY_BYTES >> 20} MB")
    return int(length)


def _chunk_size(line: bytes, held: int) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    if not _HEX.fullmatch(digits):
        raise BadRequestError(400, "a chunk size that is not a number")
    size = int(digits, 16)
    if held + size > MOST_BODY_BYTES:
        raise BadRequestError(413, f"a body of more than {MOST_BODY_BYTES >> 20} MB")
    return size
