"""Files at a place of the user's choice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_flperf.results.atomic_write import append_file, write_file


def test_whole_and_with_its_folders(tmp_path: Path) -> None:
    """Folders are made, an older file is replaced, nothing is left beside it."""
    path = tmp_path / "a" / "b" / "x.html"
    assert write_file(path, b"one") == ""
    assert write_file(path, b"two") == ""
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["x.html"]


def test_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    """A folder, a file in the way, a NUL, a name too long: a reason each, and nothing is left behind."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "folder", tmp_path / "file" / "x", tmp_path / "a\0b", tmp_path / ("x" * 5000)):
        assert write_file(path, b"x") != ""
        assert append_file(path, b"x") != ""
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_links_stay_links(tmp_path: Path) -> None:
    """What a link points to is replaced, not the link."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    assert write_file(tmp_path / "link", b"new") == ""
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes of this kind")
def test_pipes_are_written_to(tmp_path: Path) -> None:
    """What is no plain file is not replaced."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert write_file(path, b"through") == ""
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert path.is_fifo()


def test_append(tmp_path: Path) -> None:
    """What is there stays."""
    assert append_file(tmp_path / "x", b"a") == ""
    assert append_file(tmp_path / "x", b"b") == ""
    assert (tmp_path / "x").read_bytes() == b"ab"
