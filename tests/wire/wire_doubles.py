"""Answers of servers, and exchanges as the load process would hand them over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_flperf.wire.exchange import Ending, Exchange, Phase

SENT = 10**15
MS = 1_000_000

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def event(delta: dict[str, Any] | None = None, *, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a chat completion as an event."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": choices, **more}).encode() + b"\n\n"


def text(content: str, **more: Any) -> bytes:
    """A chunk with content."""
    return event({"content": content}, **more)


STOP = event({}, finish="stop")
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*events: bytes) -> list[bytes]:
    """The sends of a server that sends each event as a chunk of its own."""
    return [CHUNKED, *map(chunk, events), b"0\r\n\r\n"]


def until_close(*events: bytes) -> list[bytes]:
    """The sends of an HTTP/1.0 server."""
    return [UNTIL_CLOSE, *events]


def sized(*events: bytes, status: int = 200, kind: str = "text/event-stream") -> list[bytes]:
    """The sends of a server that says the length of the body at first."""
    length = sum(map(len, events))
    return [
        b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (status, kind.encode(), length),
        *events,
    ]


def exchange(
    sends: Sequence[bytes],
    *,
    stamps: Sequence[int] | None = None,
    stream: bool = True,
    ending: Ending = Ending.COMPLETE,
    detail: str = "",
) -> Exchange:
    """An exchange whose reads are these sends; the n-th came n + 1 ms after the request was sent."""
    arrivals = tuple(SENT + (n + 1) * MS for n in range(len(sends))) if stamps is None else tuple(stamps)
    return Exchange(
        index=0,
        phase=Phase.MEASURED,
        target=0,
        stream=stream,
        slot=0,
        due_ns=None,
        connect_ns=None,
        started_ns=SENT,
        sent_ns=SENT,
        finished_ns=SENT + 10**9,
        read_arrival_ns=arrivals,
        read_lag_ns=(),
        read_bytes=tuple(map(len, sends)),
        clock_source="user",
        clock_moved_ns=0,
        ending=ending,
        detail=detail,
        raw=b"".join(sends),
    )
