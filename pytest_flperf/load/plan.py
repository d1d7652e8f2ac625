"""What the load process is asked to play."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_flperf.wire.exchange import Phase

__all__ = ["Deadlines", "Entry", "Plan", "PlanStats", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A server to connect to."""

    addresses: tuple[tuple[int, Any], ...]
    """``(family, socket address)``, tried in order."""
    tls_name: str | None = None
    """The host name to check a certificate against; None: plain TCP."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines of each request in ns; 0: none.  ``connect`` counts from its begin, the rest from the first byte."""

    connect_ns: int
    headers_ns: int
    first_token_ns: int
    stall_ns: int
    """From the last chunk with text."""
    total_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of a plan."""

    index: int
    phase: Phase
    target: int
    stream: bool
    request: bytes = field(repr=False)
    """Exactly what goes on the wire; may hold a key, so never shown."""
    due_ns: int | None = None
    """When it is due, from the start of the plan; None: as soon as a stream is free (closed loop)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A closed loop: ``total`` requests over ``concurrency`` streams, each sending when its last one has ended."""

    targets: tuple[Target, ...]
    deadlines: Deadlines
    concurrency: int
    total: int
    entries: Iterable[Entry]
    """``total`` of them; taken as they are needed, a window ahead."""
    give_up_after: int = 0
    """Stop when that many requests in a row, over all streams, ended without a complete answer; 0: never.

    A server that dies in the middle then costs about that many timeouts and not one for each request that is left.
    Any whole answer begins the count anew, an error page too: a server that refuses is quick and says why.
    """


@dataclass(frozen=True, slots=True)
class PlanStats:
    """What the load process says of a plan that it played."""

    started_ns: int
    finished_ns: int
    cpu_ns: int
    """Processor time of the load process while it played."""
    reads: int
    finished: int
    """Requests that ended, cancelled ones included."""
    gave_up: bool = False
    stopped: bool = False
    """Whether requests were left out because the time was over."""
