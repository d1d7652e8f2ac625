"""``--flperf-csv`` and ``--flperf-json``."""

from __future__ import annotations

import csv

from tiny_runs import Tiny


def test_csv(tiny: Tiny) -> None:
    """A row per case with the values of ``results.json``."""
    tiny.suite({"iterations": 2}, {"name": "=two"})
    done = tiny.measure("--flperf-csv=out/a.csv")
    assert done.ret == 0
    with (tiny.folder / "out" / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["scenario"] for row in rows] == ["one", "'=two"]
    for row, case in zip(rows, done.cases, strict=True):
        assert float(row["ttft_ms.p50"]) == case["metrics"]["ttft_ms"]["p50"]
        assert int(row["requests_ok"]) == case["requests"]["ok"]


def test_json(tiny: Tiny) -> None:
    """The same bytes as ``results.json``."""
    done = tiny.measure("--flperf-json=out/a.json")
    assert (tiny.folder / "out" / "a.json").read_bytes() == (done.report / "results.json").read_bytes()


def test_what_can_not_be_written(tiny: Tiny) -> None:
    """One line each, and the exit status is the verdict's."""
    (tiny.folder / "folder").mkdir()
    done = tiny.measure("--flperf-csv=folder", "--flperf-json=folder", "--flperf-markdown=folder")
    assert done.ret == 0
    assert sum("folder was not written: " in line for line in done.lines) == 3
