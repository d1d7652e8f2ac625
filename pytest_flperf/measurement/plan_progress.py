"""Plan progress: requests counted, current speed, why a plan ended early."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pytest_flperf.loadgen.plan import OPEN_END, PlanStats, RequestPlan
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.glance import glance

__all__ = ["Counter", "Speed", "gave_up"]

_NEWEST: Final = 8
"""Requests that one look takes in, the newest: so it costs the same at any load."""
_LARGEST: Final = 4 << 20
"""Bytes of an answer that is kept for the next look."""
_MEDIAN_OF: Final = 200
"""Requests, the newest that were looked at, whose median is told."""
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of a plan under way: about that of its results to come."""

    ttft_ms: float | None
    """Median over the newest requests; None: unknown as yet."""
    tps: float | None
    """Output tokens/s: median over the newest requests, or of all streams together."""
    of_all: bool
    """Whether that is of all streams together."""


class Counter:
    """Counts requests of a plan, and those that the transport lost.

    Nothing it keeps grows with their number.
    """

    def __init__(self, on_request: Callable[[Counter], None] | None) -> None:
        self._on_request = on_request
        self.lost = 0
        """Measured requests that the transport lost."""
        self._begin(Phase.MEASURED)

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        """``warmup`` or ``measured``."""
        self.done = 0
        """Requests that have ended."""
        self.total = 0
        """Requests in all; 0 where nobody knows."""
        self._of_all = False
        self._newest: deque[Exchange] = deque(maxlen=_NEWEST)
        self._ttfts_ms: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._tps: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._tokens = self._looked_at = self._ended = 0
        self._first_ns = self._last_ns = 0

    def warming(self, plan: RequestPlan) -> None:
        """Count the requests of a warm-up from now on."""
        self._begin(Phase.WARMUP)
        self.total = _total(plan)

    def measuring(self, plan: RequestPlan | None) -> None:
        """Count measured requests from now on.

        Args:
            plan: The only one; None: turns of two sides, of which none is a load by itself.

        """
        self._begin(Phase.MEASURED)
        if plan is not None:
            self.total = _total(plan)
            self._of_all = plan.concurrency > 1

    def wrap(self, keep: Callable[[Exchange], None], *, other_side: bool = False) -> Callable[[Exchange], None]:
        """Wrap a callback, to count the exchanges that it gets.

        The speed is not that of another side.
        """

        def count(exchange: Exchange) -> None:
            keep(exchange)
            self.done += exchange.phase is not Phase.RETRY
            if self.phase is Phase.WARMUP:
                return
            self.lost += exchange.ending.value != "complete"
            if self._on_request is not None and exchange.phase is Phase.MEASURED and not other_side:
                self._note(exchange)

        return count

    def _note(self, exchange: Exchange) -> None:
        self._ended += 1
        self._first_ns = min(self._first_ns or exchange.started_ns, exchange.started_ns)
        self._last_ns = exchange.finished_ns
        if len(exchange.raw) <= _LARGEST:
            self._newest.append(exchange)

    def tick(self) -> None:
        """Report the counts."""
        if self._on_request is not None:
            self._on_request(self)

    def speed(self) -> Speed:
        """Current speed; looks at the newest requests first.

        Of all streams it is the tokens of a request, by those that were looked at, times all requests, over the time.
        """
        while self._newest:
            self._look(self._newest.popleft())
        ttft_ms = statistics.median(self._ttfts_ms) if self._ttfts_ms else None
        if not self._of_all:
            return Speed(ttft_ms, statistics.median(self._tps) if self._tps else None, of_all=False)
        span_s = (self._last_ns - self._first_ns) / _NS_PER_S
        known = self._tokens and span_s > 0
        return Speed(ttft_ms, self._tokens / self._looked_at * self._ended / span_s if known else None, of_all=True)

    def _look(self, exchange: Exchange) -> None:
        seen = glance(exchange)
        self._looked_at += 1  # also one that failed: it had no tokens
        if seen is None:
            return
        if seen.ttft_ms is not None:
            self._ttfts_ms.append(seen.ttft_ms)
        if seen.tokens is not None and seen.seconds > 0:
            self._tokens += seen.tokens
            self._tps.append(seen.tokens / seen.seconds)


def _total(plan: RequestPlan) -> int:
    """Requests of a plan; 0 where nobody knows: there is no end, or as many as chats have turns."""
    return 0 if plan.total == OPEN_END or plan.window else plan.total


def gave_up(plan: RequestPlan, stats: PlanStats) -> str:
    """Why requests of a plan were left out; empty where none were."""
    if not stats.gave_up:
        return ""
    total = _total(plan)
    planned = f" of {total}" if total else ""
    return f"stopped after {stats.finished}{planned} requests: {plan.give_up_after} in a row had no complete answer"
