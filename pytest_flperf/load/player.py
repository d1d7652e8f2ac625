"""The load process's loop: plays a plan over sockets of its own and stamps what arrives."""

from __future__ import annotations

import heapq
import itertools
import ssl
import time
from collections import deque
from typing import Any, Final

from pytest_flperf.load.channel import FrameReader, FrameWriter
from pytest_flperf.load.connection import Connection, Job
from pytest_flperf.load.plan import Deadlines, Target
from pytest_flperf.load.poller import new_poller
from pytest_flperf.wire.decode import content_arrivals
from pytest_flperf.wire.exchange import Ending

__all__ = ["Player"]

_IDLE_WAIT_S: Final = 3_600.0


class Player:
    """Plays one plan after the other until the channel closes.

    Frames in: ``("plan", targets, deadlines, concurrency, total)``, ``("entries", [entry, …])``, ``("cancel",)``.
    Frames out: ``("exchange", *job)``, ``("done", started_ns, finished_ns, cpu_ns, reads, finished)``.
    """

    def __init__(self, reader: FrameReader, writer: FrameWriter, channel_fd: int) -> None:
        self._reader = reader
        self._writer = writer
        self._channel_fd = channel_fd
        self._poller = new_poller()
        self._write_flag = self._poller.write_flag
        self._poller.watch(channel_fd, write=False)
        self._channel_writes = False
        self._tls: ssl.SSLContext | None = None
        self._connections: dict[int, Connection] = {}
        self._idle: dict[int, list[Connection]] = {}
        self._timers: list[tuple[int, int, Connection]] = []  # when, number of the job or of the connecting, which
        self._numbers = itertools.count()
        self._forget_plan()

    def _forget_plan(self) -> None:
        self._targets: tuple[Target, ...] = ()
        self._deadlines = Deadlines(0, 0, 0, 0, 0)
        self._queue: deque[tuple[Any, ...]] = deque()
        self._waiting: dict[int, tuple[tuple[Any, ...], int]] = {}  # fd of a connecting socket: its entry and slot
        self._free_slots: list[int] = []
        self._left = 0
        self._finished = 0
        self._reads = 0
        self._opening = 0
        self._playing = False
        self._starting = False
        self._started_ns = self._cpu_started_ns = 0

    def run(self) -> None:
        """Serve plans; ends by ChannelClosedError when the measuring process is gone."""
        wait, events = self._poller.wait, self._event
        while True:
            for fd, flags in wait(self._patience()):
                events(fd, flags)
            if self._timers:
                self._fire(time.monotonic_ns())

    def _patience(self) -> float:
        if not self._timers:
            return _IDLE_WAIT_S
        return max(0.0, (self._timers[0][0] - time.monotonic_ns()) / 1e9)

    # ---- frames from the measuring process

    def _event(self, fd: int, flags: int) -> None:
        connection = self._connections.get(fd)
        if connection is None:
            if fd == self._channel_fd:
                self._channel_event(flags)
        elif connection.connecting:
            self._connect_event(connection)
        elif connection.job is None:
            self._drop(connection)  # an idle one that speaks or closes
        else:
            self._exchange_event(connection, connection.job, flags)

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
        self._writer.write(frame)
        if self._writer.waiting:
            self._watch_channel()

    def _take_plan(self, targets: list[Any], deadlines: tuple[int, ...], concurrency: int, total: int) -> None:
        specs = tuple(Target(tuple(addresses), name) for addresses, name in targets)
        if specs != self._targets:
            for connection in list(self._connections.values()):
                self._drop(connection)
        self._forget_plan()
        self._targets = specs
        self._deadlines = Deadlines(*deadlines)
        self._left = total
        self._free_slots = list(range(concurrency - 1, -1, -1))
        if self._tls is None and any(spec.tls_name for spec in specs):
            self._tls = ssl.create_default_context()
        # Connecting is no part of a latency: open what is missing before the first request.
        missing = min(concurrency, total) - len(self._idle.get(0, ()))
        for _ in range(max(missing, 0)):
            self._open(0, None)
        self._begin_if_ready()

    def _take_entries(self, entries: list[tuple[Any, ...]]) -> None:
        self._queue.extend(entries)
        if self._playing:
            self._start_what_can()

    def _take_cancel(self) -> None:
        active = sum(connection.job is not None for connection in self._connections.values())
        self._left = self._finished + active + len(self._waiting)
        self._queue.clear()
        waiting, self._waiting = self._waiting, {}
        for entry, slot in waiting.values():
            self._report(Job(entry, slot, time.monotonic_ns()), Ending.CANCELLED, "the run was stopped")
        for connection in list(self._connections.values()):
            if connection.job is not None:
                self._finish(connection, connection.job, Ending.CANCELLED, "the run was stopped")
            elif connection.connecting:
                self._drop(connection)
        self._opening = 0
        if not self._playing:
            self._begin()
        self._end_if_over()

    # ---- the plan

    def _begin_if_ready(self) -> None:
        if not self._playing and self._opening == 0:
            self._begin()

    def _begin(self) -> None:
        self._playing = True
        self._started_ns = time.monotonic_ns()
        self._cpu_started_ns = time.process_time_ns()
        self._start_what_can()
        self._end_if_over()

    def _start_what_can(self) -> None:
        if self._starting:
            return  # one that fails at once has freed its slot: the loop below goes on with it
        self._starting = True
        while self._queue and self._free_slots:
            self._start(self._queue.popleft(), self._free_slots.pop())
        self._starting = False

    def _start(self, entry: tuple[Any, ...], slot: int) -> None:
        target = entry[2]
        idle = self._idle.setdefault(target, [])
        while idle:
            connection = idle.pop()
            if connection.usable():
                self._send_on(connection, entry, slot)
                return
            self._forget(connection)
        self._open(target, (entry, slot))

    def _end_if_over(self) -> None:
        if self._playing and self._finished >= self._left and not self._waiting:
            self._playing = False
            cpu_ns = time.process_time_ns() - self._cpu_started_ns
            self._say("done", self._started_ns, time.monotonic_ns(), cpu_ns, self._reads, self._finished)

    # ---- connections

    def _open(self, target: int, work: tuple[tuple[Any, ...], int] | None) -> None:
        spec = self._targets[target]
        connection = Connection(target, spec, self._tls if spec.tls_name else None)
        self._open_next(connection, work)

    def _open_next(self, connection: Connection, work: tuple[tuple[Any, ...], int] | None, reason: str = "") -> None:
        problem = connection.open()
        if problem:
            self._connect_failed(connection, work, Ending.CONNECT_REFUSED, reason or problem)
            return
        self._connections[connection.fd] = connection
        if work is None:
            self._opening += 1
        else:
            self._waiting[connection.fd] = work
        self._poller.watch(connection.fd, write=True)
        self._at(connection.connect_started_ns + self._deadlines.connect_ns, connection)

    def _connect_event(self, connection: Connection) -> None:
        problem = connection.connected()
        if problem is None:
            self._poller.change(connection.fd, write=False)
            return
        work = self._waiting.pop(connection.fd, None)
        if work is None:
            self._opening -= 1
        if problem:
            self._forget(connection)
            self._open_next(connection, work, problem)
        else:
            # TLS has wrapped the socket: the number stays, the object is new.
            self._poller.change(connection.fd, write=False)
            if work is None:
                self._idle.setdefault(connection.target, []).append(connection)
            else:
                self._send_on(connection, *work)
        self._begin_if_ready()

    def _connect_failed(
        self, connection: Connection, work: tuple[tuple[Any, ...], int] | None, ending: Ending, detail: str
    ) -> None:
        if work is None:
            return  # the request that needs the connection tries again and has the outcome
        self._report(Job(work[0], work[1], connection.connect_started_ns), ending, detail)

    def _drop(self, connection: Connection) -> None:
        idle = self._idle.get(connection.target, [])
        if connection in idle:
            idle.remove(connection)
        self._forget(connection)

    def _forget(self, connection: Connection, *, abort: bool = False) -> None:
        if self._connections.pop(connection.fd, None) is not None:
            self._poller.forget(connection.fd)
        connection.close(abort=abort)

    # ---- requests

    def _send_on(self, connection: Connection, entry: tuple[Any, ...], slot: int) -> None:
        job = Job(entry, slot, 0)
        connection.begin(job)
        ended = connection.send()
        if ended is not None:
            self._finish(connection, job, *ended)
            return
        if job.out:
            self._poller.change(connection.fd, write=True)
        limits = self._deadlines
        self._schedule(connection, job, limits.headers_ns, limits.first_token_ns if job.stream else 0)

    def _exchange_event(self, connection: Connection, job: Job, flags: int) -> None:
        if flags & self._write_flag and job.out:
            ended = connection.send()
            if ended is not None:
                self._finish(connection, job, *ended)
                return
            if not job.out:
                self._poller.change(connection.fd, write=False)
        if flags & ~self._write_flag:
            self._reads += 1
            ended = connection.read()
            while ended is None and connection.more_to_read:
                ended = connection.read()
            if ended is not None:
                self._finish(connection, job, *ended)

    def _finish(self, connection: Connection, job: Job, ending: Ending, detail: str) -> None:
        keep = ending is Ending.COMPLETE and connection.reusable
        connection.job = None
        if keep:
            self._idle.setdefault(connection.target, []).append(connection)
        else:
            self._forget(connection, abort=ending is not Ending.COMPLETE)
        self._report(job, ending, detail)

    def _report(self, job: Job, ending: Ending, detail: str) -> None:
        self._finished += 1
        self._free_slots.append(job.slot)
        # The next request first: what this one leaves behind can wait, the closed loop can't.
        self._start_what_can()
        self._say("exchange", *job.frame(ending, detail))
        self._end_if_over()

    # ---- deadlines

    def _at(self, when_ns: int, connection: Connection) -> None:
        connection.timer = next(self._numbers)
        heapq.heappush(self._timers, (when_ns, connection.timer, connection))

    def _schedule(self, connection: Connection, job: Job, *limits_ns: int, stall_at_ns: int = 0) -> None:
        """Look at the request again at the earliest of these limits, the total and ``stall_at_ns`` (0: none)."""
        due = [job.started_ns + limit for limit in (*limits_ns, self._deadlines.total_ns) if limit]
        if stall_at_ns:
            due.append(stall_at_ns)
        self._at(min(due), connection)

    def _fire(self, now: int) -> None:
        timers = self._timers
        while timers and timers[0][0] <= now:
            _when, number, connection = heapq.heappop(timers)
            if connection.timer != number or self._connections.get(connection.fd) is not connection:
                continue  # its request has ended, or another limit has taken the place of this one
            if connection.connecting:
                self._connect_timed_out(connection)
            elif connection.job is not None:
                self._check(connection, connection.job, now)

    def _connect_timed_out(self, connection: Connection) -> None:
        work = self._waiting.pop(connection.fd, None)
        if work is None:
            self._opening -= 1
        self._forget(connection, abort=True)
        seconds = self._deadlines.connect_ns / 1e9
        self._connect_failed(connection, work, Ending.CONNECT_TIMEOUT, f"no connection within {seconds:g} s")
        self._begin_if_ready()

    def _check(self, connection: Connection, job: Job, now: int) -> None:
        """A deadline of this request has come: find out whether it is missed.

        The bytes so far are decoded here and only here: role chunks and keep-alives are bytes too, and re-arm nothing.
        """
        limits = self._deadlines
        elapsed = now - job.started_ns
        if limits.total_ns and elapsed >= limits.total_ns:
            self._finish(connection, job, Ending.TOTAL_TIMEOUT, f"not finished within {limits.total_ns / 1e9:g} s")
            return
        if job.framing.head is None and limits.headers_ns and elapsed >= limits.headers_ns:
            detail = f"no response head within {limits.headers_ns / 1e9:g} s"
            self._finish(connection, job, Ending.HEADERS_TIMEOUT, detail)
            return
        pending_headers = limits.headers_ns if job.framing.head is None else 0
        if not job.stream:
            self._schedule(connection, job, pending_headers)
            return
        tokens = self._token_arrivals(job)
        if not tokens:
            if limits.first_token_ns and elapsed >= limits.first_token_ns:
                detail = f"no token within {limits.first_token_ns / 1e9:g} s"
                self._finish(connection, job, Ending.FIRST_TOKEN_TIMEOUT, detail)
                return
            self._schedule(connection, job, pending_headers, limits.first_token_ns)
            return
        if limits.stall_ns and now - tokens[-1] >= limits.stall_ns:
            detail = f"no token for {limits.stall_ns / 1e9:g} s after {len(tokens)} chunks with text"
            self._finish(connection, job, Ending.STALL_TIMEOUT, detail)
            return
        self._schedule(connection, job, stall_at_ns=tokens[-1] + limits.stall_ns if limits.stall_ns else 0)

    def _token_arrivals(self, job: Job) -> tuple[int, ...]:
        if job.framing.head is None:
            return ()
        return content_arrivals(b"".join(job.parts), tuple(job.read_ns), tuple(job.sizes))
