"""``--flperf-markdown`` and ``$GITHUB_STEP_SUMMARY``."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny


def test_file(tiny: Tiny) -> None:
    """Verdict and table in the file that was asked for."""
    tiny.suite({}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    done = tiny.measure("--flperf-markdown=out/a.md")
    assert done.ret == 1
    text = (tiny.folder / "out" / "a.md").read_text(encoding="utf-8")
    assert text.startswith("## ❌ flperf: FAILED\n")
    assert "| ❌ | reference | missed | 1 |" in text
    assert "ttft&#95;ms.max &#60;= 0.001" in text


def test_step_summary(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is added to what is there, at every run."""
    summary = tiny.folder / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert tiny.measure().ret == 0
    assert tiny.measure().ret == 0
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n## ✅ flperf: PASSED\n")
    assert text.count("## ✅ flperf: PASSED\n") == 2


def test_step_summary_that_is_full(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub takes 1 MiB from a step: what is there is not spoilt, and that is said."""
    summary = tiny.folder / "summary.md"
    summary.write_bytes(b"x" * (1 << 20))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = tiny.measure()
    assert done.ret == 0
    assert summary.stat().st_size == 1 << 20
    assert "flperf: $GITHUB_STEP_SUMMARY was not added to" in done.text


def test_step_summary_that_can_not_be(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in its place: one line, and the verdict stays."""
    (tiny.folder / "summary").mkdir()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tiny.folder / "summary"))
    done = tiny.measure()
    assert done.ret == 0
    assert "flperf: $GITHUB_STEP_SUMMARY was not written: " in done.text
