"""Request log: true arrival and send times of each request."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

__all__ = ["Finished", "LogEntry", "RequestLog", "echoed_id"]

_MOST_ENTRIES: Final = 50_000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Log entry of one chat request.

    Every ``_ns`` is CLOCK_MONOTONIC; the columns have one value for each send.
    """

    id: str
    """``ref-<number>``, as echoed in ``id`` of every chunk."""
    number: int
    """Of the request, from 1, in order of arrival."""
    connection: int
    """Number of the connection, from 1."""
    request_id: str | None
    """The ``X-Request-Id`` header."""
    prompt_head: str
    """The first 64 characters of the last user message."""
    prompt_hash: str
    """Of that message: the first 16 hexadecimal digits of SHA-256 (UTF-8)."""
    model: str
    """Model name in the request."""
    stream: bool
    status: int
    """0: no response."""
    fault: str | None
    clock: str
    """Of the two arrivals: ``kernel`` or ``user``."""
    first_byte_ns: int
    """Arrival of the request's first read."""
    last_byte_ns: int
    """Arrival of the request's last byte; the schedule counts from here."""
    read_ns: int
    """When the server had read it."""
    sent_ns: tuple[int, ...]
    """Immediately before each send was handed to the kernel."""
    due_ns: tuple[int, ...]
    """When it was due."""
    bytes: tuple[int, ...]
    kinds: tuple[str, ...]
    """What each send held: head, role, reasoning, text, finish, usage, done, end, comment, body, … joined by ``+``."""
    chunks: tuple[int, ...]
    """Chunks with text in each send."""
    partial: tuple[int, ...]
    """Indexes of sends that the kernel did not take whole at first, because the client did not read."""
    sends: int
    """How many there were; of an answer without end only the first are in the columns."""
    ended: str
    """complete, client_closed, server_stopped; empty: it is still open."""
    ended_ns: int

    @property
    def first_text_ns(self) -> int | None:
        """Send time of the first text chunk."""
        return next((sent for sent, chunks in zip(self.sent_ns, self.chunks, strict=True) if chunks), None)

    @property
    def text_ns(self) -> tuple[int, ...]:
        """Send time of each text chunk.

        Chunks that shared a send share the stamp.
        """
        return tuple(sent for sent, n in zip(self.sent_ns, self.chunks, strict=True) for _ in range(n))

    @property
    def ttft_ms(self) -> float | None:
        """True TTFT in ms: request arrival to first text chunk sent."""
        first = self.first_text_ns
        return None if first is None else (first - self.last_byte_ns) / 1e6

    @property
    def mean_gap_ms(self) -> float | None:
        """Mean time between text chunks, in ms."""
        stamps = self.text_ns
        return (stamps[-1] - stamps[0]) / (len(stamps) - 1) / 1e6 if len(stamps) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """JSON object, as :meth:`from_json` takes it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> LogEntry:
        """Parse an entry of ``GET /flperf/log`` or the log file.

        Unknown keys are ignored.
        """
        known: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name in given:
                value = given[field.name]
                known[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**known)


def echoed_id(answer: bytes) -> str:
    """Chunk ``id`` of a streamed answer; empty where there is none.

    It is the entry's :attr:`LogEntry.id`.
    """
    start = answer.find(b'"id":"') + 6
    return answer[start : answer.find(b'"', start)].decode("latin-1") if start > 5 else ""


class Finished(Protocol):
    """Finished request, with all data for its log entry."""

    def entry(self) -> LogEntry:
        """Build the log entry."""


class RequestLog:
    """Log of finished requests; drops the oldest at a size limit.

    Entries are built when they are read: while an answer ends, that would delay the sends of the other answers.
    """

    def __init__(self, path: str | None = None) -> None:
        """``path``: log file, to which :meth:`flush` appends finished requests."""
        self._finished: deque[Finished] = deque(maxlen=_MOST_ENTRIES)
        self._unwritten: list[Finished] = []
        self._file: IO[str] | None = None
        if path is not None:
            self._file = Path(path).open("a", encoding="utf-8", newline="\n")  # noqa: SIM115 (closed by close)

    def add(self, finished: Finished) -> None:
        """Add a finished request."""
        self._finished.append(finished)
        if self._file is not None:
            self._unwritten.append(finished)
            if len(self._unwritten) >= _MOST_ENTRIES:
                self.flush()

    def entries(self, still_open: Iterable[Finished] = ()) -> list[LogEntry]:
        """All entries in order of arrival."""
        return sorted((each.entry() for each in (*self._finished, *still_open)), key=lambda entry: entry.number)

    def clear(self) -> None:
        """Forget all entries; unwritten ones still go into the file."""
        self._finished.clear()

    def flush(self) -> None:
        """Append new entries to the file."""
        unwritten, self._unwritten = self._unwritten, []
        if self._file is not None and unwritten:
            self._file.writelines(
                f"{json.dumps(each.entry().to_json(), separators=(',', ':'))}\n" for each in unwritten
            )
            self._file.flush()

    def close(self) -> None:
        """Append new entries to the file, and close it."""
        if self._file is not None:
            with self._file:
                self.flush()
            self._file = None
