"""Request rows: what a run's samples become, whole, damaged, and measured twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_doubles import case, run

from pytest_flperf.report.csv import csv_of
from pytest_flperf.report.request_rows import REQUEST_COLUMNS, request_rows

MS = 1_000_000
RUN = run(case(), case("other", parameters={"concurrency": 4}))
NODEID = RUN.cases[0].nodeid


def sample(index: int, nodeid: str = NODEID, **changes: Any) -> dict[str, Any]:
    """A line of samples.jsonl."""
    sent = (100 + 1_000 * index) * MS
    return {
        "nodeid": nodeid, "index": index, "phase": "measured", "target": 0, "stream": True, "slot": 0, "outcome": "ok",
        "status": 200, "due_ns": None, "connect_ns": None, "started_ns": sent, "sent_ns": sent, "headers_ns": sent,
        "first_token_ns": sent + 20 * MS, "first_answer_token_ns": sent + 20 * MS, "last_token_ns": sent + 60 * MS,
        "end_ns": sent + 60 * MS, "finished_ns": sent + 60 * MS, "output_tokens": 5, "visible_tokens": 5,
        "tokens_source": "usage", "finish_reason": "stop", "clock_step": False, **changes,
    }  # fmt: skip


def rows(folder: Path, *lines: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """The rows of a file with these lines."""
    path = folder / "samples.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    found = list(request_rows(RUN, path))
    assert all(len(row) == len(REQUEST_COLUMNS) for row in found)
    return [dict(zip(REQUEST_COLUMNS, row, strict=True)) for row in found]


def test_a_row_per_request(tmp_path: Path) -> None:
    """The case, when it was sent, and its metrics; no warm-up."""
    other = RUN.cases[1].nodeid
    warm, *found = (
        sample(0, phase="warmup"),
        *(sample(0), sample(1, slot=3), sample(0, other), sample(0, f"{NODEID} at 4")),
    )
    first, second, of_other, part = rows(tmp_path, warm, *found)
    assert (first["run_id"], first["nodeid"], first["scenario"], first["part"]) == (RUN.id, NODEID, "short", None)
    assert (first["ttft_ms"], first["e2e_ms"], first["tpot_ms"], first["output_tokens"]) == (20, 60, 10, 5)
    assert (first["sent_s"], second["sent_s"], second["slot"]) == (0, 1, 3)
    assert (of_other["scenario"], of_other["parameters"]) == ("other", '{"concurrency": 4}')
    assert (part["nodeid"], part["part"], part["scenario"]) == (NODEID, "at 4", "short")


def test_what_is_in_no_statistic(tmp_path: Path) -> None:
    """A failed request has its outcome and no metric; after a clock step there are no times; of a stranger no case."""
    failed, stepped, strange = rows(
        tmp_path, sample(0, outcome="http_5xx", status=500), sample(1, clock_step=True), sample(0, "nobody's")
    )
    assert (failed["outcome"], failed["status"], failed["ttft_ms"]) == ("http_5xx", 500, None)
    assert (stepped["ttft_ms"], stepped["output_tokens"], stepped["clock_step"]) == (None, 5, True)
    assert (strange["nodeid"], strange["scenario"]) == ("nobody's", None)


def test_measured_again(tmp_path: Path) -> None:
    """The last measurement of a case counts."""
    again = sample(0, started_ns=9_000 * MS, sent_ns=9_000 * MS, slot=7)
    assert [row["slot"] for row in rows(tmp_path, sample(0), sample(1), again)] == [7]
    assert [row["slot"] for row in rows(tmp_path, sample(0), sample(1), sample(0, phase="verify"), again)] == [7]


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b'"x"', b"\xff", b"null", b"[" * 10_000,
     *(json.dumps({**sample(0), name: value}).encode() for name, value in (
         ("nodeid", 1), ("index", "x"), ("index", 1e300), ("slot", None), ("phase", "x"), ("outcome", []),
         ("sent_ns", "x"), ("started_ns", None), ("output_tokens", "x"), ("output_tokens", 10**400), ("status", 1.5),
         ("finish_reason", {}), ("clock_step", 1), ("server_timings", "x")))],
)  # fmt: skip
def test_damaged_lines(tmp_path: Path, line: bytes) -> None:
    """Left out; the others stay."""
    assert [row["index"] for row in rows(tmp_path, line, sample(1))] == [1]


@given(
    st.dictionaries(
        st.sampled_from(sorted(sample(0))), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_values(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Never an exception, and what comes out can be written as CSV and as Parquet."""
    found = [list(row.values()) for row in rows(tmp_path, {**sample(0), **changes}, sample(1))]
    assert csv_of(list(REQUEST_COLUMNS), found)
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pytest_flperf.report.parquet import parquet_of

    assert parquet_of(REQUEST_COLUMNS, found)
