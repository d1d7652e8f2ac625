"""Files of SQLite that can't be used: one error in words for each."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from history_doubles import run

from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store, StoreError

STORE = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from history_doubles import run
from pytest_flperf.history.place import store_place
from pytest_flperf.history.store import Store, StoreError
import sqlalchemy
sqlalchemy.create_engine("sqlite://").connect().close()  # imports all, before files can't be read
exec(sys.argv[3])
try:
    with Store(store_place(sys.argv[2], Path())) as store:
        print([each.id for each in store.runs()])
        store.add(run(5))
except StoreError as error:
    print(error)
"""


def stored_apart(path: Path, before: str) -> list[str]:
    """What a process that stores a run prints, after it did ``before``."""
    command = [sys.executable, "-c", STORE, str(Path(__file__).parent), str(path), before]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def filled(place: StorePlace) -> Path:
    """A store with a run in it."""
    with Store(place) as store:
        store.add(run())
    assert place.path is not None
    return place.path


def test_not_a_database(sqlite: StorePlace) -> None:
    """What is no SQLite file stays as it is."""
    path = filled(sqlite)
    path.write_text("no database at all, and long enough to be looked at " * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="it is not a SQLite file, or is damaged; move it away"):
        Store(sqlite)
    assert path.read_bytes() == before


def test_damaged(sqlite: StorePlace) -> None:
    """Pages that hold something else."""
    path = filled(sqlite)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=": it is damaged; move it away"), Store(sqlite) as store:
        store.add(run(1))


def test_emptied(sqlite: StorePlace) -> None:
    """A file of no bytes is a new store."""
    path = filled(sqlite)
    path.write_bytes(b"")
    with Store(sqlite) as store:
        assert store.runs() == []


def test_of_a_newer_version(sqlite: StorePlace) -> None:
    """What a newer flperf wrote is not touched."""
    path = filled(sqlite)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO flperf_schema VALUES (99, 'later')")
    connection.close()
    with pytest.raises(
        StoreError, match=r"has tables of version 99, but this flperf only knows \d+: .*update pytest-flperf"
    ):
        Store(sqlite)


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    """A file where the store's folder should be."""
    (tmp_path / "reports").write_text("")
    path = tmp_path / "reports" / "history.db"
    words = "|".join(re.escape(os.strerror(number)) for number in (errno.EEXIST, errno.ENOTDIR))
    with pytest.raises(StoreError, match=rf"history\.db: ({words})"):
        Store(StorePlace("sqlite", str(path), path))


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_read_only() -> None:
    """Who may not write reads, and is told that nothing can be stored."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others, as whom root tries it
        folder = Path(name)
        path = filled(StorePlace("sqlite", name, folder / "history.db"))
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            listed, told = stored_apart(path, "os.getuid() == 0 and os.setuid(65534)")
        finally:
            folder.chmod(0o755)
    assert listed == str([run().id])
    assert told.endswith(": it or its folder is not writable")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk(sqlite: StorePlace) -> None:
    """Nothing more fits: said so, and what was there is there."""
    path = filled(sqlite)
    listed, told = stored_apart(path, "resource.setrlimit(resource.RLIMIT_FSIZE, (49152, 49152))")
    assert listed == str([run().id])
    assert re.fullmatch(rf"{re.escape(str(path))}: .*\bdisk\b.* full.*", told)
    with Store(sqlite) as store:
        assert [each.id for each in store.runs()] == [run().id]
