"""``--flperf-code-quality`` and GitHub's annotations: what CI services show of a run."""

from __future__ import annotations

import json

import pytest
from tiny_runs import Tiny


def test_file(tiny: Tiny) -> None:
    """An issue for the budget that was missed, at the suite's file."""
    tiny.suite({}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    done = tiny.measure("--flperf-code-quality=out/quality.json")
    assert done.ret == 1
    (issue,) = json.loads((tiny.folder / "out" / "quality.json").read_text(encoding="utf-8"))
    assert issue["check_name"] == "flperf budget ttft_ms.max <= 0.001"
    assert issue["description"].startswith("missed on reference: missed ttft_ms.max <= 0.001 (")
    assert issue["severity"] == "major"
    assert (tiny.folder / issue["location"]["path"]).is_file()


def test_all_is_well(tiny: Tiny) -> None:
    """An empty list: GitLab then shows earlier issues as fixed."""
    assert tiny.measure("--flperf-code-quality=quality.json").ret == 0
    assert json.loads((tiny.folder / "quality.json").read_text(encoding="utf-8")) == []


def test_annotations(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitHub a line of its own for each failed case, and nowhere else."""
    tiny.suite({}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    for there, count in (("true", 1), ("false", 0)):
        monkeypatch.setenv("GITHUB_ACTIONS", there)
        done = tiny.measure()
        assert done.ret == 1
        begin = "::error title=missed on reference::missed on reference: missed ttft_ms.max <= 0.001 ("
        assert sum(line.startswith(begin) for line in done.lines) == count
        assert sum(line.startswith("::") for line in done.lines) == count
