"""Samples reader: values of single requests from ``samples.jsonl``, for reports."""

from __future__ import annotations

import contextlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf.history.rows import CaseValues
from pytest_flperf.report.spans import SPANS_KEPT, TRACES_KEPT, Reading, ReadingsReader, Span, gaps_ms
from pytest_flperf.results.contradictions import EARLIEST_MS
from pytest_flperf.results.metrics import VALUES_KEPT
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.stats.descriptive.request_metrics import arrival_gaps_ns, request_metrics
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
_LONGEST_NS: Final = 7 * 24 * 3600 * 10**9
"""A week: no request takes longer."""
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
    spans: tuple[Span, ...] = ()
    """Of the first requests that ended, failed ones too."""
    gaps: tuple[Sequence[float], ...] = ()
    """Of the first requests that ended ok: the gaps between arrivals, ms."""
    readings: Mapping[str, Sequence[Reading]] = field(default_factory=dict)
    """Of the machine and the server during the measured part, by metric."""


class _Case:
    def __init__(self) -> None:
        self.indices: set[int] = set()
        self.values: dict[str, array[float]] = {name: array("d") for name in DRAWN_METRICS}
        self.sent_ns: dict[str, array[int]] = {name: array("q") for name in DRAWN_METRICS}
        """When the request of each value was sent."""
        self.spans: list[Span] = []
        self.gaps: list[array[float]] = []
        self.answer = ""
        self.complete = True

    def summary(self, readings: Mapping[str, Sequence[Reading]]) -> CaseSamples:
        """The samples that were read so far."""
        values = {name: tuple(sorted(found)) for name, found in self.values.items() if found}
        return CaseSamples(values, self.answer, self.complete, tuple(self.spans), tuple(self.gaps), readings)

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
        self._readings = ReadingsReader(path.with_name("resources.jsonl"))

    def read(self) -> None:
        """Read the lines that were written since the last call."""
        self._readings.read()
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
        return {case.nodeid: read.summary(self._readings.of(_filed(case))) for case, read in self._read_of(cases)}

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
            written = _filed(case)
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
        _take(case, record, line)


def _filed(case: CaseResult) -> str:
    """Under which name the requests of a case were written; of a search those of its result."""
    return case.nodeid if case.search is None else f"{case.nodeid} {case.search.played}"


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


def _stamps(line: bytes) -> tuple[int, ...]:
    """The arrivals of chunks, which :func:`_without` takes out."""
    start = line.find(b'"chunk_ns":[')
    if start < 0:
        return ()
    start += len(b'"chunk_ns":')
    found = json.loads(line[start : line.find(b"]", start) + 1])
    return tuple(found) if all(type(each) is int for each in found) else ()


def _span(sample: Sample) -> Span:
    sent_ns = int(sample.started_ns if sample.sent_ns is None else sample.sent_ns)
    first_ns = None if sample.first_token_ns is None else int(sample.first_token_ns)
    end_ns = sample.finished_ns if sample.end_ns is None else sample.end_ns
    if not sent_ns <= (sent_ns if first_ns is None else first_ns) <= int(end_ns) < sent_ns + _LONGEST_NS:
        raise ValueError("a request that ends before it begins")
    return Span(int(sample.slot), sent_ns, first_ns if sample.stream else None, int(end_ns), sample.ok)


def _take_moments(case: _Case, sample: Sample, line: bytes) -> None:
    """Keep what a request looks like in time; of a damaged line, or one of an earlier version, nothing."""
    with contextlib.suppress(ValueError, TypeError, ArithmeticError, RecursionError):
        if len(case.spans) < SPANS_KEPT and not sample.clock_step:
            case.spans.append(_span(sample))
        if len(case.gaps) < TRACES_KEPT and sample.ok and not sample.clock_step:
            gaps = gaps_ms(arrival_gaps_ns(replace(sample, chunk_ns=_stamps(line))))
            if gaps:
                case.gaps.append(gaps)


def _take(case: _Case, record: Mapping[str, Any], line: bytes) -> None:
    try:
        sample = sample_of(record)
        _take_moments(case, sample, line)
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
