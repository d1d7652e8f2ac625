"""The measuring process's handle on the load process."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import pytest_flperf
from pytest_flperf.clock import kernel_stamps_ns
from pytest_flperf.load.channel import ChannelClosedError, FrameReader, FrameWriter, buffer_generously
from pytest_flperf.load.interrupts import Interrupts
from pytest_flperf.load.plan import Entry, Plan, PlanStats
from pytest_flperf.load.poller import new_poller
from pytest_flperf.wire.exchange import Ending, Exchange, Phase

__all__ = ["LoadProcessError", "LoadSession"]

_WINDOW: Final = 256
_WINDOW_BYTES: Final = 32 << 20
_BATCH_S: Final = 0.005
_AHEAD_NS: Final = 1_000_000_000
_MAIN: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from pytest_flperf.load.process import main;"
    " sys.exit(main(sys.argv[1:]))"
)
_CANCEL_PATIENCE_S: Final = 2.0
_TICK_S: Final = 0.1
_SILENCE_MARGIN_S: Final = 10.0
_LAST_WORDS_BYTES: Final = 4_096
_LAST_WORDS_LINES: Final = 6


class LoadProcessError(RuntimeError):
    """The load process ended or stopped answering while a plan was played."""


class LoadSession:
    """A load process, started at once and used for one plan after the other."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        buffer_generously(ours)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        self._process = _spawn(theirs, self._log)
        theirs.close()
        ours.setblocking(False)
        self._sock = ours
        self._reader = FrameReader(ours)
        self._writer = FrameWriter(ours)
        self._poller = new_poller()
        self._poller.watch(ours.fileno(), write=False)
        self._rested_s = 0.0

    @property
    def pid(self) -> int:
        """The load process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the load process still runs."""
        return self._process.poll() is None

    def play(
        self,
        plan: Plan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
    ) -> PlanStats:
        """Play a plan; every request that ends is handed to ``on_exchange`` a few ms later.

        ``on_tick`` is called about ten times a second.  SIGINT and SIGTERM end the plan: what is under way is
        cancelled and handed over as well, then the signal takes its usual course.  From ``stop_at`` on (monotonic, in
        seconds) no request is sent, and those under way may end.  Raises LoadProcessError.
        A plan that is left by any exception ends the load process with it.
        """
        with Interrupts() as interrupts:
            try:
                stats = self._play(plan, on_exchange, on_tick, interrupts, stop_at)
            except ChannelClosedError as error:
                code, said = self._ended(), self._last_words()
                self.stop()
                raise LoadProcessError(
                    f"the load process ended (exit status {code}) while it measured{said}"
                ) from error
            except BaseException:
                self.stop()  # it would go on, and its frames would be taken for the next plan's
                raise
        return stats

    def _play(
        self,
        plan: Plan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None,
        interrupts: Interrupts,
        stop_at: float | None,
    ) -> PlanStats:
        targets = [([(family, address) for family, address in t.addresses], t.tls_name) for t in plan.targets]
        supply = _Supply(plan)
        first = supply.more()  # before the plan, whose time begins when it has its connections
        self._send("plan", targets, astuple(plan.deadlines), plan.concurrency, plan.total, astuple(plan.schedule))
        self._send_entries(first)
        longest_silence_s = _longest_silence_s(plan)
        finished = in_a_row = 0  # the second: requests without a complete answer since the last one with one
        gave_up = stopped = False
        patience: float | None = None  # until when a cancelled plan may take
        next_tick = time.monotonic() + _TICK_S
        silent_s = 0.0
        while True:
            before = time.monotonic()
            frames = self._frames()
            # No pause of the whole machine is held against it.
            silent_s = 0.0 if frames else silent_s + min(time.monotonic() - before, 2 * _TICK_S)
            for frame in frames:
                if frame[0] == "done":
                    started_ns, finished_ns, cpu_ns, reads, ended = frame[1:]
                    gave_up, stopped = (each and ended < plan.total for each in (gave_up, stopped))
                    return PlanStats(started_ns, finished_ns, cpu_ns, reads, ended, gave_up, stopped)
                exchange = _exchange(frame[1:])
                supply.ended(exchange)
                finished += 1
                in_a_row = 0 if exchange.ending is Ending.COMPLETE else in_a_row + 1
                on_exchange(exchange)
                if patience is not None:
                    patience = time.monotonic() + _CANCEL_PATIENCE_S
            now = time.monotonic()
            if on_tick is not None and now >= next_tick:
                next_tick = now + _TICK_S
                on_tick()
            hopeless = 0 < plan.give_up_after <= in_a_row and finished < plan.total
            if patience is None and (interrupts.pending or hopeless):
                gave_up = hopeless and not interrupts.pending
                patience = time.monotonic() + _CANCEL_PATIENCE_S
                self._send("cancel")
            if stop_at is not None and now >= stop_at and patience is None and not stopped:
                stopped = True
                self._send("stop")
            if patience is None and not stopped:
                self._send_entries(supply.more())
            elif patience is not None and now > patience:
                raise LoadProcessError("the load process didn't stop when it was told to; it was ended")
            if silent_s > longest_silence_s:
                raise LoadProcessError(f"the load process said nothing for {silent_s:.1f} s; it was ended")

    def _frames(self) -> list[Any]:
        """What the load process has said; waits for a tick at most."""
        events = self._poller.wait(_TICK_S)
        if any(flags & self._poller.write_flag for _fd, flags in events):
            self._writer.flush()
            self._watch()
        if not any(flags & ~self._poller.write_flag for _fd, flags in events):
            return []
        # In batches: waking up for every request takes the processor from the server and the load process.
        rest_s = self._rested_s + _BATCH_S - time.monotonic()
        if rest_s > 0:
            time.sleep(min(rest_s, _BATCH_S))
        self._rested_s = time.monotonic()
        return self._reader.read()

    def _send_entries(self, entries: list[Entry]) -> None:
        if entries:
            self._send("entries", [(e.index, e.phase.value, e.target, e.stream, e.request, e.due_ns) for e in entries])

    def _send(self, *frame: Any) -> None:
        self._writer.write(frame)
        self._watch()

    def _watch(self) -> None:
        self._poller.change(self._sock.fileno(), write=self._writer.waiting)

    def _last_words(self) -> str:
        """The end of what the load process wrote to its standard error, which is nothing unless it broke."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LAST_WORDS_BYTES))
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        shown = "".join(char if char.isprintable() else "?" for char in " | ".join(lines[-_LAST_WORDS_LINES:]))
        return f"; its last words: {shown}" if shown else ""

    def _ended(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0)
        return None

    def stop(self) -> None:
        """End the load process; safe to call twice."""
        if self._sock.fileno() >= 0:
            self._poller.forget(self._sock.fileno())
            self._poller.close()
            self._sock.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _spawn(theirs: socket.socket, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # Its path is the interpreter's own (-P: without the current folder) and, at the end, this package's: a file
    # called json.py in a project under test must not become the load process's json.
    package_path = str(Path(pytest_flperf.__file__).parents[1])
    command = [sys.executable, "-P", "-c", _MAIN, package_path]
    if sys.platform == "win32":
        process = subprocess.Popen(
            [*command, "stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
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
    )


class _Supply:
    """Gives out a plan's entries ahead of the load process, but no more of them than it can hold with ease."""

    def __init__(self, plan: Plan) -> None:
        self._entries = iter(plan.entries)
        self._left = plan.total
        self._window = max(_WINDOW, 2 * plan.concurrency)
        self._least = plan.concurrency + 1
        self._under_way: dict[tuple[int, int], int] = {}  # of an entry, the length of its request
        self._bytes = 0
        self._next: Entry | None = None
        self._begun_ns = time.monotonic_ns()

    def ended(self, exchange: Exchange) -> None:
        """A request has ended."""
        self._bytes -= self._under_way.pop((exchange.target, exchange.index), 0)

    def more(self) -> list[Entry]:
        """The entries to hand over now; raises ValueError if the plan has fewer than it said."""
        entries: list[Entry] = []
        if len(self._under_way) > self._window // 2 and self._bytes <= _WINDOW_BYTES and not self._hurry():
            return entries
        while self._left and (self._room() or self._hurry()):
            entry, self._next = self._peek(), None
            self._left -= 1
            self._bytes += len(entry.request)
            self._under_way[entry.target, entry.index] = len(entry.request)
            entries.append(entry)
        return entries

    def _room(self) -> bool:
        if self._bytes > _WINDOW_BYTES and len(self._under_way) >= self._least:
            return False
        return len(self._under_way) < self._window

    def _hurry(self) -> bool:
        """Whether the next entry is due soon, whatever else is under way.  The plan began later than this clock."""
        if not self._left:
            return False
        due_ns = self._peek().due_ns
        return due_ns is not None and due_ns < time.monotonic_ns() - self._begun_ns + _AHEAD_NS

    def _peek(self) -> Entry:
        if self._next is None:
            self._next = next(self._entries, None)
            if self._next is None:
                raise ValueError(f"the plan's entries ended {self._left} short of its total")
        return self._next


def _longest_silence_s(plan: Plan) -> float:
    """After how long without a word the load process must be stuck: every request has its end by then."""
    limits = plan.deadlines
    if not (limits.total_ns and limits.connect_ns):
        return math.inf
    # Each connection is tried twice at most: before the plan's first request and for its own.
    return (2 * limits.connect_ns + limits.total_ns + plan.longest_pause_ns) / 1e9 + _SILENCE_MARGIN_S


def _exchange(values: tuple[Any, ...]) -> Exchange:
    """An Exchange from the load process's frame: kernel stamps become monotonic here, off the measured path."""
    (
        index, phase, target, stream, slot, due_ns, connect_ns, started_ns, sent_ns, finished_ns, stamps, read_ns,
        sizes, offset_ns, end_offset_ns, ending, detail, raw,
    ) = values  # fmt: skip
    arrivals = kernel_stamps_ns(stamps)
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
