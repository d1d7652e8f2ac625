"""The measuring process's handle on the load process."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from types import TracebackType
from typing import IO, Any, Final, Self

from pytest_flperf.load.channel import ChannelClosedError, FrameReader, FrameWriter, buffer_generously
from pytest_flperf.load.interrupts import Interrupts
from pytest_flperf.load.plan import Entry, Plan, PlanStats
from pytest_flperf.wire.exchange import Ending, Exchange, Phase

__all__ = ["LoadProcessError", "LoadSession"]

_WINDOW: Final = 256
_CANCEL_PATIENCE_S: Final = 2.0
_TICK_S: Final = 0.1


class LoadProcessError(RuntimeError):
    """The load process ended or stopped answering while a plan was played."""


class LoadSession:
    """A load process, started at once and used for one plan after the other."""

    def __init__(self, log: IO[bytes] | int = subprocess.DEVNULL) -> None:
        ours, theirs = socket.socketpair()
        buffer_generously(ours)
        self._process = _spawn(theirs, log)
        theirs.close()
        self._sock = ours
        self._reader = FrameReader(ours)
        self._writer = FrameWriter(ours)

    @property
    def pid(self) -> int:
        """The load process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the load process still runs."""
        return self._process.poll() is None

    def play(
        self, plan: Plan, on_exchange: Callable[[Exchange], None], on_tick: Callable[[], None] | None = None
    ) -> PlanStats:
        """Play a plan; every request that ends is handed to ``on_exchange`` at once.

        ``on_tick`` is called about ten times a second.  SIGINT and SIGTERM end the plan: what is under way is
        cancelled and handed over as well, then the signal takes its usual course.  Raises LoadProcessError.
        """
        with Interrupts() as interrupts:
            try:
                stats = self._play(plan, on_exchange, on_tick, interrupts)
            except ChannelClosedError as error:
                code = self._ended()
                raise LoadProcessError(f"the load process ended (exit status {code}) while it measured") from error
        return stats

    def _play(
        self,
        plan: Plan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None,
        interrupts: Interrupts,
    ) -> PlanStats:
        targets = [([(family, address) for family, address in t.addresses], t.tls_name) for t in plan.targets]
        entries = iter(plan.entries)
        ahead = max(_WINDOW, 2 * plan.concurrency)
        first = list(itertools.islice(entries, ahead))
        self._writer.write(("plan", targets, astuple(plan.deadlines), plan.concurrency, plan.total))
        self._send_entries(first)
        unsent = 0
        finished = complete = 0
        gave_up = False
        cancelled_at: float | None = None
        while True:
            for frame in self._frames():
                if frame[0] == "done":
                    started_ns, finished_ns, cpu_ns, reads, ended = frame[1:]
                    return PlanStats(started_ns, finished_ns, cpu_ns, reads, ended, gave_up)
                exchange = _exchange(frame[1:])
                finished += 1
                complete += exchange.ending is Ending.COMPLETE
                unsent += 1
                on_exchange(exchange)
            if unsent >= ahead // 2:
                self._send_entries(list(itertools.islice(entries, unsent)))
                unsent = 0
            if on_tick is not None:
                on_tick()
            hopeless = bool(plan.give_up_after) and finished >= plan.give_up_after and not complete
            if cancelled_at is None and (interrupts.pending or hopeless):
                gave_up = hopeless and not interrupts.pending
                cancelled_at = time.monotonic()
                self._writer.write(("cancel",))
            if cancelled_at is not None and time.monotonic() - cancelled_at > _CANCEL_PATIENCE_S:
                self.stop()
                raise LoadProcessError("the load process didn't stop when it was told to; it was ended")

    def _frames(self) -> Iterator[Any]:
        ready, _, _ = select.select([self._sock], [], [], _TICK_S)
        return iter(self._reader.read() if ready else ())

    def _send_entries(self, entries: list[Entry]) -> None:
        if entries:
            packed = [(e.index, e.phase.value, e.target, e.stream, e.request, e.due_ns) for e in entries]
            self._writer.write(("entries", packed))

    def _ended(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0)
        return None

    def stop(self) -> None:
        """End the load process; safe to call twice."""
        self._sock.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _spawn(theirs: socket.socket, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest_flperf.load.process"]
    environment = _environment()
    if sys.platform == "win32":
        process = subprocess.Popen(
            [*command, "stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
            env=environment,
        )
        shared = theirs.share(process.pid)
        assert process.stdin is not None
        process.stdin.write(shared)
        process.stdin.close()
        return process
    number = theirs.fileno()
    return subprocess.Popen(
        [*command, str(number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        pass_fds=(number,),
        start_new_session=True,
        env=environment,
    )


def _environment() -> dict[str, str]:
    """Ours, with this package importable where the interpreter was told its path by hand."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    return environment


def _exchange(values: tuple[Any, ...]) -> Exchange:
    """An Exchange from the load process's frame: kernel stamps become monotonic here, off the measured path."""
    (
        index, phase, target, stream, slot, due_ns, connect_ns, started_ns, sent_ns, finished_ns, arrivals, read_ns,
        sizes, offset_ns, end_offset_ns, ending, detail, raw,
    ) = values  # fmt: skip
    moved = end_offset_ns - offset_ns if any(arrivals) else 0
    stamped = [arrival for arrival in arrivals if arrival]
    source = "user" if not stamped else "kernel" if len(stamped) == len(arrivals) else "mixed"
    slope = moved / max(finished_ns - started_ns, 1)
    monotonic = [
        arrival - offset_ns - round(slope * (read - started_ns)) if arrival else read
        for arrival, read in zip(arrivals, read_ns, strict=True)
    ]
    return Exchange(
        index=index,
        phase=Phase(phase),
        target=target,
        stream=stream,
        slot=slot,
        due_ns=due_ns,
        connect_ns=connect_ns,
        started_ns=started_ns,
        sent_ns=sent_ns,
        finished_ns=finished_ns,
        read_arrival_ns=tuple(monotonic),
        read_lag_ns=tuple(read - at for at, read in zip(monotonic, read_ns, strict=True)) if source != "user" else (),
        read_bytes=tuple(sizes),
        clock_source=source,
        clock_moved_ns=moved,
        ending=Ending(ending),
        detail=detail,
        raw=raw,
    )
