"""Runs as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from report_doubles import HOSTILE, case, hostile_run, run

from pytest_flperf.report.csv import COLUMNS, csv_text
from pytest_flperf.results.records import ResourceUse, Run


def rows(*runs: Run) -> list[dict[str, str]]:
    """What a reader of CSV finds."""
    return list(csv.DictReader(io.StringIO(csv_text(runs), newline="")))


def test_a_row_per_case() -> None:
    """Raw values, units in names, empty where nothing was measured."""
    found = rows(run(case(), case("other", parameters={"concurrency": 4})), run(id="second"))
    assert [row["scenario"] for row in found] == ["short", "other", "short"]
    assert [row["run_id"] for row in found] == ["20261121T101500Z-s-3f9a"] * 2 + ["second"]
    first = found[0]
    assert float(first["ttft_ms.p50"]) == 15.0
    assert first["error_rate"] == "0.0"
    assert first["itl_ms.p50"] == ""
    assert first["stream"] == "true"
    assert first["unsure"] == "ttft_ms.p95"
    assert found[1]["parameters"] == '{"concurrency": 4}'


def test_columns_are_stable() -> None:
    """Every run has the same columns, each once."""
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert csv_text([]).strip().split(",") == list(COLUMNS)
    assert COLUMNS[:4] == ("run_id", "started_at", "run_status", "nodeid")
    assert {"ttft_ms.p95", "tps_total", "server_rss_mb.max", "gpu_power_w.mean", "load_s"} <= set(COLUMNS)


def test_partial_runs_and_reruns() -> None:
    """What was cut short, and what was run again, can be filtered."""
    whole, cut = rows(run(case()), run(case(partial=True, reruns=2), partial=True))
    assert [whole[name] for name in ("run_partial", "partial", "reruns")] == ["false", "false", "0"]
    assert [cut[name] for name in ("run_partial", "partial", "reruns")] == ["true", "true", "2"]


def test_resources() -> None:
    """Resources have their columns; what was not measured is empty."""
    (found,) = rows(run(case(resources={"gpu_power_w": ResourceUse(3, 31.5, 20.0, 40.0)})))
    assert (found["gpu_power_w.mean"], found["gpu_power_w.max"], found["gpu_temp_c.mean"]) == ("31.5", "40.0", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r@x", "＝1", "=cmd|' /C calc'!A0"])
def test_no_formulas(text: str) -> None:
    """No cell of text begins with what makes it a formula."""
    for row in rows(hostile_run(text)):
        for name, cell in row.items():
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝")), (name, cell)
    assert rows(run(case(model="m", error_rate=-0.5)))[0]["error_rate"] == "-0.5", "numbers stay numbers"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(name: str) -> None:
    """A row stays a row of as many cells, whatever the texts hold."""
    text = csv_text([hostile_run(HOSTILE[name])])
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in found} == {len(COLUMNS)}
    assert len(found) == 4
    assert text.isprintable() or {char for char in text if not char.isprintable()} == {"\r", "\n"}
    assert max(len(cell) for row in found for cell in row) < 2_100
