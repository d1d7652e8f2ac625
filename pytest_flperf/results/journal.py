"""An append-only file of JSON lines that survives the death of its writer at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pytest_flperf.results.plain import plain

__all__ = ["LINE_LIMIT", "Journal", "JournalReader", "journal_line"]

LINE_LIMIT: Final = 64 << 20
"""Longest line in bytes, to write and to read."""
_SIZE_LIMIT: Final = 8 << 30


def journal_line(record: Mapping[str, Any]) -> bytes:
    """A record as one line of ASCII JSON with its line end; what JSON can't hold is made plain first."""
    try:
        text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(plain(record), allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


class Journal:
    """Writes one line per record with one system call, unbuffered: what was appended is there after a kill.

    Nothing raises after opening: a problem (full disk, vanished folder) is told once to ``on_problem`` and counted
    in ``dropped``; the next append tries again.  Use as a context manager, or call ``close``.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_problem: Callable[[str], None] | None = None,
        size_limit: int = _SIZE_LIMIT,
    ) -> None:
        """Open or make the file; raises OSError where that can't be done.

        Args:
            path: The file; lines are added to what is there.
            on_problem: Told in one line, once, when lines get lost.
            size_limit: Bytes at which the file stops growing.

        """
        self.path = path
        self.dropped = 0
        """Lines that could not be written."""
        self._on_problem = on_problem
        self._size_limit = size_limit
        self._told = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._fd = os.open(path, flags, 0o666)
        self._size = os.fstat(self._fd).st_size
        self._torn = self._size > 0 and not _ends_with_newline(path)

    def append(self, record: Mapping[str, Any]) -> bool:
        """Add a record; False where it could not be written."""
        return self.append_line(journal_line(record))

    def append_line(self, line: bytes) -> bool:
        """Add a line that is JSON already and ends with a line end; False where it could not be written."""
        if self._fd < 0:
            return self._lost("it is closed")
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
        # A short write leaves half a line behind (a full disk): the next one must not be glued to it.
        self._torn = written < len(line)
        return self._lost("the disk took only a part of a line") if self._torn else True

    def sync(self) -> None:
        """Ask the system to put the lines on the disk itself (against power loss; a kill needs none of it)."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            self._lost(error.strerror or str(error), lines=0)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._fd >= 0:
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
    """Iterates over the records of a journal and skips what is no JSON object on a line of its own.

    After (or during) iteration ``bad_lines`` says how many lines were skipped and ``torn`` whether the file ends
    within one.  Iterating raises OSError where the file can't be read.
    """

    def __init__(self, path: Path, *, line_limit: int = LINE_LIMIT, start: int = 0, end: int | None = None) -> None:
        """Read nothing yet; ``start`` is the byte to begin at, the first of a line; lines from ``end`` on are left."""
        self.path = path
        self.bad_lines = 0
        self.torn = False
        self._line_limit = line_limit
        self._start = start
        self._end = end

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Records in the order in which they were written."""
        self.bad_lines, self.torn = 0, False
        with self.path.open("rb") as file:
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


def _record_of(line: bytes) -> dict[str, Any] | None:
    # A torn line that is JSON by chance, such as a shorter number, can't be: an object ends with its brace.
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _ends_with_newline(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:  # may be written but not read: an empty line too many does no harm
        return False
