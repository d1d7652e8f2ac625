"""Load process main loop: runs plans and stamps what arrives."""

from __future__ import annotations

import gc
import time
from collections import deque
from typing import Any, Final

from pytest_flperf.clock import KERNEL_STAMPS_POSSIBLE, RecentOffset
from pytest_flperf.loadgen.after_done import PERHAPS_DONE, AfterDone
from pytest_flperf.loadgen.backlog import Backlog
from pytest_flperf.loadgen.channel import FrameReader, FrameWriter
from pytest_flperf.loadgen.connection import Connection, Ended, Job
from pytest_flperf.loadgen.connections import Connections
from pytest_flperf.loadgen.deadlines import look_at, missed_or_due
from pytest_flperf.loadgen.outbox import Outbox
from pytest_flperf.loadgen.pacing import Pacing, rest_until
from pytest_flperf.loadgen.plan import Deadlines, Destination, LoadSchedule
from pytest_flperf.loadgen.poller import MOST_EVENTS, new_poller
from pytest_flperf.loadgen.timers import Timers
from pytest_flperf.loadgen.turn_durations import LAST_BUCKET, TURN_SHIFT, LoopTurns
from pytest_flperf.wire.exchange import Ending, Phase
from pytest_flperf.wire.tls import TlsOptions

__all__ = ["Player"]

_IDLE_WAIT_S: Final = 3_600.0
# Waking for every token costs more than the token.  64 streams of 200 tokens/s on two cores shared with the server:
# 19 µs of processor time per token without rests and 12 µs with them, the server's 20 and 16 µs, the true TTFT p99 of
# 256 streams 60 to 80 ms and 50 ms.  Stamps are the kernel's and stay true where a rest is shorter than the gaps
# within one stream; so there are no rests with user stamps, or where few streams may be fast ones.
_REST_S: Final = 0.0003
_REST_STREAMS: Final = 16
_DENSE_NS: Final = 600_000
_BUDGET_NS: Final = 250_000
"""Most time of a turn for each: checking deadlines, starting requests, reporting requests."""


class Player:
    """Runs one plan after the other until the channel closes.

    Frames in: ``("plan", targets, deadlines, answer_bytes, concurrency, total, schedule, hold)``,
    ``("entries", [entry, …])``, ``("go", begins_ns)`` for a plan on hold, ``("follow", entry, wait_ns)``,
    ``("stop",)``, ``("cancel",)``.
    Frames out: ``("ready",)`` of a plan on hold, ``("part", *reads)``, ``("exchange", *facts, *reads)``,
    ``("done", started_ns, finished_ns, cpu_ns, reads, finished, turns, longest_turn_ns)``.
    """

    def __init__(self, reader: FrameReader, writer: FrameWriter, channel_fd: int) -> None:
        self._reader = reader
        self._writer = writer
        self._channel_fd = channel_fd
        self._poller = new_poller()
        self._write_flag = self._poller.write_flag
        self._poller.watch(channel_fd, write=False)
        self._channel_writes = False
        self._connections = Connections(self._poller)
        self._timers = Timers(self._connections.open)
        self._outbox = Outbox(lambda *frame: writer.add(frame))
        self._offset = RecentOffset()
        self._closing: set[int] = set()  # targets that close connections without having said so
        self._after_done = AfterDone()
        self._forget_plan()

    def _forget_plan(self) -> None:
        self._targets: tuple[Destination, ...] = ()
        self._deadlines = Deadlines(0, 0, 0, 0, 0)
        self._answer_bytes = 0
        self._backlog = Backlog()
        self._waiting: dict[int, tuple[tuple[Any, ...], int]] = {}  # fd of a connecting socket: its entry and slot
        self._streams = 0
        self._pacing = Pacing(LoadSchedule(), 0)
        self._wake_ns = 0  # when a request may start although none has ended
        self._left = 0
        self._finished = 0
        self._reads = 0
        self._opening = 0
        self._outbox.clear()
        self._due: deque[Connection] = deque()  # connections whose deadlines are due for a check
        self._turns = [0] * (LAST_BUCKET + 1)
        self._longest_turn_ns = 0
        self._over = True
        self._rests = False
        self._playing = False
        self._held = self._said_ready = False
        self._starting = False
        self._started_ns = self._cpu_started_ns = 0

    def run(self) -> None:
        """Serve plans; raises ChannelClosedError when the measuring process is gone."""
        wait, connections, timers = self._poller.wait, self._connections.open, self._timers.heap
        untold = self._outbox.jobs
        readable = self._poller.read_flag
        now_ns = time.monotonic_ns
        woke = now = now_ns()
        while True:
            events = wait(self._patience_s(now))
            began = now_ns()
            for fd, flags in events:
                connection = connections.get(fd)
                if connection is None:
                    if fd == self._channel_fd:
                        self._channel_event(flags)
                elif flags == readable and (job := connection.job) is not None:
                    # Bytes of an answer: all but a few events.
                    ended = connection.read()
                    if ended is not None:
                        self._finish(connection, job, ended)
                else:
                    self._rare_event(connection, flags)
            ended_ns = now = now_ns()
            if untold or self._due or 0 < self._wake_ns <= now or (timers and timers[0][0] <= now):
                self._do_what_is_due(now)
                ended_ns = now_ns()
            if self._playing:
                bucket = (ended_ns - began) >> TURN_SHIFT
                self._turns[bucket if bucket < LAST_BUCKET else LAST_BUCKET] += 1
                if ended_ns - began > self._longest_turn_ns:  # noqa: PLR1730 - and so does min()
                    self._longest_turn_ns = ended_ns - began
            if self._rests and not self._due and now - woke < _DENSE_NS and len(events) < MOST_EVENTS:
                time.sleep(_REST_S)
            woke = now

    def _do_what_is_due(self, now: int) -> None:
        self._due.extend(self._timers.fire(now))
        if self._due:
            self._look(now)
        if 0 < self._wake_ns <= now:
            self._wake()
        if self._outbox.jobs:
            self._tell(now)

    def _patience_s(self, now: int) -> float:
        if self._due:
            return 0.0
        timers = self._timers.heap
        patience_s = max(0.0, (timers[0][0] - now) / 1e9) if timers else _IDLE_WAIT_S
        if self._outbox.jobs and not self._writer.waiting:
            patience_s = min(patience_s, self._outbox.patience_ns() / 1e9)
        if self._wake_ns:
            patience_s = min(patience_s, rest_until((self._wake_ns - now) / 1e9))
        return patience_s

    def close(self) -> None:
        """Close every connection."""
        self._connections.drop_all()
        self._poller.close()

    def _rare_event(self, connection: Connection, flags: int) -> None:
        if connection.connecting:
            self._connect_event(connection)
        elif connection.job is not None:
            self._exchange_event(connection, connection.job, flags)
        elif not connection.usable():  # an idle one that the server has closed, or that sends without a request
            self._connections.drop(connection)

    # ---- frames from the measuring process

    def _channel_event(self, flags: int) -> None:
        if flags & self._write_flag:
            self._writer.flush()
            self._watch_channel()
        if flags & ~self._write_flag:
            for frame in self._reader.read():
                getattr(self, f"_take_{frame[0]}")(*frame[1:])

    def _watch_channel(self) -> None:
        if self._writer.waiting != self._channel_writes:
            self._channel_writes = self._writer.waiting
            self._poller.change(self._channel_fd, write=self._channel_writes)

    def _say(self, *frame: Any) -> None:
        self._writer.add(frame)
        self._flush()

    def _flush(self) -> None:
        self._writer.flush()
        if self._writer.waiting:
            self._watch_channel()

    def _take_plan(
        self,
        targets: list[Any],
        deadlines: tuple[int, ...],
        answer_bytes: int,
        concurrency: int,
        total: int,
        schedule: tuple[Any, ...] = (),
        hold: bool = False,
    ) -> None:
        specs = tuple(Destination(tuple(addresses), name, TlsOptions(*tls)) for addresses, name, *tls in targets)
        if specs != self._targets:
            self._connections.drop_all()
            self._closing.clear()
            self._after_done = AfterDone()
        self._forget_plan()
        self._over = False
        self._held = hold
        self._targets = specs
        self._deadlines = Deadlines(*deadlines)
        self._answer_bytes = answer_bytes
        self._left = total
        self._rests = KERNEL_STAMPS_POSSIBLE and concurrency >= _REST_STREAMS and not any(s.tls_name for s in specs)
        self._streams = concurrency
        paced = LoadSchedule(*schedule)
        self._pacing = Pacing(paced, concurrency)
        self._connections.prepare(specs)
        # Connecting is no part of a latency: open what is missing before the first request.  What is too much is
        # closed: a server with a thread for each connection would be measured with the last case's threads.
        ahead = min(concurrency, total, paced.open_ahead or concurrency)
        for target in range(len(specs)):
            idle = self._connections.idle(target)
            for connection in idle[concurrency:]:
                self._connections.drop(connection)
            for _ in range(ahead - len(idle)):
                self._open(target, None)
        self._begin_if_ready()

    def _take_entries(self, entries: list[tuple[Any, ...]]) -> None:
        self._backlog.add(entries)
        if self._playing:
            self._start_what_can()

    def _take_follow(self, entry: tuple[Any, ...], wait_ns: int) -> None:
        self._backlog.add_later(entry, time.monotonic_ns() + wait_ns)
        if self._playing:
            self._start_what_can()

    def _take_stop(self) -> None:
        """Start no further request; those in flight may end."""
        if self._over:
            return  # it crossed the "done" of its plan on the way
        active = sum(connection.job is not None for connection in self._connections.open.values())
        self._left = self._finished + active + len(self._waiting)
        self._backlog.clear()
        self._end_if_over()

    def _take_cancel(self) -> None:
        self._take_stop()
        if self._over:
            return
        stopped = (Ending.CANCELLED, "the run was stopped")
        waiting, self._waiting = self._waiting, {}
        for entry, slot in waiting.values():
            self._report(self._job(entry, slot, time.monotonic_ns()), stopped)
        for connection in list(self._connections.open.values()):
            if connection.job is not None:
                self._finish(connection, connection.job, stopped)
            elif connection.connecting:
                self._connections.drop(connection)
        self._opening = 0
        if not self._over and not self._playing:
            self._begin()
        self._end_if_over()

    # ---- the plan

    def _begin_if_ready(self) -> None:
        if self._playing or self._over or self._opening:
            return
        if not self._held:
            self._begin()
        elif not self._said_ready:
            self._said_ready = True
            self._say("ready")

    def _take_go(self, begins_ns: int) -> None:
        """Start the plan: all processes that run parts of it are ready."""
        if not self._playing and not self._over:
            self._begin(begins_ns)

    def _begin(self, begins_ns: int = 0) -> None:
        self._playing = True
        self._started_ns = begins_ns or time.monotonic_ns()
        self._pacing.begin(self._started_ns)
        self._cpu_started_ns = time.process_time_ns()
        self._start_what_can()
        self._end_if_over()

    def _start_what_can(self) -> None:
        if self._starting:
            return  # one that fails at once has freed its slot: the loop below goes on with it
        self._starting = True
        pacing, backlog = self._pacing, self._backlog
        now = time.monotonic_ns()
        until_ns = now + _BUDGET_NS
        while (entry := backlog.first(now)) is not None and (slot := pacing.slot_for(entry[5], now)) is not None:
            backlog.take(entry)
            self._start(entry, slot)
            now = time.monotonic_ns()
            if now >= until_ns:  # hundreds of streams may begin at once: first see what has come for others
                self._wake_ns, self._starting = now, False
                return
        wake_ns, later_ns = pacing.wake_ns(waiting=entry is not None), backlog.wake_ns(now)
        self._wake_ns = later_ns if later_ns and (not wake_ns or later_ns < wake_ns) else wake_ns
        self._starting = False

    def _wake(self) -> None:
        """Handle what has become due: a request, a stream, the plan's end."""
        self._wake_ns = 0
        if not self._playing:
            return
        if self._pacing.over(time.monotonic_ns()):
            self._take_stop()
        else:
            self._start_what_can()

    def _start(self, entry: tuple[Any, ...], slot: int) -> None:
        target = entry[2]
        connection = self._connections.take(target)
        if connection is None:
            self._open(target, (entry, slot))
            return
        self._send_on(connection, entry, slot)
        spare = entry[5] is None or self._connections.idle(target) or len(self._connections.open) >= self._streams
        if not spare:
            self._open(target, None)  # an open loop has one to spare: connecting would delay what is due next

    def _job(self, entry: tuple[Any, ...], slot: int, now: int) -> Job:
        job = Job(entry, slot, now, self._answer_bytes)
        if job.due_ns is not None:
            job.due_ns += self._started_ns
        if job.phase == Phase.MEASURED.value:
            begins_ns = job.due_ns if job.due_ns is not None else time.monotonic_ns()
            if not self._pacing.steady(begins_ns):
                job.phase = Phase.OUTSIDE.value
        return job

    def _end_if_over(self) -> None:
        if self._playing and self._finished >= self._left and not self._waiting:
            self._playing, self._over = False, True
            finished_ns = time.monotonic_ns()
            self._outbox.send_all()
            cpu_ns = time.process_time_ns() - self._cpu_started_ns
            turns = LoopTurns.of(self._turns, self._longest_turn_ns)
            self._say(
                "done", self._started_ns, finished_ns, cpu_ns, self._reads, self._finished, dict(turns.counts),
                turns.longest_ns,
            )  # fmt: skip
            gc.collect()  # it is off while a plan is played

    # ---- connections

    def _open(self, target: int, work: tuple[tuple[Any, ...], int] | None) -> None:
        self._open_next(self._connections.new(target, self._targets[target]), work)

    def _open_next(
        self, connection: Connection, work: tuple[tuple[Any, ...], int] | None, before: Ended | None = None
    ) -> None:
        """Try the next address; ``before``: why the last one failed."""
        ended = connection.open() or self._connections.add(connection)
        if ended is not None:
            self._connect_failed(connection, work, before or ended)
            return
        if work is None:
            self._opening += 1
        else:
            self._waiting[connection.fd] = work
        limit_ns = self._deadlines.connect_ns
        self._timers.set(connection.connect_started_ns + limit_ns if limit_ns else 0, connection)

    def _connect_event(self, connection: Connection) -> None:
        if not connection.connected():
            self._poller.change(connection.fd, write=connection.wants_write)
            return
        work = self._waiting.pop(connection.fd, None)
        if work is None:
            self._opening -= 1
        if connection.problem is not None:
            self._connections.forget(connection)
            self._open_next(connection, work, connection.problem)
        else:
            # TLS has wrapped the socket: the number stays, the object is new.
            self._poller.change(connection.fd, write=False)
            connection.deadline_ns = 0
            if work is None:
                self._connections.keep(connection)
            else:
                self._send_on(connection, *work)
        self._begin_if_ready()

    def _connect_failed(self, connection: Connection, work: tuple[tuple[Any, ...], int] | None, ended: Ended) -> None:
        if work is None:
            return  # the request that needs the connection tries again and has the outcome
        self._report(self._job(*work, connection.connect_started_ns), ended)

    # ---- requests

    def _send_on(self, connection: Connection, entry: tuple[Any, ...], slot: int) -> None:
        job = self._job(entry, slot, 0)
        connection.begin(job, self._offset)
        ended = connection.send()
        if ended is not None:
            self._finish(connection, job, ended)
            return
        if job.out:
            self._poller.change(connection.fd, write=True)
        self._timers.set(look_at(self._deadlines, job, job.started_ns), connection)

    def _exchange_event(self, connection: Connection, job: Job, flags: int) -> None:
        if flags & self._write_flag and job.out:
            ended = connection.send()
            if ended is not None:
                self._finish(connection, job, ended)
                return
            if not job.out:
                self._poller.change(connection.fd, write=False)
        if flags & ~self._write_flag:
            ended = connection.read()
            if ended is not None:
                self._finish(connection, job, ended)

    def _finish(self, connection: Connection, job: Job, ended: Ended) -> None:
        if ended is PERHAPS_DONE:
            self._timers.set(self._after_done.look_ns(job.target, time.monotonic_ns()), connection)
            return
        complete = ended[0] is Ending.COMPLETE
        if job.met_a_closed_door(ended):
            self._closing.add(job.target)
            self._connections.forget(connection)
            self._open(job.target, (job.entry, job.slot))
            return
        if complete and connection.reusable and job.target not in self._closing:
            connection.job, connection.deadline_ns = None, 0
            self._connections.keep(connection)
        else:
            self._connections.forget(connection, abort=not complete)
        self._report(job, ended)

    def _report(self, job: Job, ended: Ended) -> None:
        job.end(ended, self._offset)
        self._outbox.add(job)
        self._finished += 1
        self._reads += len(job.parts)
        self._pacing.release(job.slot, job.finished_ns)
        # The next request first: the closed loop can't wait, cleaning up after this one can.
        self._start_what_can()
        self._end_if_over()

    def _tell(self, now: int) -> None:
        """Report ended requests: a share, or all where waiting gains nothing."""
        if self._writer.waiting:
            return  # the channel is full
        starving = not self._backlog and self._backlog.taken < self._left  # more entries come when these are reported
        self._outbox.release(now, all_of_them=starving)
        if self._outbox.released:
            self._outbox.send(time.monotonic_ns() + _BUDGET_NS)
            self._flush()

    # ---- deadlines

    def _look(self, now: int) -> None:
        """Check the deadlines of one connection.

        Where much has arrived since the last check, it reads a part of that and goes on in the next turn.
        """
        connection = self._due[0]
        job, is_due = connection.job, 0 < connection.deadline_ns <= now
        ended: Ended | int | None = 0
        if is_due and job is not None:
            ended = missed_or_due(self._deadlines, job, now, time.monotonic_ns() + _BUDGET_NS)
            if ended is None:
                return  # the rest in the next turn
        self._due.popleft()
        if not is_due:
            return  # its request has ended since, and another may have begun
        if connection.connecting:
            self._connect_timed_out(connection)
        elif job is not None and isinstance(ended, tuple):
            if ended[0] is Ending.COMPLETE:
                self._after_done.stayed_open(job.target)
            self._finish(connection, job, ended)
        elif isinstance(ended, int):
            self._timers.set(ended, connection)

    def _connect_timed_out(self, connection: Connection) -> None:
        work = self._waiting.pop(connection.fd, None)
        if work is None:
            self._opening -= 1
        self._connections.forget(connection, abort=True)
        seconds = self._deadlines.connect_ns / 1e9
        self._connect_failed(connection, work, (Ending.CONNECT_TIMEOUT, f"no connection within {seconds:g} s"))
        self._begin_if_ready()
