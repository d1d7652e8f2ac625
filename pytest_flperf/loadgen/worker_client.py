"""Load process client: starts and controls the load process."""

from __future__ import annotations

import contextlib
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
from typing import IO, Any, Final, Protocol, Self

from pytest_flperf._text import harmless
from pytest_flperf.loadgen.channel import ChannelClosedError, FrameReader, FrameWriter, buffer_generously
from pytest_flperf.loadgen.client_limits import client_limit, error_words, is_shortage
from pytest_flperf.loadgen.entry_pool import EntryPool
from pytest_flperf.loadgen.interrupts import Interrupts
from pytest_flperf.loadgen.plan import OPEN_END, Entry, PlanStats, RequestPlan
from pytest_flperf.loadgen.poller import new_poller
from pytest_flperf.loadgen.queue import Incoming, Supply, longest_silence_s
from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.wire.exchange import Ending, Exchange

__all__ = ["LoadProcessError", "LoadSession", "Pending"]

_BATCH_S: Final = 0.005
_MAIN: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from pytest_flperf.loadgen.worker_main import main;"
    " sys.exit(main(sys.argv[1:]))"
)
_CANCEL_PATIENCE_S: Final = 2.0
_TICK_S: Final = 0.1
_FRAME_BYTES: Final = 131_072
_ENTRY_BYTES: Final = 512
"""Of an entry, without its request; generously."""
_LAST_WORDS_BYTES: Final = 4_096
_LAST_WORDS_LINES: Final = 6


class LoadProcessError(RuntimeError):
    """The load process failed to start, ended early or stopped responding."""


class Pending(Protocol):
    """Protocol: whether a plan must end at once."""

    @property
    def pending(self) -> bool:
        """Whether a reason to end the plan has come."""
        ...


class LoadSession:
    """Load process, started at once and reused for every plan."""

    def __init__(self) -> None:
        """Start the load process; raises LoadProcessError where that fails."""
        try:
            with contextlib.ExitStack() as opened:
                self._sock, theirs = socket.socketpair()
                opened.callback(self._sock.close)
                with theirs:
                    buffer_generously(self._sock)
                    self._sock.setblocking(False)
                    self._poller = new_poller()
                    opened.callback(self._poller.close)
                    self._poller.watch(self._sock.fileno(), write=False)
                    self._log = opened.enter_context(tempfile.TemporaryFile())
                    self._process = _spawn(theirs, self._log)
                opened.pop_all()  # stop() closes them
        except OSError as error:
            words = client_limit(error)[1] if is_shortage(error) else error_words(error)
            raise LoadProcessError(f"the load process can't be started: {words}") from error
        self._reader = FrameReader(self._sock)
        self._writer = FrameWriter(self._sock)
        self._rested_s = 0.0
        self._cancelled = False

    @property
    def pid(self) -> int:
        """Process id of the load process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the load process still runs."""
        return self._process.poll() is None

    def play(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
    ) -> PlanStats:
        """Run a plan; ended requests go to ``on_exchange``.

        Each is handed over a few ms after its end.

        ``on_tick`` is called about ten times a second.  SIGINT and SIGTERM end the plan: requests in flight are
        cancelled and handed over as well, then the signal takes its usual course.  From ``stop_at`` on (monotonic, in
        seconds) no request is sent, and those in flight may end.  Raises LoadProcessError.
        Any exception that ends a plan ends the load process, too.
        """
        with Interrupts() as interrupts:
            return self.play_beside(plan, on_exchange, on_tick, interrupts, stop_at=stop_at)

    def play_beside(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None,
        interrupts: Pending,
        *,
        stop_at: float | None = None,
        gate: Callable[[], int] | None = None,
        pool: EntryPool | None = None,
    ) -> PlanStats:
        """Run one part of a plan that other load processes share.

        Args:
            plan: The part of this load process.
            on_exchange: As in :meth:`play`.
            on_tick: As in :meth:`play`.
            interrupts: Says when to end; held back by the caller.
            stop_at: As in :meth:`play`.
            gate: Called when all connections stand; returns when the plan begins (monotonic, ns).  None: at once.
            pool: Source of the entries instead of the plan.

        """
        try:
            return self._play(_Playing(plan, pool), on_exchange, on_tick, interrupts, stop_at, gate)
        except ChannelClosedError as error:
            code, said = self._ended(), self._last_words()
            self.stop()
            raise LoadProcessError(f"the load process ended (exit status {code}) while it measured{said}") from error
        except BaseException:
            self.stop()  # it would go on, and its frames would be taken for the next plan's
            raise

    def _play(
        self,
        playing: _Playing,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None,
        interrupts: Pending,
        stop_at: float | None,
        gate: Callable[[], int] | None,
    ) -> PlanStats:
        self._begin(playing, hold=gate is not None)
        next_tick = time.monotonic() + _TICK_S
        incoming = Incoming(playing.plan.reasoning_tags)
        while True:
            before = time.monotonic()
            frames = self._frames()
            playing.heard(frames, time.monotonic() - before)
            for frame in frames:
                if frame[0] == "done":
                    return playing.stats(frame)
                if frame[0] == "ready":
                    assert gate is not None
                    self._send("go", gate())
                    continue
                exchange = incoming.take(frame)
                if exchange is None:
                    continue
                following = playing.ended(exchange)
                on_exchange(exchange)
                if following is not None:
                    self._send("follow", _frame_of(following), following.wait_ns)
            now = time.monotonic()
            if on_tick is not None and now >= next_tick:
                next_tick = now + _TICK_S
                on_tick()
            word = playing.word(now, stop_at, interrupts.pending or self._cancelled)
            if word:
                self._send(word)
            self._send_entries(playing.more())

    def _begin(self, playing: _Playing, *, hold: bool) -> None:
        plan = playing.plan
        targets = [([*map(tuple, t.addresses)], t.tls_name, *astuple(t.tls)) for t in plan.targets]
        first = playing.more()  # before the plan, whose time begins when it has its connections
        total = plan.total if playing.counted else OPEN_END
        schedule = astuple(plan.schedule)
        self._send("plan", targets, astuple(plan.deadlines), plan.answer_bytes, plan.concurrency, total, schedule, hold)
        self._send_entries(first)

    def _frames(self) -> list[Any]:
        """Frames from the load process; waits for one tick at most."""
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
        # In frames that the load process takes in without being held up by them.
        frames: list[tuple[Any, ...]] = []
        size = 0
        for entry in entries:
            frames.append(_frame_of(entry))
            size += len(entry.request) + _ENTRY_BYTES
            if size >= _FRAME_BYTES:
                self._send("entries", frames)
                frames, size = [], 0
        if frames:
            self._send("entries", frames)

    def _send(self, *frame: Any) -> None:
        self._writer.write(frame)
        self._watch()

    def _watch(self) -> None:
        self._poller.change(self._sock.fileno(), write=self._writer.waiting)

    def _last_words(self) -> str:
        """Last lines of the load process's standard error; empty unless it crashed."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LAST_WORDS_BYTES))
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        shown = harmless(" | ".join(lines[-_LAST_WORDS_LINES:]))
        return f"; its last words: {shown}" if shown else ""

    def _ended(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0)
        return None

    def cancel(self) -> None:
        """Cancel the running plan from another thread.

        It ends as an interrupt ends it in the main thread.  This can't be undone.
        """
        self._cancelled = True

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


class _Playing:
    """State of a running plan."""

    def __init__(self, plan: RequestPlan, pool: EntryPool | None) -> None:
        self.plan = plan
        self.counted = plan.follow is None and pool is None
        """Whether it is known how many requests the load process will send."""
        self._supply = Supply(plan, pool)
        self._finished = self._in_a_row = 0  # the second: requests without a complete answer since the last with one
        self._gave_up = self._stopped = self._ended = self._cut_off = False
        self._patience: float | None = None  # until when a cancelled plan may take
        self._silent_s = 0.0
        self._longest_silence_s = longest_silence_s(plan)

    def heard(self, frames: list[Any], waited_s: float) -> None:
        """Record new frames; raises LoadProcessError after too long a silence."""
        # A pause of the whole machine doesn't count as silence.
        self._silent_s = 0.0 if frames else self._silent_s + min(waited_s, 2 * _TICK_S)
        if self._silent_s > self._longest_silence_s:
            raise LoadProcessError(f"the load process said nothing for {self._silent_s:.1f} s; it was ended")

    def ended(self, exchange: Exchange) -> Entry | None:
        """Count an ended request; returns the follow-up that it causes."""
        self._supply.ended(exchange)
        self._finished += 1
        self._in_a_row = 0 if exchange.ending is Ending.COMPLETE else self._in_a_row + 1
        if self._patience is not None:
            self._patience = time.monotonic() + _CANCEL_PATIENCE_S
        if self.plan.follow is None:
            return None
        if not self._goes_on:
            self._cut_off = True  # its follow-up is unknown
            return None
        following = self.plan.follow(exchange)
        if following is not None:
            self._supply.follows(following)
        return following

    def word(self, now: float, stop_at: float | None, interrupted: bool) -> str:
        """Next command for the load process: cancel, stop or nothing.

        Raises LoadProcessError if it doesn't respond.
        """
        hopeless = 0 < self.plan.give_up_after <= self._in_a_row and not self._all_ended
        if self._patience is None and (interrupted or hopeless):
            self._gave_up = hopeless and not interrupted
            self._patience = time.monotonic() + _CANCEL_PATIENCE_S
            return "cancel"
        if self._patience is not None and now > self._patience:
            raise LoadProcessError("the load process didn't stop when it was told to; it was ended")
        if stop_at is not None and now >= stop_at and self._goes_on:
            self._stopped = True
            return "stop"
        if not self.counted and self._all_ended and not self._ended:
            self._ended = True
            return "stop"
        return ""

    def more(self) -> list[Entry]:
        """Entries to hand over now."""
        return self._supply.more() if self._goes_on else []

    def stats(self, frame: tuple[Any, ...]) -> PlanStats:
        """Statistics of the plan, from the load process's last frame."""
        started_ns, finished_ns, cpu_ns, reads, ended, counts, longest_ns = frame[1:]
        short = ended < self.plan.total if self.counted else self._cut_off or not self._all_ended
        turns = LoopTurns(dict(counts), longest_ns)
        return PlanStats(
            started_ns, finished_ns, cpu_ns, reads, ended, self._gave_up and short, self._stopped and short, turns
        )

    @property
    def _goes_on(self) -> bool:
        return self._patience is None and not self._stopped

    @property
    def _all_ended(self) -> bool:
        return self._finished >= self.plan.total if self.counted else self._supply.over


def _frame_of(entry: Entry) -> tuple[Any, ...]:
    return (entry.index, entry.phase.value, entry.target, entry.stream, entry.request, entry.due_ns)


def _spawn(theirs: socket.socket, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # Its path is the interpreter's own (-P: without the current folder) and, at the end, this package's: a file
    # called json.py in a project under test must not become the load process's json.
    package_path = str(Path(__file__).parents[2])
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
