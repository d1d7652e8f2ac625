"""What ``--flperf-store`` may be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_flperf.history.place import PlaceError, store_place


@pytest.mark.parametrize("text", ["a/b.db", "sqlite:///a/b.db", " a/b.db "])
def test_file(text: str, tmp_path: Path) -> None:
    """A file is relative to the folder in which pytest was called."""
    place = store_place(text, tmp_path)
    assert place is not None
    assert (place.kind, place.path) == ("sqlite", tmp_path / "a" / "b.db")


def test_absolute_file(tmp_path: Path) -> None:
    """Three slashes and an absolute path."""
    place = store_place(f"sqlite:///{tmp_path / 'x.db'}", Path("elsewhere"))
    assert place is not None
    assert place.path == tmp_path / "x.db"


@pytest.mark.parametrize("text", ["none", "NONE", " none "])
def test_none(text: str) -> None:
    """Nowhere."""
    assert store_place(text, Path()) is None


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_postgresql(scheme: str) -> None:
    """Any of its names means psycopg; user and password are in nothing that is shown."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    place = store_place(f"{scheme}://me:pass%2Fword@db.example:5433/flperf?sslmode=require", Path())
    assert place is not None
    assert place.url == "postgresql+psycopg://me:pass%2Fword@db.example:5433/flperf?sslmode=require"
    assert place.shown == "postgresql+psycopg://***@db.example:5433/flperf"
    assert place.password == "pass/word"
    assert "pass" not in repr(place)
    assert place.masked("no pass/word for postgresql://me:pass%2Fword@db") == "no *** for postgresql://***@db"


def test_password_among_the_options() -> None:
    """Of a URL that names a socket."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    place = store_place("postgresql://me@/db?host=/tmp/sock&password=hunter2", Path())
    assert place is not None
    assert place.password == "hunter2"
    assert place.shown == "postgresql+psycopg://***@/tmp/sock/db"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mysql://me:hunter2@host/db", "found 'mysql://…', expected a file, sqlite:///FILE, postgresql"),
        ("sqlite://", "expected sqlite:///FILE"),
        ("sqlite:///", "expected sqlite:///FILE"),
        ("sqlite:///x.db?mode=ro", "expected sqlite:///FILE"),
        ("postgresql://me:hunter2@host", "with the name of a database"),
        ("postgresql://me:hunter2@host:0/db", "with the name of a database"),
        ("postgresql://me:hunter2@host:port/db", "can't be read.*as %XX"),
        ("postgresql://me:hunter2[@host/db", "can't be read.*as %XX"),
        ("a\0b", "expected a file"),
        (".", "which is a folder; expected a file, such as ./history.db"),
    ],
)
def test_refused(text: str, said: str, tmp_path: Path) -> None:
    """What was found and expected, without a password."""
    with pytest.raises(PlaceError, match=said) as told:
        store_place(text, tmp_path)
    assert "hunter2" not in str(told.value)


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to install it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PlaceError, match=r"psycopg can't be imported: pip install 'pytest-flperf\[postgres\]'"):
        store_place("postgresql://host/db", Path())
