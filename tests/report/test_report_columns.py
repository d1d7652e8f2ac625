"""Runs as Parquet, read back by pyarrow."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from report_doubles import HOSTILE, case, hostile_run, run

from pytest_flperf.report.csv import COLUMNS
from pytest_flperf.report.parquet import parquet
from pytest_flperf.results.records import Run

arrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def rows(*runs: Run) -> list[dict[str, object]]:
    """What a reader of Parquet finds."""
    found: list[dict[str, object]] = arrow.read_table(io.BytesIO(parquet(runs))).to_pylist()
    return found


def test_a_row_per_case() -> None:
    """The CSV's columns with their types; null where nothing was measured."""
    found = rows(run(case(), case("other", parameters={"concurrency": 4}, reruns=2)), run(id="second"))
    assert [row["scenario"] for row in found] == ["short", "other", "short"]
    assert [row["run_id"] for row in found] == ["20261121T101500Z-s-3f9a"] * 2 + ["second"]
    first = found[0]
    assert tuple(first) == COLUMNS
    assert (first["ttft_ms.p50"], first["error_rate"], first["stream"]) == (15.0, 0.0, True)
    assert (first["itl_ms.p50"], first["parameters"], first["partial"]) == (None, None, False)
    assert isinstance(first["requests_total"], int)
    assert (found[1]["reruns"], found[1]["parameters"]) == (2, '{"concurrency": 4}')


def test_the_same_types_whatever_was_measured() -> None:
    """Files of several runs fit together: an empty one has the columns and types of a full one."""
    full, empty = (arrow.read_schema(io.BytesIO(parquet(runs))) for runs in ([run(case())], []))
    assert full == empty
    assert {str(full.field(name).type) for name in COLUMNS} == {"string", "bool", "int64", "double"}


def test_infinite_and_hostile() -> None:
    """What is infinite stays so, and texts come back as they were, formulas too."""
    slow = replace(case().metrics["ttft_ms"], p99=math.inf, as_inf=1)
    (found,) = rows(run(case(metrics={"ttft_ms": slow})))
    assert found["ttft_ms.p99"] == math.inf
    for text in ("=1+1", "a\ud800b", *HOSTILE.values()):
        found = rows(hostile_run(text))[0]
        assert str(found["scenario"]).encode() == text.encode("utf-8", "replace")


def test_imported_late() -> None:
    """Nothing of pyarrow is imported before a file is written."""
    code = (
        "import sys, pytest_flperf.report.parquet, pytest_flperf.commands.transfer; sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
