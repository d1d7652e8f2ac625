"""Samples reader: values of single requests from ``samples.jsonl``, for reports."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf.history.rows import CaseValues
from pytest_flperf.results.contradictions import EARLIEST_MS
from pytest_flperf.results.metrics import VALUES_KEPT
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.stats.descriptive.request_metrics import request_metrics
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["BEFORE", "DRAWN_METRICS", "CaseSamples", "SamplesReader", "record_of", "sample_of", "values_beside"]

DRAWN_METRICS: Final = ("ttft_ms", "tpot_ms", "e2e_ms")
"""Metrics whose single values are kept."""
_REQUESTS_KEPT: Final = 10_000
BEFORE: Final = frozenset({Phase.VERIFY.value, Phase.COLD.value, Phase.CALIBRATE.value, Phase.WARMUP.value})
_ANSWER_CHARACTERS: Final = 400
_LONGEST_LINE: Final = 64 << 20
_LARGEST_NS: Final = 1 << 63
_ABSENT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "stream": True,
        "chunk_ns": (),
        "lag_ns": (),
        "coalesced_chunks": 0,
        "first_read_surplus": 0.0,
        "first_arrival_share": 0.0,
        "tool_calls": (),
        "tool_calls_left_out": 0,
        "unknown_fields": (),
        "tagged": False,
    }
)


@dataclass(frozen=True, slots=True)
class CaseSamples:
    """Samples of one case: its measured requests that ended ok."""

    values: Mapping[str, tuple[float, ...]]
    """By metric, in ascending order; late reads and clock steps are left out, as in the statistics."""
    answer: str
    """The head of one answer; empty where none had text."""
    complete: bool
    """False where the case had more requests than were read."""


class _Case:
    def __init__(self) -> None:
        self.indices: set[int] = set()
        self.values: dict[str, array[float]] = {name: array("d") for name in DRAWN_METRICS}
        self.sent_ns: dict[str, array[int]] = {name: array("q") for name in DRAWN_METRICS}
        """When the request of each value was sent."""
        self.answer = ""
        self.complete = True

    def summary(self) -> CaseSamples:
        """The samples that were read so far."""
        values = {name: tuple(sorted(found)) for name, found in self.values.items() if found}
        return CaseSamples(values, self.answer, self.complete)

    def first(self, count: int) -> dict[str, tuple[float, ...]]:
        """The values of the first ``count`` requests, in sending order."""
        found: dict[str, tuple[float, ...]] = {}
        sorted_ns: array[int] = array("q")
        order: list[int] = []
        for name, values in self.values.items():
            if values:
                if self.sent_ns[name] != sorted_ns:  # mostly each request has all of them
                    sorted_ns = self.sent_ns[name]
                    order = sorted(range(len(sorted_ns)), key=sorted_ns.__getitem__)[:count]
                found[name] = tuple(map(values.__getitem__, order))
        return found


class SamplesReader:
    """Samples reader: each :meth:`read` takes in the new lines.

    Never raises: without a file, or with one of another kind, there are no samples.
    """

    def __init__(self, path: Path) -> None:
        """Set up the reader; nothing is read yet."""
        self._path = path
        self._offset = 0
        self._cases: dict[str, _Case] = {}

    def read(self) -> None:
        """Read the lines that were written since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while line := file.readline(_LONGEST_LINE):
                    if line.endswith(b"\n"):
                        self._add(line)
                    elif len(line) < _LONGEST_LINE:
                        break  # another process is writing it, or was
                    self._offset += len(line)
        except OSError:
            return

    def of(self, cases: Iterable[CaseResult]) -> dict[str, CaseSamples]:
        """Samples of these cases, by node id.

        Lines don't name the machine, so a case that ran on more than one has none.
        """
        return {case.nodeid: read.summary() for case, read in self._read_of(cases)}

    def first_values(
        self, cases: Iterable[CaseResult], count: int
    ) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
        """Values of the first requests of these cases, in sending order.

        By node id and host.  Only the 10,000 requests that ended first are read; these are the first sent among them.
        """
        found = {(case.nodeid, case.host): read.first(count) for case, read in self._read_of(cases)}
        return {key: values for key, values in found.items() if values}

    def _read_of(self, cases: Iterable[CaseResult]) -> Iterator[tuple[CaseResult, _Case]]:
        cases = tuple(cases)
        counts = Counter(case.nodeid for case in cases)
        for case in cases:
            written = case.nodeid if case.search is None else f"{case.nodeid} {case.search.played}"
            if counts[case.nodeid] == 1 and written in self._cases:
                yield case, self._cases[written]

    def _add(self, line: bytes) -> None:
        try:
            record = record_of(line)
            nodeid, index, phase = record["nodeid"], record["index"], record["phase"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return
        if not isinstance(nodeid, str) or not isinstance(index, int) or not isinstance(phase, str):
            return
        if phase in BEFORE:
            self._cases.pop(nodeid, None)  # what comes before the measured requests begins a case anew
        if phase != Phase.MEASURED.value:
            return
        case = self._cases.setdefault(nodeid, _Case())
        if index in case.indices:  # another plugin ran it again
            case = self._cases[nodeid] = _Case()
        if len(case.indices) >= _REQUESTS_KEPT:
            case.complete = False
            return
        case.indices.add(index)
        _take(case, record)


def values_beside(path: Path, run: Run) -> CaseValues:
    """Values of single requests from samples next to a results file.

    Empty where there are no samples.
    """
    samples = SamplesReader(path.with_name("samples.jsonl"))
    samples.read()
    return samples.first_values(run.cases, VALUES_KEPT)


def record_of(line: bytes) -> Any:
    """The record in a line, without the stamps of chunks; raises ValueError or RecursionError."""
    return json.loads(_without(b"lag_ns", _without(b"chunk_ns", line)))


def _without(key: bytes, line: bytes) -> bytes:
    """The line with the array of ``key`` emptied.

    The stamps of chunks are nine tenths of a line, and aren't needed.  A quote within a string is written with a
    backslash, so that no text can look like the key.
    """
    start = line.find(b'"' + key + b'":[')
    if start < 0:
        return line
    start += len(key) + 4
    return line[:start] + line[line.find(b"]", start) :]


def _take(case: _Case, record: Mapping[str, Any]) -> None:
    try:
        sample = sample_of(record)
        if not sample.ok:
            return
        measured = request_metrics(sample)
        values = {name: float(value) for name in DRAWN_METRICS if (value := measured[name]) is not None}
        if not all(EARLIEST_MS < value < math.inf for value in values.values()):
            return  # a damaged line
        sent_ns = int(sample.started_ns if sample.sent_ns is None else sample.sent_ns)
        if not -_LARGEST_NS < sent_ns < _LARGEST_NS:
            return
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError):  # a value of another kind
        return
    for name, value in values.items():
        case.values[name].append(value)
        case.sent_ns[name].append(sent_ns)
    if not case.answer and isinstance(sample.output_text, str):
        case.answer = sample.output_text[:_ANSWER_CHARACTERS]


def sample_of(record: Mapping[str, Any]) -> Sample:
    """The sample of a record, without its evidence; raises ValueError, KeyError or TypeError."""
    fields = {name: record.get(name, _ABSENT.get(name)) for name in Sample.__slots__}
    if "visible_tokens" not in record:  # of an earlier version
        fields["visible_tokens"] = fields["output_tokens"]
    fields |= {"phase": Phase(record["phase"]), "outcome": Outcome(record.get("outcome", "")), "evidence": None}
    return Sample(**fields)
