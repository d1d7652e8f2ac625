"""The table in the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples
from tiny_runs import Tiny
from wcwidth import wcswidth

from pytest_flperf.report.terminal.results_table import table_lines
from pytest_flperf.results.records import CaseResult

NAMES = st.text(max_size=60) | st.sampled_from(["short-chat", "日本語の名前", "e\u0301" * 30, "模" * 80, "👩‍👩‍👧", "a"])


def _case(model: str, scenario: str) -> CaseResult:
    return CaseResult(
        nodeid=f"s::{scenario}[{model}]", suite="s", scenario=scenario, model=model, parameters={}, host="h",
        outcome="error", message="",
    )  # fmt: skip


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5), st.integers(40, 200))
def test_fits(names: list[tuple[str, str]], width: int) -> None:
    """No line is wider than the terminal, whatever the names are."""
    lines = table_lines([_case(*each) for each in names], width)
    assert len(lines) >= len(names) + 2
    assert max(map(wcswidth, lines)) <= width
    assert min(map(wcswidth, lines)) >= 0, "nothing that moves the cursor"


def test_lines_up(tiny: Tiny) -> None:
    """Names in Chinese, Japanese and Korean stand in line with the others."""
    tiny.suite({"name": "日本語の長い答え"}, {"name": "한국어"}, {"name": "english"})
    rows = [line for line in tiny.measure().lines if line.startswith("reference ")]
    assert len(rows) == 3
    assert len({wcswidth(row) for row in rows}) == 1


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_widths(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """The section fits the terminal; wider ones show more columns."""
    monkeypatch.setenv("COLUMNS", str(columns))
    tiny.suite({"name": "a-scenario-with-a-rather-long-name-that-somebody-chose", "iterations": 2}, {"name": "b"})
    lines = tiny.measure().lines
    (first,) = [index for index, line in enumerate(lines) if " flperf " in line and line.startswith("==")]
    section = lines[first : lines.index(next(line for line in lines[first:] if line.startswith("results: ")))]
    (rule,) = [index for index, line in enumerate(section) if line and not line.strip("-")]
    table = section[rule - 1 : rule + 3]  # where it is narrow, the only model is told below
    assert len([line for line in table if line.startswith(("a-scenario", "b ", "reference"))]) == 2
    assert max(map(wcswidth, table)) <= columns
    assert any("reference" in line for line in section)
    assert any("TTFT" in line for line in section)
    assert any("errors" in line for line in section)


def test_verbosity(tiny: Tiny) -> None:
    """-q: the verdict only; by default a table; -v: facts of each case; -vv: percentiles."""
    quiet, plain, verbose, very = (tiny.measure(*options).text for options in (("-q",), (), ("-v",), ("-vv",)))
    assert "flperf: PASSED: 1 passed" in quiet
    assert "TTFT" not in quiet
    assert "TTFT" in plain
    assert "1 ok, 0 failed" not in plain
    assert "1 ok, 0 failed" in verbose
    assert "p99" not in verbose.partition("1 ok, 0 failed")[2]
    assert "p99" in very.partition("1 ok, 0 failed")[2]


def test_no_summary(tiny: Tiny) -> None:
    """``--no-summary`` is honoured; the files are written all the same."""
    done = tiny.measure("--no-summary")
    assert "TTFT" not in done.text
    assert "flperf: PASSED" not in done.text
    assert done.case["outcome"] == "passed"


def test_header(tiny: Tiny) -> None:
    """One line that says what runs."""
    (line,) = [line for line in tiny.measure().lines if line.startswith("flperf: tiny.json")]
    assert " 1 case" in line
    assert " on reference" in line
