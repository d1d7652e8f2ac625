"""Exchanges: stamps and raw bytes of one request, not decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate, chain
from typing import Any, Final, Self

__all__ = ["READ_BYTES", "Ending", "Exchange", "Phase"]

READ_BYTES: Final = 65_536
"""Most bytes that one read of a socket returns."""
_READS: Final = ("read_arrival_ns", "read_lag_ns", "read_bytes")
_REQUIRED: Final = frozenset(
    {"index", "target", "slot", "started_ns", "finished_ns", "clock_moved_ns", "left_out_bytes"}
)
_NUMBERS: Final = (*sorted(_REQUIRED), "due_ns", "connect_ns", "sent_ns")
_OPTIONAL: Final = frozenset({"left_out_bytes", "reasoning_tags"})
_TEXTS: Final = ("clock_source", "detail", "raw")
_LARGEST: Final = 1 << 62
_MOST_BYTES: Final = 1 << 40


class Phase(StrEnum):
    """Phase of a request; only ``measured`` requests enter a statistic."""

    VERIFY = "verify"
    COLD = "cold"
    WARMUP = "warmup"
    MEASURED = "measured"
    OUTSIDE = "outside"
    """Of the measured plan, but sent during its ramp-up or its cool-down."""
    CALIBRATE = "calibrate"
    """To learn how many tokens the server counts for a text."""
    RETRY = "retry"
    """Retry of a failed request."""


class Ending(StrEnum):
    """How the transport of a request ended.

    The outcome of the request follows when the bytes are decoded.
    """

    COMPLETE = "complete"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    HEADERS_TIMEOUT = "headers_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    STALL_TIMEOUT = "stall_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CONNECTION_LOST = "connection_lost"
    CANCELLED = "cancelled"
    MALFORMED = "malformed"
    ANSWER_TOO_LARGE = "answer_too_large"
    CLIENT_LIMIT = "client_limit"
    """This machine had no descriptor, port or memory left for the request."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its raw answer.

    All ``_ns`` are CLOCK_MONOTONIC.  The three ``read_…`` tuples have one entry per read of the socket, in order.
    """

    index: int
    """Number of the request within its case and phase, from 0."""
    phase: Phase
    target: int
    """Index of the target within the plan."""
    stream: bool
    """Whether the request asked for a streamed answer."""
    slot: int
    """The stream (closed loop: the virtual user) that sent it."""
    due_ns: int | None
    """Due time in an open loop; None in a closed loop."""
    connect_ns: int | None
    """Time that opening its connection took; None where an open one was used again."""
    started_ns: int
    """When its first byte was about to be handed to the kernel, or its connecting began and failed."""
    sent_ns: int | None
    """Immediately before the last byte was handed to the kernel; None if that never happened."""
    finished_ns: int
    """When the load process was done with it."""
    read_arrival_ns: tuple[int, ...]
    """Arrival of the newest byte of each read: the kernel's stamp, else the clock right after the read."""
    read_lag_ns: tuple[int, ...]
    """From the kernel's arrival to Python's read; empty with user stamps, where it can't be known."""
    read_bytes: tuple[int, ...]
    """How many bytes each read returned."""
    clock_source: str
    """``kernel``, ``user`` or, where single reads lacked a kernel stamp, ``mixed``."""
    clock_moved_ns: int
    """How far realtime moved against monotonic during the request (0 with user stamps)."""
    ending: Ending
    detail: str
    """The exception or reason behind an ending that is not ``complete``; empty otherwise."""
    raw: bytes
    """Head and body of the answer exactly as they came, from the first byte on."""
    left_out_bytes: int = 0
    """Bytes of the answer that came behind ``raw`` and were not kept."""
    reasoning_tags: bool = True
    """Whether tags like ``<think>`` in the answer's text hold reasoning."""

    def cut(self, keep_bytes: int, reason: str) -> Self:
        """Copy with the answer cut to a number of bytes.

        Only the reads that brought these bytes are kept.  ``reason`` becomes the detail where there is none so far.
        """
        reads = next((n for n, end in enumerate(accumulate(self.read_bytes), 1) if end >= keep_bytes), None)
        return replace(
            self,
            read_arrival_ns=self.read_arrival_ns[:reads],
            read_lag_ns=self.read_lag_ns[:reads],
            read_bytes=self.read_bytes[:reads],
            detail=self.detail or reason,
            raw=self.raw[:keep_bytes],
            left_out_bytes=self.left_out_bytes + len(self.raw) - min(len(self.raw), keep_bytes),
        )

    def to_record(self) -> dict[str, Any]:
        """Journal record: builtins only; bytes as Latin-1, lossless and readable."""
        record: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        record["phase"] = self.phase.value
        record["ending"] = self.ending.value
        record["raw"] = self.raw.decode("latin-1")
        if self.reasoning_tags:
            del record["reasoning_tags"]
        for name in ("read_arrival_ns", "read_lag_ns", "read_bytes"):
            record[name] = list(record[name])
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Parse a journal record; raises KeyError, TypeError or ValueError."""
        values = {name: record[name] for name in cls.__slots__ if name not in _OPTIONAL}
        values["left_out_bytes"] = record.get("left_out_bytes", 0)  # earlier versions left none out
        values["reasoning_tags"] = record.get("reasoning_tags", True) is not False
        values["phase"] = Phase(values["phase"])
        values["ending"] = Ending(values["ending"])
        if type(values["stream"]) is not bool or not all(isinstance(values[name], str) for name in _TEXTS):
            raise TypeError("a value is of another type")
        values["raw"] = values["raw"].encode("latin-1")
        for name in _READS:
            values[name] = tuple(values[name])
        numbers = [values[name] for name in _NUMBERS if name in _REQUIRED or values[name] is not None]
        if not all(map(_is_count, chain(numbers, *(values[name] for name in _READS)))):
            raise ValueError("a number is not a whole number of 63 bits")
        reads = len(values["read_bytes"])
        agree = len(values["read_arrival_ns"]) == reads and len(values["read_lag_ns"]) in (0, reads)
        if not agree or sum(values["read_bytes"]) > _MOST_BYTES:
            raise ValueError("the reads don't agree with each other")
        return cls(**values)


def _is_count(value: Any) -> bool:
    return type(value) is int and -_LARGEST < value < _LARGEST
