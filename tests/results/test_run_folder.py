"""The folder of a run."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results import run_folder
from pytest_flperf.results.run_folder import RunFolder, new_run_id

WHEN = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)


def test_run_ids() -> None:
    """Sortable UTC time, the suite, a bit of chance."""
    assert re.fullmatch(r"20261121T101500Z-default-[0-9a-f]{4}", new_run_id(WHEN, ["default"]))
    east = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert new_run_id(east, ["a", "b", "c"]).startswith("20261121T101500Z-a-and-2-more-")
    assert new_run_id(WHEN.replace(tzinfo=None), []).startswith("20261121T101500Z-run-")


@given(st.text())
def test_run_ids_are_file_names(name: str) -> None:
    """Whatever a suite is called, the id is a short plain name on every system."""
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[a-z0-9-]{1,40}-[0-9a-f]{4}", new_run_id(WHEN, [name]))


def test_files_are_whole_and_plain(tmp_path: Path) -> None:
    """Files are written whole, in UTF-8, beside no left-over, and can be replaced."""
    folder = RunFolder.create(tmp_path / "deep" / "reports", WHEN, ["default"])
    assert folder.path.parent == tmp_path / "deep" / "reports"
    assert folder.id == folder.path.name
    assert folder.write_json("results.json", {"nan": float("nan"), "ü": (1, Path("x")), "bad": "\udc80"})
    assert folder.write_json("results.json", {"a": 1, "ü": ["😀"]})
    assert json.loads((folder.path / "results.json").read_text(encoding="utf-8")) == {"a": 1, "ü": ["😀"]}
    assert folder.write_text("x.txt", "lone \udc80\n")
    assert sorted(path.name for path in folder.path.iterdir()) == ["results.json", "x.txt"]
    assert folder.problems == []


def test_same_second_same_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs never share a folder, even when time and chance are the same at first."""
    draws = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(run_folder.secrets, "token_hex", lambda _n: next(draws))
    first = RunFolder.create(tmp_path, WHEN, ["s"])
    second = RunFolder.create(tmp_path, WHEN, ["s"])
    assert (first.id[-4:], second.id[-4:]) == ("aaaa", "bbbb")


def test_creating_may_raise(tmp_path: Path) -> None:
    """A file in the way is the caller's to report."""
    (tmp_path / "reports").write_text("x")
    with pytest.raises(OSError, match=r"exists|directory"):
        RunFolder.create(tmp_path / "reports", WHEN, ["s"])


def test_latest_is_a_relative_link(tmp_path: Path) -> None:
    """It points to the newest, survives moving the reports, and replaces an old or dangling one."""
    base = tmp_path / "reports"
    first = RunFolder.create(base, WHEN, ["s"])
    assert first.update_latest()
    second = RunFolder.create(base, WHEN, ["s"])
    assert second.update_latest()
    assert (base / "latest").readlink() == Path(second.id)
    shutil.rmtree(second.path)
    third = RunFolder.create(base, WHEN, ["s"])
    assert third.update_latest()
    base.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve().name == third.id
    assert not [path for path in (tmp_path / "moved").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_latest_of_a_persons_own_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Something else of that name is not ours to remove."""
    folder = RunFolder.create(tmp_path, WHEN, ["s"])
    mine = tmp_path / "latest"
    mine.mkdir() if kind == "folder" else mine.write_text("mine")
    assert not folder.update_latest()
    assert not mine.is_symlink()
    assert mine.exists()
    assert "not a link that flperf made" in folder.problems[0]


def test_latest_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where links can't be made, a text file names the newest run."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    folder = RunFolder.create(tmp_path, WHEN, ["s"])
    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert folder.update_latest()
    assert (tmp_path / "latest.txt").read_text() == folder.id + "\n"
    assert folder.problems == []


def test_vanished_folder_is_a_line_a_file(tmp_path: Path) -> None:
    """When the folder goes, nothing raises and each file is told once."""
    told: list[str] = []
    folder = RunFolder.create(tmp_path / "r", WHEN, ["s"], on_problem=told.append)
    shutil.rmtree(tmp_path / "r")
    assert not folder.write_json("results.json", {})
    assert not folder.write_json("results.json", {})
    assert not folder.write_text("b.txt", "")
    assert folder.journal("j.jsonl") is None
    assert not folder.update_latest()
    assert [line.split()[0] for line in folder.problems] == ["results.json", "b.txt", "j.jsonl", "latest"]
    assert told == folder.problems
    assert all("\n" not in line for line in told)


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can't be written whole leaves the one before it, and no left-over."""
    folder = RunFolder.create(tmp_path, WHEN, ["s"])
    folder.write_text("a.txt", "old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not folder.write_text("a.txt", "new")
    assert folder.problems == ["a.txt was not written: No space left on device"]
    assert [path.name for path in folder.path.iterdir()] == ["a.txt"]
    assert (folder.path / "a.txt").read_text() == "old"


def test_journal_tells_the_folder(tmp_path: Path) -> None:
    """A journal of the folder reports to it."""
    folder = RunFolder.create(tmp_path, WHEN, ["s"])
    journal = folder.journal("j.jsonl")
    assert journal is not None
    assert journal.append({"n": 1})
    journal.close()
    assert not journal.append({"n": 2})
    assert folder.problems == ["j.jsonl is not complete: it is closed"]


def test_folder_shared_by_processes(tmp_path: Path) -> None:
    """Processes with the same token, start and suites use one folder, whoever comes first."""
    first = RunFolder.create(tmp_path, WHEN, ["quick"], token="3f9a")
    second = RunFolder.create(tmp_path, WHEN, ["quick"], token="3f9a")
    assert first.path == second.path
    assert first.id.endswith("-quick-3f9a")
