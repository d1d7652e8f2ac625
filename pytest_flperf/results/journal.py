"""Journal: append-only JSON lines that survive a kill at any moment."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Self

from pytest_flperf.results.serialize import plain

__all__ = ["LINE_LIMIT", "Journal", "JournalReader", "journal_line", "json_characters"]

LINE_LIMIT: Final = 64 << 20
"""Longest line in bytes, to write and to read."""
_SIZE_LIMIT: Final = 8 << 30
_READ_BYTES: Final = 1 << 17
_SHORT_ESCAPES: Final = b'"\\\b\f\n\r\t'
_PRINTABLE: Final = bytes(range(0x20, 0x7F))


def journal_line(record: Mapping[str, Any]) -> bytes:
    """A record as one line of ASCII JSON, with its line end.

    Values that JSON can't hold are made plain first.
    """
    try:
        text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(plain(record), allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def json_characters(raw: bytes) -> int:
    """Characters that bytes take in a line, as Latin-1 in JSON."""
    short = sum(raw.count(byte) for byte in _SHORT_ESCAPES)
    long = len(raw.translate(None, _PRINTABLE + _SHORT_ESCAPES))
    return len(raw) + short + 5 * long


class Journal:
    """Journal writer: one unbuffered system call per line.

    A line that was appended survives a kill.  Nothing raises after opening: a problem (full disk, a file that was
    deleted, moved or truncated meanwhile) is reported once to ``on_problem``; lines that could not be written are
    counted in ``dropped``, and the next append tries again.
    Use as a context manager, or call ``close``.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_problem: Callable[[str], None] | None = None,
        size_limit: int = _SIZE_LIMIT,
    ) -> None:
        """Open or create the file; raises OSError where that fails.

        Args:
            path: The file; lines are appended to it.
            on_problem: Called once, with one line, when lines get lost.
            size_limit: Bytes at which the file stops growing.

        """
        self.path = path
        self._place = path.absolute()  # the process may change its working directory
        self.dropped = 0
        """Lines that could not be written."""
        self._on_problem = on_problem
        self._size_limit = size_limit
        self._told = False
        self._fd, self._readable = _open_to_append(path)
        found = os.fstat(self._fd)
        self._size = found.st_size
        self._regular = stat.S_ISREG(found.st_mode)
        self._torn = self._size > 0 and not _ends_with_newline(path)

    def append(self, record: Mapping[str, Any]) -> bool:
        """Append a record; False where it could not be written."""
        return self.append_line(journal_line(record))

    def append_line(self, line: bytes) -> bool:
        """Append a line of JSON with line end; False where it failed."""
        if self._fd < 0:
            return self._lost("it is closed")
        self._look()
        if self._torn:
            line = b"\n" + line
        if len(line) > LINE_LIMIT:
            return self._lost(f"a line has {len(line)} bytes, the limit is {LINE_LIMIT}")
        if self._size + len(line) > self._size_limit:
            return self._lost(f"it has reached its limit of {self._size_limit} bytes")
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            return self._lost(error.strerror or str(error))
        self._size += written
        # A short write (full disk) leaves half a line behind: the next line must not be appended to it.
        self._torn = written < len(line)
        return self._lost("the disk took only a part of a line") if self._torn else True

    def records(self, start: int = 0) -> JournalReader:
        """Reader of the journal, even if the file was deleted or moved."""
        return JournalReader(self.path, start=start, fd=self._fd if self._fd >= 0 and self._readable else None)

    def _look(self) -> None:
        """Detect changes of the file since the last line."""
        if not self._regular:
            return
        try:
            opened, named = os.fstat(self._fd), None
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                named = self._place.stat()
        except OSError as error:
            self._lost(error.strerror or str(error), lines=0)
            return
        if opened.st_size < self._size:
            self._lost(f"it was truncated from {self._size} to {opened.st_size} bytes", lines=0)
            self._torn = opened.st_size > 0
        self._size = opened.st_size
        if named is None or not os.path.samestat(named, opened):
            self._lost("it was deleted or moved while it was written", lines=0)

    def sync(self) -> None:
        """Flush the lines to disk with fsync.

        This protects against power loss; a kill loses nothing anyway.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            self._lost(error.strerror or str(error), lines=0)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            self._look()
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:  # network file systems report a full disk here
                self._lost(error.strerror or str(error), lines=0)

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _lost(self, reason: str, lines: int = 1) -> bool:
        self.dropped += lines
        if not self._told and self._on_problem is not None:
            self._told = True
            self._on_problem(f"{self.path.name} is not complete: {reason}")
        return False


class JournalReader:
    """Journal reader: iterates over records and skips invalid lines.

    A valid line holds one JSON object.  After (or during) iteration ``bad_lines`` says how many lines were skipped and
    ``torn`` whether the file ends within a line.  Iterating raises OSError where the file can't be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        line_limit: int = LINE_LIMIT,
        start: int = 0,
        end: int | None = None,
        fd: int | None = None,
    ) -> None:
        """Set up the reader; nothing is read yet.

        Args:
            path: The file.
            line_limit: Longest line; longer ones are skipped.
            start: The byte to begin at, which must be the first of a line.
            end: Lines from this byte on are not read.
            fd: A descriptor of the open file, where its name may lead to another one; it stays open.

        """
        self.path = path
        self.bad_lines = 0
        self.torn = False
        self._line_limit = line_limit
        self._start = start
        self._end = end
        self._fd = fd

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records in the order in which they were written."""
        self.bad_lines, self.torn = 0, False
        with self._open() as file:
            file.seek(self._start)
            while (self._end is None or file.tell() < self._end) and (line := file.readline(self._line_limit + 1)):
                self.torn = not line.endswith(b"\n")
                if self.torn and len(line) > self._line_limit:
                    self.bad_lines += 1
                    while line and not line.endswith(b"\n"):
                        line = file.readline(self._line_limit + 1)
                    self.torn = not line
                    continue
                record = _record_of(line)
                if record is not None:
                    yield record
                elif line.strip():
                    self.bad_lines += 1

    def _open(self) -> IO[bytes]:
        return self.path.open("rb") if self._fd is None else io.BufferedReader(_OpenFile(self._fd), _READ_BYTES)


class _OpenFile(io.RawIOBase):
    """Reads a file by descriptor without moving its offset.

    Other code writes through the descriptor meanwhile.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += os.fstat(self._fd).st_size
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        assert sys.platform != "win32"  # which has no pread
        found = os.pread(self._fd, len(buffer), self._at)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _record_of(line: bytes) -> dict[str, Any] | None:
    # A torn line can't be taken for a whole one: an object ends with its brace.
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _open_to_append(path: Path) -> tuple[int, bool]:
    """A file descriptor, and whether it is also readable."""
    flags = os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if sys.platform == "win32":  # where nobody can delete or move a file that is open
        return os.open(path, os.O_WRONLY | flags, 0o666), False
    try:
        return os.open(path, os.O_RDWR | flags, 0o666), True
    except PermissionError:
        return os.open(path, os.O_WRONLY | flags, 0o666), False


def _ends_with_newline(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:  # may be written but not read: an empty line too many does no harm
        return False
