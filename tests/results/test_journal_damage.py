"""Journals that others delete, move or truncate while they are written."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.journal import Journal, JournalReader, journal_line, json_characters

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a file that is open stays where it is")
RECORDS = [{"n": n, "pad": "x" * 20} for n in range(6)]


def truncated(size: int) -> Callable[[Path], None]:
    """Truncates a file to so many bytes."""

    def damage(path: Path) -> None:
        os.truncate(path, size)

    return damage


def moved(path: Path) -> None:
    """Moves a file's folder."""
    path.parent.rename(path.parent.with_name("elsewhere"))


def replaced(path: Path) -> None:
    """Puts another file in the place of a file."""
    path.unlink()
    path.write_bytes(b"")


def rotated(path: Path) -> None:
    """Moves a file, and makes an empty one, as logrotate does."""
    path.rename(path.with_suffix(".1"))
    path.touch()


DELETED = {
    "file": Path.unlink,
    "folder": lambda path: shutil.rmtree(path.parent),
    "moved": moved,
    "replaced": replaced,
    "rotated": rotated,
}
TRUNCATED = {"to nothing": truncated(0), "within a line": truncated(50), "at a line's end": truncated(37)}


def journal_of(folder: Path, told: list[str]) -> Journal:
    """A journal with three lines."""
    folder.mkdir()
    journal = Journal(folder / "j.jsonl", on_problem=told.append)
    for record in RECORDS[:3]:
        assert journal.append(record)
    return journal


@pytest.mark.parametrize("how", DELETED)
def test_a_file_that_is_gone_is_noticed_at_the_next_line(tmp_path: Path, how: str) -> None:
    """It is said once; what was and what is written can still be read by the one who writes it."""
    told: list[str] = []
    with journal_of(tmp_path / "run", told) as journal:
        DELETED[how](journal.path)
        assert not told
        for record in RECORDS[3:]:
            assert journal.append(record)
        assert told == ["j.jsonl is not complete: it was deleted or moved while it was written"]
        assert list(journal.records()) == RECORDS
    assert len(told) == 1


@pytest.mark.parametrize("how", DELETED)
def test_a_file_that_is_gone_is_noticed_at_the_end(tmp_path: Path, how: str) -> None:
    """Also where no line follows."""
    told: list[str] = []
    journal = journal_of(tmp_path / "run", told)
    DELETED[how](journal.path)
    journal.close()
    journal.close()
    assert told == ["j.jsonl is not complete: it was deleted or moved while it was written"]


@pytest.mark.parametrize("how", TRUNCATED)
def test_a_truncated_file_is_noticed(tmp_path: Path, how: str) -> None:
    """It is said from where to where, and the lines after it are whole."""
    told: list[str] = []
    with journal_of(tmp_path / "run", told) as journal:
        TRUNCATED[how](journal.path)
        size = journal.path.stat().st_size
        for record in RECORDS[3:]:
            assert journal.append(record)
    assert told == [f"j.jsonl is not complete: it was truncated from 111 to {size} bytes"]
    assert list(JournalReader(journal.path))[-3:] == RECORDS[3:]


def test_lines_of_others_are_no_damage(tmp_path: Path) -> None:
    """Another writer of the same file is told of by nobody."""
    told: list[str] = []
    with journal_of(tmp_path / "run", told) as journal, Journal(journal.path) as other:
        assert other.append({"n": 9})
        assert journal.append(RECORDS[3])
    assert not told
    assert [record["n"] for record in JournalReader(journal.path)] == [0, 1, 2, 9, 3]


def test_reading_while_writing(tmp_path: Path) -> None:
    """Readers don't disturb each other, nor the writer them."""
    with journal_of(tmp_path / "run", []) as journal:
        one, other = iter(journal.records()), iter(journal.records())
        assert next(one) == next(other) == RECORDS[0]
        journal.append(RECORDS[3])
        assert [*one] == RECORDS[1:4]
        assert [*other] == RECORDS[1:4]


@given(st.binary(max_size=300))
def test_the_length_of_bytes_in_a_line_is_known_before(raw: bytes) -> None:
    """Exactly."""
    assert json_characters(raw) == len(journal_line({"": raw.decode("latin-1")})) - len(journal_line({"": ""}))
