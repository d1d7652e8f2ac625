"""Telemetry readings, and the protocol of their sources."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from pytest_flperf.results.metrics import RESOURCE_METRICS

__all__ = ["GPU_METRICS", "HOST_METRICS", "OTHERS", "SERVER_METRICS", "Meter", "Reading", "ServerProcesses", "Source"]

GPU_METRICS: Final = tuple(name for name in RESOURCE_METRICS if name.startswith("gpu_"))
SERVER_METRICS: Final = tuple(name for name in RESOURCE_METRICS if name.startswith("server_"))
OTHERS: Final = "other_cpu_pct"
HOST_METRICS: Final = tuple(name for name in RESOURCE_METRICS if name not in GPU_METRICS + SERVER_METRICS)


@dataclass(frozen=True, slots=True)
class ServerProcesses:
    """Processes that serve a model.

    Their descendants belong to them and need no naming.
    """

    pids: tuple[int, ...] = ()
    absent: str = ""
    """Why there are none, in words for a person; empty where there are some."""
    elsewhere: bool = False
    """Whether they run on another machine: readings of this machine say nothing about them."""
    hidden: str = ""
    """Other servers that may not be read, in words for a person; empty: none known."""
    beside: tuple[int, ...] = ()
    """Servers of the cases that alternate with it: their load is this run's and not the server's."""
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Of this machine."""

    def to_record(self) -> dict[str, Any]:
        """Record for the log."""
        record: dict[str, Any] = asdict(self)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ServerProcesses:
        """Parse a record; raises KeyError, TypeError or ValueError."""
        return cls(
            pids=tuple(map(int, record["pids"])),
            absent=str(record["absent"]),
            elsewhere=record["elsewhere"] is True,
            hidden=str(record["hidden"]),
            beside=tuple(map(int, record["beside"])),
            cores=max(int(record["cores"]), 1),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Reading: metric values of one moment.

    A metric is in ``values``, or in ``absent`` with the reason, or in neither.
    """

    at_ns: int
    """CLOCK_MONOTONIC, the clock of every request."""
    values: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    """Goes into ``resources.jsonl`` and into no statistic: the figures of each GPU."""


class Source(Protocol):
    """Protocol of a telemetry source.

    All three methods are called by one thread.
    """

    metrics: tuple[str, ...]

    def open(self) -> Mapping[str, str]:
        """Prepare to read; returns why metrics can't be read, by name.

        Where that names all metrics, the source is never read.

        May take as long as it wants, and may raise: then the error is the reason.
        """

    def read(self, server: ServerProcesses) -> Reading:
        """Take one reading; may raise, too."""

    def close(self) -> None:
        """Release what ``open`` took."""


class Meter:
    """Rate meter: a running total as share of elapsed time.

    The share is taken over the time since an earlier reading.

    A clock of ticks (10 ms on Linux, 15.6 on Windows) says nothing about a span of few ticks, so the earlier reading
    is the newest one that is at least ``shortest_ns`` old.
    """

    def __init__(self, shortest_ns: int) -> None:
        self._shortest_ns = shortest_ns
        self._readings: deque[tuple[int, float, float]] = deque()

    def share(self, at_ns: int, used: float, whole: float) -> float | None:
        """Growth of ``used`` as a share of the growth of ``whole``.

        None where no reading is old enough.
        """
        while len(self._readings) > 1 and at_ns - self._readings[1][0] >= self._shortest_ns:
            self._readings.popleft()
        share = None
        if self._readings:
            then_ns, then_used, then_whole = self._readings[0]
            if at_ns - then_ns >= self._shortest_ns and whole > then_whole:
                share = max((used - then_used) / (whole - then_whole), 0.0)
        self._readings.append((at_ns, used, whole))
        return share
