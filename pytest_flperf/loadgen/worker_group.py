"""Load process group: one plan over multiple load processes.

The processes share one start, one clock and one end.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Protocol

from pytest_flperf.loadgen.entry_pool import EntryPool
from pytest_flperf.loadgen.interrupts import Interrupts
from pytest_flperf.loadgen.plan import Entry, PlanStats, RequestPlan
from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.wire.exchange import Exchange

__all__ = ["LoadGroup", "Plays", "new_client", "parts_of"]

_TICK_S: Final = 0.1
_HEAD_START_NS: Final = 5_000_000
"""From the moment the last process is ready to the plan's begin: the word to go takes well under 1 ms to each."""


class Plays(Protocol):
    """Protocol of a load client: one process or a group."""

    def play(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
    ) -> PlanStats:
        """Run a plan, as :meth:`LoadSession.play`."""
        ...

    def cancel(self) -> None:
        """Cancel the running plan from another thread, for good.

        What has ended by then is handed over.
        """
        ...

    def stop(self) -> None:
        """Stop all started processes."""
        ...


class LoadGroup:
    """Group of load processes, used like a single one.

    The monotonic clock is the same for all processes of a machine.
    """

    def __init__(self, processes: int) -> None:
        with contextlib.ExitStack() as started:  # the others end where one of them can't be started
            self._sessions = [started.enter_context(LoadSession()) for _ in range(processes)]
            started.pop_all()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the load processes."""
        return tuple(session.pid for session in self._sessions)

    def play(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
    ) -> PlanStats:
        """Run a plan, each request in one of the processes.

        As :meth:`LoadSession.play`.  In a closed loop a request goes to a process with a free stream, in an open loop
        by its place in the plan.
        """
        lock = threading.Lock()
        parts, pool = parts_of(plan, len(self._sessions), lock)
        if len(parts) == 1:
            return self._sessions[0].play(plan, on_exchange, on_tick, stop_at=stop_at)
        with Interrupts() as interrupts:
            shared = _Shared(interrupts, len(parts), pool)
            slots = itertools.accumulate((part.concurrency for part in parts), initial=0)
            threads = [
                threading.Thread(
                    target=shared.run,
                    args=(session, part, _keeper(on_exchange, lock, first_slot), stop_at),
                    name="flperf-load",
                    daemon=True,
                )
                for session, part, first_slot in zip(self._sessions, parts, slots, strict=False)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_TICK_S)
                    if on_tick is not None:
                        on_tick()
            return shared.merged()

    def cancel(self) -> None:
        """Cancel the running plan."""
        for session in self._sessions:
            session.cancel()

    def stop(self) -> None:
        """Stop the load processes; safe to call twice."""
        for session in self._sessions:
            session.stop()


def new_client(processes: int) -> Plays:
    """Create a load client with that many processes."""
    return LoadSession() if processes == 1 else LoadGroup(processes)


class _Shared:
    """Shared state of the threads that run one plan's parts."""

    def __init__(self, interrupts: Interrupts, parts: int, pool: EntryPool | None) -> None:
        self._interrupts = interrupts
        self._pool = pool
        self._failed = threading.Event()
        self._errors: list[BaseException] = []
        self._stats: list[PlanStats] = []
        self._begins_ns = 0
        self._barrier = threading.Barrier(parts, action=self._set_begin)

    @property
    def pending(self) -> bool:
        """Whether all must end: an interrupt came, or one has failed."""
        return self._interrupts.pending or self._failed.is_set()

    def run(
        self, session: LoadSession, part: RequestPlan, on_exchange: Callable[[Exchange], None], stop_at: float | None
    ) -> None:
        """Run one part; errors are kept for :meth:`merged`."""
        try:
            stats = session.play_beside(
                part, on_exchange, None, self, stop_at=stop_at, gate=self._gate, pool=self._pool
            )
            self._stats.append(stats)
        except BaseException as error:  # noqa: BLE001 - raised again by merged(), in the calling thread
            self._errors.append(error)
            self._failed.set()
            self._barrier.abort()

    def merged(self) -> PlanStats:
        """Statistics of all parts; raises the error that ended a part."""
        if self._errors:
            raise self._errors[0]
        stats = self._stats
        return PlanStats(
            started_ns=min(each.started_ns for each in stats),
            finished_ns=max(each.finished_ns for each in stats),
            cpu_ns=sum(each.cpu_ns for each in stats),
            reads=sum(each.reads for each in stats),
            finished=sum(each.finished for each in stats),
            gave_up=any(each.gave_up for each in stats),
            stopped=any(each.stopped for each in stats),
            turns=sum((each.turns for each in stats), LoopTurns()),
        )

    def _gate(self) -> int:
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:  # another one failed: this one is about to be cancelled
            return time.monotonic_ns()
        return self._begins_ns

    def _set_begin(self) -> None:
        self._begins_ns = time.monotonic_ns() + _HEAD_START_NS


def parts_of(plan: RequestPlan, processes: int, lock: threading.Lock) -> tuple[list[RequestPlan], EntryPool | None]:
    """Split a plan into one part per process, with their pool.

    There are at most as many parts as streams.

    In an open loop the entries are dealt out in turn and there is no pool: they are due whichever process is free.

    Args:
        plan: The whole.
        processes: Most parts.
        lock: Held while the plan's own functions are called.

    """
    count = max(1, min(processes, plan.concurrency, plan.total))
    if count == 1:
        return [plan], None
    follow = _locked(plan.follow, lock) if plan.follow is not None else None
    parts = [
        replace(
            plan,
            concurrency=_share(plan.concurrency, count, number),
            total=_share(plan.total, count, number),
            entries=(),
            follow=follow,
            window=_share(plan.window, count, number),
        )
        for number in range(count)
    ]
    entries = iter(plan.entries)
    first = list(itertools.islice(entries, 1))
    entries = itertools.chain(first, entries)
    if not first or first[0].due_ns is None:
        return parts, EntryPool(entries, plan.total, plan.concurrency, lock)
    dealer = _Dealer(entries, count, lock)
    return [replace(part, entries=dealer.hand(number)) for number, part in enumerate(parts)], None


class _Dealer:
    """Deals entries out to the parts in turn."""

    def __init__(self, entries: Iterator[Entry], count: int, lock: threading.Lock) -> None:
        self._entries = entries
        self._lock = lock
        self._dealt: list[deque[Entry]] = [deque() for _ in range(count)]
        self._turns = itertools.cycle(self._dealt)

    def hand(self, number: int) -> Iterator[Entry]:
        """Entries of one part."""
        mine = self._dealt[number]
        while True:
            with self._lock:
                while not mine:
                    entry = next(self._entries, None)
                    if entry is None:
                        return
                    next(self._turns).append(entry)
                entry = mine.popleft()
            yield entry


def _share(total: int, count: int, number: int) -> int:
    return total // count + (number < total % count)


def _locked(follow: Callable[[Exchange], Entry | None], lock: threading.Lock) -> Callable[[Exchange], Entry | None]:
    def asked(exchange: Exchange) -> Entry | None:
        with lock:
            return follow(exchange)

    return asked


def _keeper(
    on_exchange: Callable[[Exchange], None], lock: threading.Lock, first_slot: int
) -> Callable[[Exchange], None]:
    """Serialize ``on_exchange``, with stream numbers unique over all processes."""

    def keep(exchange: Exchange) -> None:
        with lock:
            on_exchange(replace(exchange, slot=exchange.slot + first_slot) if first_slot else exchange)

    return keep
