"""Spans of requests, gaps between arrivals and readings: what pictures of a case in time are drawn from."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pytest_flperf.telemetry.readings import GPU_METRICS
from pytest_flperf.wire.exchange import Phase

__all__ = ["SPANS_KEPT", "TRACES_KEPT", "Reading", "ReadingsReader", "Span", "gaps_ms"]

SPANS_KEPT: Final = 1_000
"""Requests of a case whose spans are kept."""
TRACES_KEPT: Final = 12
"""Requests of a case whose gaps are kept."""
_GAPS: Final = 512
_READINGS: Final = 3_000
_READ: Final = ("server_cpu_pct", "cpu_pct", "server_rss_mb", "ram_pct", *GPU_METRICS)
_LONGEST_LINE: Final = 1 << 20
_LARGEST_NS: Final = 1 << 62
_NS_PER_MS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Span:
    """A request in time; all moments are of CLOCK_MONOTONIC."""

    stream: int
    """Which of the streams sent it."""
    sent_ns: int
    first_ns: int | None
    """When its first token arrived; None: none did, or the answer was not streamed."""
    end_ns: int
    ok: bool


class Reading(NamedTuple):
    """A value of a resource at one moment."""

    at_ns: int
    value: float


def gaps_ms(gaps_ns: Sequence[int]) -> array[float]:
    """The first 512 gaps in ms, in little room."""
    return array("f", [gap / _NS_PER_MS for gap in gaps_ns[:_GAPS]])


class ReadingsReader:
    """Reader of ``resources.jsonl``: each :meth:`read` takes in the new lines.

    Never raises: without a file, or with one of another kind, there are no readings.
    """

    def __init__(self, path: Path) -> None:
        """Set up the reader; nothing is read yet."""
        self._path = path
        self._offset = 0
        self._cases: dict[str, dict[str, list[Reading]]] = {}
        self._measured: set[str] = set()

    def read(self) -> None:
        """Read the lines that were written since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
                    self._add(line)
                    self._offset += len(line)
        except OSError:
            return

    def of(self, filed: str) -> Mapping[str, tuple[Reading, ...]]:
        """Readings of a case's measured part, by metric, in the order in which they were taken."""
        return {name: tuple(found) for name, found in self._cases.get(filed, {}).items()}

    def _add(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            nodeid, phase, at_ns = record["nodeid"], record["phase"], record["at_ns"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return
        if not isinstance(nodeid, str) or type(at_ns) is not int or not 0 <= at_ns < _LARGEST_NS:
            return
        if phase != Phase.MEASURED.value:
            if nodeid in self._measured:  # what comes before the measured requests begins a case anew
                self._measured.discard(nodeid)
                self._cases.pop(nodeid, None)
            return
        self._measured.add(nodeid)
        kept = self._cases.setdefault(nodeid, {})
        for name, value in _numbers(record):
            found = kept.setdefault(name, [])
            if len(found) < _READINGS:
                found.append(Reading(at_ns, value))


def _numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name in _READ:
        value = record.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            yield name, float(value)
