"""The table of one number over the stored runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

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


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("bars", [False, True])
def test_the_number_always_fits(width: int, *, bars: bool) -> None:
    """Names and ids give way, and the end of a model's name, which tells builds apart, stays."""
    builds = [
        *points(
            model="opt-newcomer-SmolLM2-135M-Instruct.Q4_1.gguf", branch="a-long-name-of-a-branch", commit="0" * 40
        ),
        *points(model="opt-newcomer-SmolLM2-135M-Instruct.Q8_0.gguf", outcome="failed"),
    ]
    head, rule, *rows = series_table(builds, "ttft_ms.p50", "ms", NOW, width, bars=bars)
    assert max(map(len, (head, rule, *rows))) <= width
    assert "ttft_ms.p50, ms" in head
    assert all(number in row.split() for row, number in zip(rows, ("0.85", "1.00") * 2, strict=True))
    ends = ("Q4_1.gguf",) * 2 + ("Q8_0.gguf",) * 2
    assert width < 80 or all(end in row for row, end in zip(rows, ends, strict=True))
    assert bars is ("█" in rows[1])
    assert bars is ("bar, from 0" in head)


def test_bars_begin_at_one_place() -> None:
    """All below their heading, whatever stands left of them."""
    head, _, *rows = series_table(points(), "ttft_ms.p50", "ms", NOW, 80, bars=True)
    assert {row.index("█") for row in rows} == {head.index("bar, from 0")}


def test_what_can_not_be_compared_is_marked() -> None:
    """By other conditions, or another machine, than the newest of the case; unknown conditions count."""
    newest = points(conditions="b")[0]
    older = [
        replace(newest, conditions="a"), replace(newest, machine="y"), replace(newest, conditions=None), newest,
        replace(newest, model="other", conditions="a"),
    ]  # fmt: skip
    head, _, *rows, told = series_table(older, "ttft_ms.p50", "ms", NOW, 140, bars=False)
    assert "!=" in head.split()
    assert ["!=" in row for row in rows] == [True, True, False, False, False]
    assert told.startswith("!=: other load, settings, prompts, server or machine")
    assert "!=" not in " ".join(series_table(points(), "ttft_ms.p50", "ms", NOW, 140, bars=False))
