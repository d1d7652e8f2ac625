"""The fuzzing script: what it tries holds, and what does not hold is found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from scripts import fuzz
from scripts.fuzz import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_reads_foreign_bytes_keeps_its_promises(target: Target) -> None:
    """With every file of the corpus, and a few that are changed."""
    assert fuzz.examine(target, 20, 15) is None


def _no_nul(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
    del suffix, cuts
    assert b"\0" not in content


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with one file."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("some text")
    return tmp_path


def test_a_finding_is_shrunk_and_kept(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file that shows it is small, the traceback is printed, the exit status is 1."""
    monkeypatch.setattr(fuzz, "CORPUS", corpus)
    monkeypatch.setattr(fuzz, "TARGETS", (Target("nul", "texts", _no_nul),))
    assert fuzz.main(["--minutes", "1", "--seed", "3", "--out", str(corpus / "out")]) == 1
    (kept,) = (corpus / "out").iterdir()
    assert kept.read_bytes().count(b"\0") == 1
    out = capsys.readouterr().out
    assert str(kept) in out
    assert "AssertionError" in out


@pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm")
def test_what_never_ends_is_a_finding(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it catches every exception."""

    def endless(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
        del content, suffix, cuts
        while True:
            try:
                sum(range(1_000))
            except Exception:  # noqa: BLE001, S112 - what is tested
                continue

    monkeypatch.setattr(fuzz, "SLOWEST_S", 1)
    finding = fuzz.examine(Target("endless", "texts", endless), 5, 1, corpus)
    assert finding is not None
    assert "it took more than 1 s" in finding.story
