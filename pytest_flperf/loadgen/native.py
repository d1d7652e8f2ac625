"""Native client: runs plans without HTTP, through the server's own process.

Each request goes to the server's process, which stamps the answer.  The results are exchanges like those of the load
process: their bytes are the answer's chunks, written as an OpenAI-compatible server would send them; the stamps were
taken where the chunks were made.
"""

from __future__ import annotations

import heapq
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pytest_flperf.backends.base import BackendError, NativeAnswer, NativeChat
from pytest_flperf.loadgen.connection import too_large
from pytest_flperf.loadgen.pacing import Pacing
from pytest_flperf.loadgen.plan import KEPT_BYTES, Entry, PlanStats, RequestPlan
from pytest_flperf.wire.exchange import Ending, Exchange, Phase

__all__ = ["NativeClient"]

_TICK_S: Final = 0.1
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_DONE: Final = b"data: [DONE]\n\n"
_NO_DEADLINE_S: Final = 86_400.0
_NS_PER_S: Final = 1_000_000_000


class NativeClient:
    """Runs plans on a model without HTTP, one thread per stream."""

    def __init__(self, chat: NativeChat) -> None:
        self._chat = chat
        self._cancelled = threading.Event()

    def play(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
    ) -> PlanStats:
        """Run a plan, as a load process does.

        As :meth:`~pytest_flperf.loadgen.worker_client.LoadSession.play`; an interrupt leaves requests behind.
        """
        return _Playing(self._chat, plan, self._cancelled).play(on_exchange, on_tick, stop_at)

    def cancel(self) -> None:
        """Start no further request.

        Those in flight end by themselves, or with the server's process.
        """
        self._cancelled.set()

    def stop(self) -> None:
        """Do nothing: no process was started."""


class _Playing:
    """One running plan."""

    def __init__(self, chat: NativeChat, plan: RequestPlan, cancelled: threading.Event) -> None:
        self._chat = chat
        self._cancelled = cancelled
        self._plan = plan
        self._entries: Iterator[Entry] = itertools.islice(plan.entries, plan.total)
        self._next: Entry | None = None
        self._later: list[tuple[int, int, Entry]] = []
        self._numbers = itertools.count()
        self._pacing = Pacing(plan.schedule, plan.concurrency)
        self._ended: queue.SimpleQueue[Exchange] = queue.SimpleQueue()
        self._under_way = self._finished = self._in_a_row = 0
        self._gave_up = self._stopped = False

    def play(
        self,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None,
        stop_at: float | None,
    ) -> PlanStats:
        started_ns = time.monotonic_ns()
        self._pacing.begin(started_ns)
        next_tick = time.monotonic() + _TICK_S
        while self._begin_what_may(stop_at) or self._under_way:
            try:
                exchange = self._ended.get(timeout=self._patience_s())
            except queue.Empty:
                exchange = None
            if exchange is not None:
                self._take(exchange)
                on_exchange(exchange)
            if on_tick is not None and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + _TICK_S
                on_tick()
        return PlanStats(started_ns, time.monotonic_ns(), 0, 0, self._finished, self._gave_up, self._stopped)

    def _begin_what_may(self, stop_at: float | None) -> bool:
        """Start every request that may start now; returns whether there are more."""
        while True:
            now_ns = time.monotonic_ns()
            entry = self._first(now_ns)
            if entry is None or self._is_over(now_ns, stop_at):
                return bool(self._later) and not self._is_over(now_ns, stop_at)
            slot = self._pacing.slot_for(entry.due_ns, now_ns)
            if slot is None:
                return True
            self._taken(entry)
            self._under_way += 1
            threading.Thread(target=self._ask, args=(entry, slot, now_ns), name="flperf-native", daemon=True).start()

    def _is_over(self, now_ns: int, stop_at: float | None) -> bool:
        if self._cancelled.is_set() or (stop_at is not None and time.monotonic() >= stop_at):
            self._stopped = True
        self._gave_up |= 0 < self._plan.give_up_after <= self._in_a_row
        return self._stopped or self._gave_up or self._pacing.over(now_ns)

    def _first(self, now_ns: int) -> Entry | None:
        """Next entry to start; follow-ups first, once their pause is over."""
        if self._later and self._later[0][0] <= now_ns:
            return self._later[0][2]
        if self._next is None:
            self._next = next(self._entries, None)
        return self._next

    def _taken(self, entry: Entry) -> None:
        if self._later and self._later[0][2] is entry:
            heapq.heappop(self._later)
        else:
            self._next = None

    def _patience_s(self) -> float:
        now_ns = time.monotonic_ns()
        wake_ns = self._pacing.wake_ns(waiting=self._next is not None or bool(self._later))
        wakes = [wake_ns] if wake_ns else []
        wakes += [from_ns for from_ns, _, _ in self._later[:1] if from_ns > now_ns]
        left_s = (min(wakes) - now_ns) / _NS_PER_S if wakes else _TICK_S
        return min(max(left_s, 0.0), _TICK_S)

    def _take(self, exchange: Exchange) -> None:
        self._under_way -= 1
        self._finished += 1
        self._in_a_row = 0 if exchange.ending is Ending.COMPLETE else self._in_a_row + 1
        now_ns = time.monotonic_ns()
        self._pacing.release(exchange.slot, now_ns)
        following = self._plan.follow(exchange) if self._plan.follow is not None else None
        if following is not None:
            heapq.heappush(self._later, (now_ns + following.wait_ns, next(self._numbers), following))

    def _ask(self, entry: Entry, slot: int, began_ns: int) -> None:
        """Send one request; runs in its own thread."""
        at_ns = began_ns if entry.due_ns is None else self._pacing.started_ns + entry.due_ns
        steady = entry.phase is not Phase.MEASURED or self._pacing.steady(at_ns)
        due_ns = None if entry.due_ns is None else at_ns
        exchange = _ask(self._chat, entry, slot, due_ns, self._plan.deadlines.total_ns)
        if not self._plan.reasoning_tags:
            exchange = replace(exchange, reasoning_tags=False)
        if len(exchange.raw) > self._plan.answer_bytes:
            ending, detail = too_large(self._plan.answer_bytes)
            exchange = replace(exchange.cut(KEPT_BYTES, detail), ending=ending, detail=detail)
        self._ended.put(exchange if steady else replace(exchange, phase=Phase.OUTSIDE))


def _ask(chat: NativeChat, entry: Entry, slot: int, due_ns: int | None, total_ns: int) -> Exchange:
    body: Mapping[str, Any] = json.loads(entry.request.partition(b"\r\n\r\n")[2])
    started_ns = time.monotonic_ns()
    deadline_s = total_ns / _NS_PER_S if total_ns else _NO_DEADLINE_S
    reads: list[tuple[int, bytes]] = []
    try:
        answer = chat.chat(body, deadline_s)
        reads = _reads_of(answer)
    except Exception as error:  # noqa: BLE001 - backends of others may raise anything, and the plan waits for an end
        answer = NativeAnswer(started_ns, (), time.monotonic_ns())
        detail = str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
        ending = Ending.CONNECTION_LOST
    else:
        ending = Ending.TOTAL_TIMEOUT if answer.timed_out else Ending.COMPLETE
        detail = answer.error if answer.timed_out else ""
    return Exchange(
        index=entry.index,
        phase=entry.phase,
        target=entry.target,
        stream=entry.stream,
        slot=slot,
        due_ns=due_ns,
        connect_ns=None,
        started_ns=answer.sent_ns,
        sent_ns=answer.sent_ns,
        finished_ns=time.monotonic_ns(),
        read_arrival_ns=tuple(stamp for stamp, _ in reads),
        read_lag_ns=(),
        read_bytes=tuple(len(raw) for _, raw in reads),
        clock_source="user",
        clock_moved_ns=0,
        ending=ending,
        detail=detail,
        raw=b"".join(raw for _, raw in reads),
    )


def _reads_of(answer: NativeAnswer) -> list[tuple[int, bytes]]:
    """Stamps, and the bytes that a server would have sent then."""
    reads = [(stamp, _event(chunk)) for stamp, chunk in answer.chunks]
    if answer.error and not answer.timed_out:
        reads.append((answer.ended_ns, _event({"error": {"message": answer.error}})))
    elif not answer.timed_out:
        reads.append((answer.ended_ns, _DONE))
    if reads:
        reads[0] = (reads[0][0], _HEAD + reads[0][1])
    return reads


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"
