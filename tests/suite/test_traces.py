"""Traces: what can be read, and what is said of the rest."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.prompts.traces import read_trace


def written(folder: Path, *lines: Any) -> Path:
    """A trace file; texts as they are, the rest as JSON."""
    path = folder / "trace.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.sampled_from(["due_s", "timestamp"]))
def test_times_count_from_the_first(times: list[float], key: str) -> None:
    """Whatever they begin with, in seconds or milliseconds, the first request is due at 0 and none goes back."""
    times.sort()
    with tempfile.TemporaryDirectory() as folder:
        found = read_trace(written(Path(folder), *({key: at} for at in times)))
    scale = 1.0 if key == "due_s" else 1000.0
    assert found[0].due_s == 0
    assert [each.due_s for each in found] == pytest.approx([(at - times[0]) / scale for at in times], abs=1e-6)


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))))
def test_whatever_is_in_it(lines: list[str]) -> None:
    """A trace, or one SuiteError that names the file; nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
        said = "trace.jsonl"
        try:
            assert read_trace(path)
        except SuiteError as error:
            said = str(error)
    assert "trace.jsonl" in said
    assert len(said.splitlines()) <= 11


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "found [], expected an object"),
        ('{"due_s": -1}', "found -1 in 'due_s', expected seconds from 0"),
        ('{"due_s": true}', "found true in 'due_s'"),
        ('{"timestamp": "soon"}', "found 'soon' in 'timestamp', expected milliseconds from 0"),
        ('{"due_s": NaN}', "not JSON"),
        ('{"due_s": 1e300}', "found 1e+300 in 'due_s'"),
        ('{"due_s": 0, "input_length": 0}', "found 0 in 'input_length', expected a whole number from 1"),
        ('{"due_s": 0, "output_length": 1.5}', "found 1.5 in 'output_length'"),
        ('{"due_s": 0, "prompt": ""}', "found a blank text in 'prompt'"),
        ('{"due_s": 0, "messages": []}', "found no user message"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_lines_that_are_none(tmp_path: Path, line: str, problem: str) -> None:
    """File, line, what was found, what was expected."""
    with pytest.raises(SuiteError) as caught:
        read_trace(written(tmp_path, {"due_s": 0}, line))
    assert f"trace.jsonl:2: {problem}" in str(caught.value)


def test_many_problems_are_told_in_part(tmp_path: Path) -> None:
    """Ten lines of a long list, and how many more there are."""
    with pytest.raises(SuiteError) as caught:
        read_trace(written(tmp_path, *["x"] * 200))
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("and 190 more")
