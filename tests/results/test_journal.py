"""Append-only lines that survive their writer."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.journal import Journal, JournalReader, journal_line

RECORDS = [{"n": 1, "text": "a\nb\u2028ü"}, {"n": 2, "list": [1, None]}, {"n": 3}]


def write(path: Path, records: list[dict[str, Any]]) -> bytes:
    """A journal of records, closed."""
    with Journal(path) as journal:
        assert all(journal.append(record) for record in records)
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Records come back in order; a line each; nothing is bad."""
    path = tmp_path / "j.jsonl"
    assert write(path, RECORDS).count(b"\n") == 3
    reader = JournalReader(path)
    assert list(reader) == RECORDS
    assert (reader.bad_lines, reader.torn) == (0, False)


def test_torn_anywhere(tmp_path: Path) -> None:
    """Cut at any byte, every whole line is read, and at most the last one is bad."""
    path = tmp_path / "j.jsonl"
    content = write(path, RECORDS)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        reader = JournalReader(path)
        found = list(reader)
        assert found == RECORDS[: len(found)]
        # A record that lacks its line end only is whole.
        assert len(found) + reader.bad_lines - content[:length].count(b"\n") in {0, 1}
        assert reader.torn is (length > 0 and content[length - 1 : length] != b"\n")


def test_writing_after_a_torn_line(tmp_path: Path) -> None:
    """The next writer starts on a line of its own: one line is lost, not two."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(write(path, RECORDS)[:-3])
    write(path, [{"n": 4}])
    reader = JournalReader(path)
    assert list(reader) == [*RECORDS[:2], {"n": 4}]
    assert reader.bad_lines == 1


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_can_be_read(lines: list[bytes]) -> None:
    """Rubbish is counted, good lines between are kept, nothing raises."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"flperf-journal-{os.getpid()}.jsonl"  # noqa: S108
    try:
        path.write_bytes(b"\n".join([*lines, b'{"good":1}', *lines]))
        found = list(JournalReader(path))
        assert {"good": 1} in found
        assert all(isinstance(record, dict) for record in found)
    finally:
        path.unlink()


def test_overlong_and_deep_lines_are_skipped(tmp_path: Path) -> None:
    """A line beyond the limit, or nested beyond sense, is one bad line and costs no memory."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":"' + b"x" * 500 + b'"}\n{"n":1}\n' + b"[" * 60_000 + b"\n" + b'{"b":"' + b"y" * 300)
    reader = JournalReader(path, line_limit=100)
    assert list(reader) == [{"n": 1}]
    assert (reader.bad_lines, reader.torn) == (3, True)
    assert list(JournalReader(path)) == [{"a": "x" * 500}, {"n": 1}]


def test_lines_are_always_json() -> None:
    """What JSON can't hold is made plain; a line is ASCII and has one line end."""
    line = journal_line({"nan": math.nan, "path": Path("x"), "text": "\udc80\n😀"})
    assert json.loads(line) == {"nan": None, "path": "x", "text": "\\udc80\n😀"}
    assert line.isascii()
    assert line.count(b"\n") == 1


def test_size_is_bounded(tmp_path: Path) -> None:
    """At its limit it stops growing, says so once, and counts what is lost."""
    told: list[str] = []
    with Journal(tmp_path / "j.jsonl", on_problem=told.append, size_limit=25) as journal:
        assert [journal.append({"n": n}) for n in range(6)] == [True, True, True, False, False, False]
        assert journal.dropped == 3
    assert told == ["j.jsonl is not complete: it has reached its limit of 25 bytes"]
    assert not journal.append({"n": 1})
    journal.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_never_raises() -> None:
    """A full disk is one line, however many records follow."""
    told: list[str] = []
    with Journal(Path("/dev/full"), on_problem=told.append) as journal:
        assert [journal.append({"n": n}) for n in range(3)] == [False, False, False]
        journal.sync()
    assert len(told) == 1
    assert "No space left" in told[0]


def test_short_write_does_not_glue_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk took half a line, the next record is still read."""
    real = os.write
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:4]))
        assert not journal.append({"n": 1})
        monkeypatch.undo()
        assert journal.append({"n": 2})
    reader = JournalReader(path)
    assert list(reader) == [{"n": 2}]
    assert reader.bad_lines == 1


def test_opening_may_raise(tmp_path: Path) -> None:
    """Only opening raises: the caller decides what a missing folder means."""
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "none" / "j.jsonl")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_writer_loses_nothing_appended(tmp_path: Path) -> None:
    """After SIGKILL every record whose append returned is in the file."""
    path = tmp_path / "j.jsonl"
    code = (
        "import sys, pathlib\n"
        "from pytest_flperf.results.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "n = 0\n"
        "while True:\n"
        "    journal.append({'n': n, 'pad': 'x' * 1000})\n"
        "    sys.stdout.write(f'{n}\\n'); sys.stdout.flush()\n"
        "    n += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(200)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().splitlines()]
    reader = JournalReader(path)
    found = [record["n"] for record in reader]
    assert found[: len(said)] == said
    assert reader.bad_lines <= 1
