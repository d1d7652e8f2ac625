"""Request rows: a row per measured request, for CSV and Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_flperf.report.samples import BEFORE, record_of, sample_of
from pytest_flperf.stats.descriptive.request_metrics import is_late_read, request_metrics
from pytest_flperf.wire.exchange import Phase

if TYPE_CHECKING:
    from pytest_flperf.report.parquet import ParquetType
    from pytest_flperf.results.cost import Price
    from pytest_flperf.results.records import CaseResult, Run
    from pytest_flperf.wire.sample import Sample

__all__ = ["REQUEST_COLUMNS", "Row", "request_rows"]

Row: TypeAlias = list[str | bool | int | float | None]
_Filed: TypeAlias = tuple[str, str | None]
"""What requests are filed under, and the host, where lines name it."""

_COUNTS: Final = ("output_tokens", "prompt_tokens", "cached_tokens", "reasoning_tokens")
_METRICS: Final = (
    "ttft_ms", "ttfat_ms", "tpot_ms", "gen_tps", "tps", "prompt_tps", "e2e_ms", *_COUNTS, "connect_ms",
    "dispatch_delay_ms", "ttft_sent_ms", "e2e_sent_ms", "server_prompt_tps", "server_prompt_ms", "server_tpot_ms",
)  # fmt: skip
REQUEST_COLUMNS: Final[Mapping[str, ParquetType]] = {
    "run_id": "string",
    "nodeid": "string",
    "part": "string",
    "host": "string",
    "suite": "string",
    "scenario": "string",
    "model": "string",
    "parameters": "string",
    "sent_s": "float64",
    "index": "int64",
    "slot": "int64",
    "outcome": "string",
    "status": "int64",
    **{name: "int64" if name in _COUNTS else "float64" for name in _METRICS},
    "tokens_source": "string",
    "finish_reason": "string",
    "late_read": "bool_",
    "clock_step": "bool_",
    "answer_tokens": "int64",
    "request_cost": "float64",
}
"""All columns with their types, always in this order; new ones are added at the end.

``part`` names the load of a search, or the other side of a case that was measured in turns; ``slot`` is the stream.
``sent_s`` counts from the first request of the case.  Metrics are named as in budgets; they are empty where the request
is in no statistic of them: it failed, was read late, or a clock was set.
"""
_LONGEST_LINE: Final = 64 << 20
_LARGEST: Final = 1 << 62
_NS_PER_S: Final = 1e9


def request_rows(run: Run, samples: Path) -> Iterator[Row]:
    """A row per measured request of a run, in the order in which they ended, by case.

    Lines that are damaged are left out, and so is what was measured again.  Raises OSError where the file can't be
    read.
    """
    prices = {(case.nodeid, host): case.price for case in run.cases for host in (None, case.host)}
    found: dict[_Filed, dict[int, tuple[int, Row]]] = {}
    for filed, sample in _samples(samples):
        if sample.phase.value in BEFORE or sample.index in found.get(filed, ()):
            found.pop(filed, None)  # the case begins anew
        if sample.phase is Phase.MEASURED:
            found.setdefault(filed, {})[sample.index] = _sent_ns(sample), _of_sample(sample, prices.get(filed))
    for filed, of_case in found.items():
        head = _of_case(run, *filed)
        begun_ns = min(sent_ns for sent_ns, _ in of_case.values())
        for sent_ns, row in of_case.values():
            yield [*head, (sent_ns - begun_ns) / _NS_PER_S, *row]


def _samples(path: Path) -> Iterator[tuple[_Filed, Sample]]:
    """The samples of a file that are sound, with what they are filed under.

    Lines of a run that joins others name the host.
    """
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            try:
                record = record_of(line)
                nodeid, host, sample = record["nodeid"], record.get("host"), sample_of(record)
                request_metrics(sample)
                is_late_read(sample)
            except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RecursionError):
                continue
            if isinstance(nodeid, str) and (host is None or isinstance(host, str)) and _is_sound(sample):
                yield (nodeid, host), sample


def _is_sound(sample: Sample) -> bool:
    """Whether the values that a row takes are of their kinds."""
    counts = (sample.index, sample.slot, sample.started_ns)
    optional = (sample.sent_ns, sample.status, *(getattr(sample, name) for name in _COUNTS))
    texts = (sample.tokens_source, sample.finish_reason)
    return (
        all(type(each) is int and abs(each) < _LARGEST for each in counts)
        and all(each is None or (type(each) is int and abs(each) < _LARGEST) for each in optional)
        and all(each is None or isinstance(each, str) for each in texts)
        and isinstance(sample.clock_step, bool)
    )


def _case_of(run: Run, filed: str, host: str | None) -> CaseResult | None:
    """The case that requests are filed under: by its node id, or that with a part behind it."""
    cases = [case for case in run.cases if host is None or case.host == host]
    whole = [case for case in cases if case.nodeid == filed]
    begun = [case for case in cases if filed.startswith(f"{case.nodeid} ")]
    return next(iter(whole), None) or max(begun, key=lambda case: len(case.nodeid), default=None)


def _sent_ns(sample: Sample) -> int:
    return sample.started_ns if sample.sent_ns is None else sample.sent_ns


def _of_case(run: Run, filed: str, host: str | None) -> Row:
    case = _case_of(run, filed, host)
    if case is None:
        return [run.id, filed, None, host, None, None, None, None]
    part = filed[len(case.nodeid) :].strip()
    parameters = json.dumps(dict(case.parameters), ensure_ascii=False) if case.parameters else None
    return [run.id, case.nodeid, part or None, case.host, case.suite, case.scenario, case.model, parameters]


def _of_sample(sample: Sample, price: Price | None) -> Row:
    metrics = request_metrics(sample, price) if sample.ok else {}
    return [
        sample.index,
        sample.slot,
        sample.outcome.value,
        sample.status,
        *(_finite(metrics.get(name)) for name in _METRICS),
        sample.tokens_source,
        sample.finish_reason,
        is_late_read(sample),
        sample.clock_step,
        metrics.get("answer_tokens"),
        _finite(metrics.get("request_cost")),
    ]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
