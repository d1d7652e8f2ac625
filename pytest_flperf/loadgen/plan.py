"""Request plans: targets, deadlines, entries and schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.tls import TlsOptions

__all__ = [
    "ANSWER_BYTES",
    "KEPT_BYTES",
    "OPEN_END",
    "Deadlines",
    "Destination",
    "Entry",
    "LoadSchedule",
    "PlanStats",
    "RequestPlan",
]


_TRUSTING_THE_SYSTEM: Final = TlsOptions()
ANSWER_BYTES: Final = 64 << 20
"""Longest answer of a request unless a plan says otherwise."""
KEPT_BYTES: Final = 2 << 20
"""Of an answer that is too large: enough to see what it was, and when its first tokens came."""
OPEN_END: Final = 1 << 40
"""Total of a plan that does not end by its number of requests: more than there can be."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Server to connect to."""

    addresses: tuple[tuple[int, Any], ...]
    """``(family, socket address)``, tried in order."""
    tls_name: str | None = None
    """The host name to check a certificate against; None: plain TCP."""
    tls: TlsOptions = _TRUSTING_THE_SYSTEM
    """Whom to trust where ``tls_name`` says TLS; its files must be readable for the load process."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines of each request, in ns; 0: none.

    ``connect`` counts from the start of connecting, the rest from the first byte.
    """

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
    wait_ns: int = 0
    """Pause before a follow-up request may start."""


@dataclass(frozen=True, slots=True)
class LoadSchedule:
    """Schedule of a plan: when its requests start.

    Times in ns from the plan's start; 0: no such thing.
    """

    open_ahead: int = 0
    """Connections to open before the first request, and one more whenever none is idle; 0: one for each stream, which
    is what a closed loop needs."""
    think_ns: int = 0
    """Pause of a stream between the end of a request and the next one."""
    stagger_ns: int = 0
    """Time over which the streams start, one after the other."""
    duration_ns: int = 0
    """No request starts after this time; those in flight may end."""
    steady_from_ns: int = 0
    """Measured requests that begin (or are due) earlier are of the phase ``outside``."""
    steady_until_ns: int = 0
    """… and those from then on."""


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Plan: requests over ``concurrency`` streams.

    Closed loop: each stream sends when its last request has ended.  Open loop (entries with ``due_ns``): a request is
    sent when it is due on any stream that is free, or as soon as one is.
    """

    targets: tuple[Destination, ...]
    deadlines: Deadlines
    concurrency: int
    total: int
    """How many ``entries`` there are, at most where the schedule has a duration."""
    entries: Iterable[Entry]
    """``total`` of them, by ``due_ns`` where they have one; taken as they are needed, a window ahead."""
    give_up_after: int = 0
    """Stop when that many requests in a row, over all streams, ended without a complete answer; 0: never.

    A server that dies in the middle then costs about that many timeouts and not one for each request that is left.
    Any whole answer begins the count anew, an error page too: a server that refuses is quick and says why.
    """
    schedule: LoadSchedule = LoadSchedule()
    longest_pause_ns: int = 0
    """Longest time without a request although all is well."""
    follow: Callable[[Exchange], Entry | None] | None = None
    """Returns the follow-up of each ended request, not counted in ``total``: a retry, or the next turn of a chat.
    Called while other requests are measured, so it must be quick; the entry's ``due_ns`` has no meaning."""
    answer_bytes: int = ANSWER_BYTES
    """Longest answer of a request, head included; a longer one ends there as ``answer_too_large``."""
    reasoning_tags: bool = True
    """Whether tags like ``<think>`` in the answers hold reasoning."""
    window: int = 0
    """Most entries that are handed over before their requests have ended, those that follow included; 0: as many as
    the load process can hold with ease."""


@dataclass(frozen=True, slots=True)
class PlanStats:
    """Statistics of a finished plan from the load process."""

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
    turns: LoopTurns = field(default_factory=LoopTurns)
    """Of the load process's loop; none where the plan was played without one."""
