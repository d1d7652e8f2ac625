"""Telemetry sampler: reads the machine during cases, in background threads.

Threads and not a process of their own: a look takes well under a millisecond and gives other threads way in between.
With the main thread idle, as it nearly is while the load process measures, looks were 0.1 ms late (p99 4 ms); with a
main thread that never rests p50 7 ms and p99 0.2 s, which the stamps show and the rates allow for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pytest_flperf.results.journal import Journal
from pytest_flperf.telemetry.gpu import GpuSource
from pytest_flperf.telemetry.host import HostSource
from pytest_flperf.telemetry.readings import Reading, ServerProcesses, Source
from pytest_flperf.telemetry.track import Track, Watch

__all__ = ["INTERVAL_S", "Sampler"]

INTERVAL_S: Final = 0.1
_CLOSE_S: Final = 0.5
_DIGITS: Final = 3
_NS_PER_S: Final = 1_000_000_000
_FAILURES_IN_A_ROW: Final = 5
_Write: TypeAlias = Callable[[Track, Source, str, Reading | None], None]


class Sampler:
    """Background sampler with one thread for each source.

    So a slow GPU driver doesn't hold up the other sources.

    They sleep while no case is watched.  Starting to watch a case and ending it costs a few wake-ups and never more
    than 2 ms.  Nothing that a source does or a disk refuses stops a measurement.
    """

    def __init__(
        self,
        series: Journal | None = None,
        sources: Sequence[Source] | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Start nothing yet.

        Args:
            series: Where each reading goes as a line; closed with the sampler.  None: nowhere.
            sources: What is read, the quickest first; None: the machine with the server, and NVIDIA GPUs.
            interval_s: Time between two looks of a source.

        """
        self._series = series
        self._writing = threading.Lock()
        self._sources = (HostSource(), GpuSource()) if sources is None else sources
        self._interval_s = interval_s
        self._workers: list[_Worker] = []
        self._closed = False

    @property
    def gpu_names(self) -> tuple[str, ...]:
        """Names of the NVIDIA GPUs; empty until :meth:`start` has found them."""
        return tuple(name for source in self._sources if isinstance(source, GpuSource) for name in source.names)

    def start(self) -> None:
        """Start the threads; returns at once, and later calls do nothing.

        The threads import what they need.
        """
        if not self._workers and not self._closed:
            self._workers = [_Worker(source, self._interval_s, self._write) for source in self._sources]

    def watch(self, nodeid: str, server: ServerProcesses) -> Watch:
        """Start watching a case at its warm-up.

        The case before is over by then.
        """
        self.start()
        return Watch([worker.follow(nodeid, server) for worker in self._workers])

    def close(self) -> None:
        """Stop the threads and close the file; safe to call twice."""
        self._closed = True
        for worker in self._workers:
            worker.stop()
        give_up_at = time.monotonic() + _CLOSE_S  # a driver that hangs is left behind
        for worker in self._workers:
            worker.join(max(give_up_at - time.monotonic(), 0.0))
        self._workers = []
        with self._writing:
            if self._series is not None:
                self._series.close()
                self._series = None

    def _write(self, track: Track, source: Source, phase: str, reading: Reading | None) -> None:
        """Write a reading; None: there will never be one."""
        line: dict[str, Any] = {
            "at_ns": time.monotonic_ns(),
            "nodeid": track.nodeid,
            "phase": phase,
            "source": _name(source),
        }
        if reading is None:
            line["never"] = True
        else:
            line |= {"at_ns": reading.at_ns, **reading.values, **reading.details}
        news = track.news()
        if news:
            line["absent"] = dict(news)
        with self._writing:
            if self._series is not None:
                self._series.append(line)


class _Worker:
    """Thread of one source."""

    def __init__(self, source: Source, interval_s: float, write: _Write) -> None:
        self._source = source
        self._interval_ns = round(interval_s * _NS_PER_S)
        self._write = write
        self._changed = threading.Condition()
        self._track: Track | None = None
        self._stopped = False
        self._failures = 0
        self._never: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name=f"flperf-{type(source).__name__}", daemon=True)
        self._thread.start()

    def follow(self, nodeid: str, server: ServerProcesses) -> Track:
        """Read for this case from now on, and for no other."""
        track = Track(nodeid, server, self._source.metrics, self._changed, self._never)
        with self._changed:
            track.over = self._stopped
            self._track = track
            self._changed.notify_all()
        if track.over:
            self._write(track, self._source, track.phase, None)
        return track

    def stop(self) -> None:
        """Ask the thread to stop."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            absent = dict(self._source.open())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason and no more
            absent = dict.fromkeys(self._source.metrics, _words(error))
        hopeless = absent.keys() >= set(self._source.metrics)
        with self._changed:
            self._never.update(absent)
        if not hopeless:
            self._look()
        with self._changed:
            self._stopped = True
            track = self._track
            left = track is not None and not track.over
            if track is not None:
                track.abandon()
        if track is not None and left:
            self._write(track, self._source, track.phase, None)
        with contextlib.suppress(Exception):
            self._source.close()

    def _look(self) -> None:
        due_ns = time.monotonic_ns()
        while self._failures < _FAILURES_IN_A_ROW:
            track = self._next(due_ns)
            if track is None:
                return
            phase, mark = track.phase, track.next_mark()
            reading = self._read(track.server)
            self._write(track, self._source, track.add(reading, phase, mark), reading)
            now_ns = time.monotonic_ns()
            # In step, unless it is out of turn or late: two looks at once say no more than one.
            in_step = mark is None and due_ns + self._interval_ns > now_ns
            due_ns = (due_ns if in_step else now_ns) + self._interval_ns

    def _next(self, due_ns: int) -> Track | None:
        """Wait for the next reading to take; None: the end."""
        with self._changed:
            while not self._stopped:
                track = self._track
                if track is None or track.over:
                    self._changed.wait()
                    continue
                left_ns = due_ns - time.monotonic_ns()
                if left_ns <= 0 or track.marked or track.fresh:
                    return track
                self._changed.wait(left_ns / _NS_PER_S)
            return None

    def _read(self, server: ServerProcesses) -> Reading:
        try:
            reading = self._source.read(server)
        except Exception as error:  # noqa: BLE001 - a source that fails makes its figures absent, nothing else
            self._failures += 1
            reason = dict.fromkeys(self._source.metrics, _words(error))
            if self._failures >= _FAILURES_IN_A_ROW:
                with self._changed:
                    self._never.update(reason)
            return Reading(time.monotonic_ns(), {}, reason)
        self._failures = 0
        # as it is written: what is summed up from the file is the same
        return replace(reading, values={name: round(value, _DIGITS) for name, value in reading.values.items()})


def _name(source: Source) -> str:
    return type(source).__name__.removesuffix("Source").lower()


def _words(error: Exception) -> str:
    return f"it can't be read: {type(error).__name__}: {error}"[:300]
