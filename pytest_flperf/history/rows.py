"""Database rows of a run, and its whole results as bytes."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.environment import Surroundings, fingerprint
from pytest_flperf.history.standing import compared_with, standing_of
from pytest_flperf.results.metrics import VALUES_KEPT
from pytest_flperf.results.notes import Note
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["NUMBERS", "CaseValues", "Row", "as_stored", "as_time", "case_rows", "document_row", "is_document",
           "log_rows", "metric_rows", "model_rows", "read_document", "read_values", "resource_rows", "run_row",
           "value_rows"]  # fmt: skip

Row: TypeAlias = dict[str, Any]
CaseValues: TypeAlias = Mapping[tuple[str, str], Mapping[str, Sequence[float]]]
"""By node id and host, for each request metric: the values of single requests, in the order in which they were sent."""
NUMBERS: Final = (
    "cost_total", "cost_per_1k", "cost_per_right", "quality_per_1k_reasoning", "energy_per_answer_j",
    "energy_per_right_j",
)  # fmt: skip
"""Metrics that are one number for a case and have no column: they stand among the metrics of requests."""
_COMPRESSED_FROM: Final = 2048
"""Bytes; smaller documents hardly shrink."""
_LEVEL: Final = 3
"""Compression level: results of 20 cases shrink to an eighth in a millisecond; higher levels gain little."""
_LARGEST: Final = 1 << 30
_LARGEST_VALUES: Final = 1 << 20
_TEXT: Final = 4_000
_INDEXED: Final = 400
"""Characters of an indexed text: PostgreSQL takes 2,704 bytes."""
_LARGEST_INTEGER: Final = 2**31 - 1


def run_row(run: Run, about: Surroundings) -> Row:
    """The row of the run itself, without its key."""
    host = None if run.host is None else run.host.to_dict()
    job = about.job
    return {
        "id": _text(run.id, _INDEXED),
        "started_at": as_time(run.started_at),
        "finished_at": None if run.finished_at is None else as_time(run.finished_at),
        "status": run.status,
        "partial": run.partial,
        "suites": json.dumps(list(run.suites)),
        "command": _text(" ".join(run.command)),
        "cases": len(run.cases),
        "cases_passed": sum(case.outcome in ("passed", "xpassed") for case in run.cases),
        "host": json.dumps(host),
        "fingerprint": fingerprint(run.host),
        "versions": json.dumps(dict(run.versions)),
        "git_commit": _text(about.commit.id),
        "git_branch": _text(about.commit.branch, _INDEXED),
        "ci_system": job.system if job else None,
        "ci_job": _text(job.text) if job else None,
        "ci_url": _text(job.url) if job else None,
        "folder": _text(about.folder),
        "stored_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def document_row(run: Run) -> Row:
    """The row of the whole results, compressed where that is worth it."""
    content = json.dumps(run.to_dict(), separators=(",", ":"), allow_nan=False).encode("ascii")
    digest = hashlib.sha256(content).hexdigest()
    if len(content) < _COMPRESSED_FROM:
        return {"encoding": "json", "digest": digest, "content": content}
    return {"encoding": "zlib", "digest": digest, "content": zlib.compress(content, _LEVEL)}


def read_document(row: Mapping[Any, Any]) -> str:
    """The JSON in a document's row; raises ValueError where damaged."""
    content = _content(row["content"], "results")
    if row["encoding"] == "zlib":
        reader = zlib.decompressobj()
        try:
            content = reader.decompress(content, _LARGEST)
        except zlib.error as error:
            raise ValueError(f"its compressed results are damaged: {error}") from error
        if not reader.eof:
            raise ValueError("its compressed results are damaged: they are incomplete")
    elif row["encoding"] != "json":
        raise ValueError(f"its results are stored as {str(row['encoding'])[:40]!r}, which is unknown")
    if hashlib.sha256(content).hexdigest() != row["digest"]:
        raise ValueError("its results are damaged: their checksum does not match")
    return content.decode("ascii")


def is_document(row: Mapping[Any, Any] | None, digest: str) -> bool:
    """Whether a row holds the results of that digest, undamaged."""
    if row is None or row["digest"] != digest:
        return False
    try:
        read_document(row)
    except ValueError:
        return False
    return True


def case_rows(run: Run) -> list[Row]:
    """A row per case."""
    return [{"case_no": number, **_case(case)} for number, case in enumerate(run.cases)]


def _case(case: CaseResult) -> Row:
    baseline, improved = compared_with(case)
    return {
        "nodeid": _text(case.nodeid),
        "host": _text(case.host),
        "suite": _text(case.suite, _INDEXED),
        "scenario": _text(case.scenario),
        "model": _text(case.model),
        "parameters": json.dumps(dict(case.parameters)),
        "outcome": case.outcome,
        "message": _text(case.message),
        "partial": case.partial,
        "requests": _count(case.requests.total),
        "requests_ok": _count(case.requests.ok),
        "error_rate": _number(case.error_rate),
        "wall_s": _number(case.wall_s),
        "request_rate": _number(case.request_rate),
        "goodput": _number(case.goodput),
        "tps_total": _number(case.tps_total),
        "conditions": conditions_of(case),
        "standing": standing_of(case),
        "compared_with": None if baseline is None else _text(baseline),
        "improved": improved,
    }


def metric_rows(run: Run) -> list[Row]:
    """A row per case and metric; of :data:`NUMBERS` the mean is the number.

    A percentile that falls among failed requests is infinite where they count as infinitely slow.
    """
    statistics = ("mean", "p50", "p90", "p95", "p99", "min", "max")
    return [
        {
            "case_no": number,
            "name": _text(name, _INDEXED),
            "n": _count(found.n),
            **{each: _number(getattr(found, each)) for each in statistics},
        }
        for number, case in enumerate(run.cases)
        for name, found in case.metrics.items()
    ] + [
        {
            "case_no": number,
            "name": name,
            "n": _count(case.requests.ok),
            "mean": _number(getattr(case, name)),
            **dict.fromkeys(statistics[1:]),
        }
        for number, case in enumerate(run.cases)
        for name in NUMBERS
        if getattr(case, name) is not None
    ]


def resource_rows(run: Run) -> list[Row]:
    """A row per case and resource."""
    return [
        {
            "case_no": number,
            "name": _text(name, _INDEXED),
            "n": _count(used.n),
            **{each: _number(getattr(used, each)) for each in ("mean", "min", "max")},
        }
        for number, case in enumerate(run.cases)
        for name, used in case.resources.items()
    ]


def model_rows(run: Run) -> list[Row]:
    """A row per model and server, with figures of its first load.

    The figures are load time and model memory.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for case in run.cases:
        target = case.target
        row: Row = {"name": _text(case.model)}
        for name in ("backend", "base_url", "model_id", "variant", "device", "execution_provider", "transport"):
            row[name] = _text(getattr(target, name)) if target is not None else None
        row["size_mb"] = _count(target.size_mb) if target is not None and target.size_mb is not None else None
        known = found.setdefault(tuple(row.values()), {**row, "load_s": None, "model_rss_mb": None})
        for name in ("load_s", "model_rss_mb"):
            if known[name] is None:
                known[name] = _number(getattr(case, name))
    return [{"model_no": number, **row} for number, row in enumerate(found.values())]


def value_rows(run: Run, values: CaseValues) -> list[Row]:
    """A row per case and metric with known values of single requests.

    Each row also says how many values there were in all.
    """
    return [
        {
            "case_no": number,
            "name": _text(name, _INDEXED),
            "n": _count(_whole(case, name, found)),
            "content": _packed(found),
        }
        for number, case in enumerate(run.cases)
        for name, found in values.get((case.nodeid, case.host), {}).items()
        if found
    ]


def _whole(case: CaseResult, name: str, found: Sequence[float]) -> int:
    summed = case.metrics.get(name)
    return max(len(found), summed.n if summed is not None else 0)


def _packed(values: Sequence[float]) -> bytes:
    return zlib.compress(
        _swapped(array("f", values[:VALUES_KEPT])).tobytes(), 1
    )  # of values higher levels gain nothing


def read_values(content: bytes) -> tuple[float, ...]:
    """The values in a row; raises ValueError where damaged."""
    reader = zlib.decompressobj()
    try:
        whole = reader.decompress(_content(content, "values"), _LARGEST_VALUES)
        found = array("f", whole)
    except (zlib.error, ValueError) as error:
        raise ValueError(f"its values are damaged: {error}") from error
    if not reader.eof:
        raise ValueError("its values are damaged: they are incomplete")
    values = tuple(_swapped(found))
    for number, value in enumerate(values):
        if not -1 < value < math.inf:
            raise ValueError(f"its values are damaged: value {number} is {value:g}, expected 0 or more")
    return values


def _content(value: Any, what: str) -> bytes:
    if not isinstance(value, bytes | memoryview):
        raise ValueError(f"its {what} are damaged: found {type(value).__name__}, expected bytes")  # noqa: TRY004
    return bytes(value)


def _swapped(values: array[float]) -> array[float]:
    """Convert to little-endian, or back."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def log_rows(run: Run) -> list[Row]:
    """Notes, warnings and failed requests, a row per line."""
    return [
        {"line_no": number, "case_no": case_no, "kind": kind, "text": _text(text)}
        for number, (case_no, kind, text) in enumerate(_lines(run))
    ]


def _lines(run: Run) -> Iterator[tuple[int | None, str, str]]:
    for note in run.notes:
        yield None, *_kind(note)
    for case_no, case in enumerate(run.cases):
        for note in case.notes:
            yield case_no, *_kind(note)
        for failure in case.failures:
            words = " ".join(filter(None, (failure.outcome, str(failure.status or ""), failure.detail)))
            yield case_no, "failure", f"{failure.count} × {words}"


def _kind(note: str) -> tuple[str, str]:
    found = Note.of(note)
    return found.level, str(replace(found, level="note"))


def as_stored(text: str) -> str:
    """A node id or a host as the table stores it."""
    return _text(text) or ""


def _text(text: str | None, limit: int = _TEXT) -> str | None:
    """A text that both databases accept: no NUL, no lone surrogate, bounded."""
    if text is None:
        return None
    return text[:limit].replace("\0", "�").encode("utf-8", "replace").decode()


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _count(value: int) -> int:
    return min(int(value), _LARGEST_INTEGER)


def as_time(text: str) -> str:
    """A time in UTC with milliseconds, so that texts sort like times.

    A text that is no time stays as it is.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _text(text[:64]) or ""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")
