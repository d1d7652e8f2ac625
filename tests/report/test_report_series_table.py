"""The table of one number over the stored runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pytest_flperf.history.series import SeriesPoint
from pytest_flperf.report.terminal.series_table import series_table

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def points(**changes: Any) -> list[SeriesPoint]:
    """Two runs with long ids."""
    known: dict[str, Any] = {
        "run": "20261130T203510Z-questions-40cf", "started_at": "2026-11-30T11:00:00.000+00:00", "branch": None,
        "commit": None, "machine": "x", "nodeid": "s::one[m]", "host": "h", "suite": "s", "scenario": "one",
        "model": "m", "parameters": "{}", "outcome": "passed", "value": 0.855, "n": 240, "infinite": False,
    }  # fmt: skip
    return [SeriesPoint(**{**known, **changes}), SeriesPoint(**{**known, **changes, "value": 1.0})]


def test_quality_in_percent() -> None:
    """A share is shown in percent; columns that say nothing leave their room to the number."""
    head, _, first, last = series_table(points(), "quality.mean", "%", NOW, 80, bars=False, scale=100)
    assert head.split() == ["run", "age", "n", "quality.mean,", "%"]
    assert (first.split()[-1], last.split()[-1]) == ("85.5", "100")
    assert all(len(line) <= 80 for line in (head, first, last))


def test_columns_that_say_something() -> None:
    """A branch, a commit and a verdict of one run are enough to show them of all."""
    told = points(branch="main", commit="0123456789", outcome="failed")
    head, *_ = series_table(told, "ttft_ms.p50", "ms", NOW, 120, bars=False)
    assert head.split() == ["run", "age", "branch", "commit", "n", "ttft_ms.p50,", "ms", "verdict"]
