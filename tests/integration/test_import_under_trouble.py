"""Runs that are imported while their store is cut off, held, closed to us, or not there at all."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf import cli
from pytest_flperf.history.place import StorePlace, store_place
from pytest_flperf.history.store import Store
from pytest_flperf.results.records import CaseResult, Requests, Run

COUNT = 12


def a_run(number: int) -> Run:
    """A small run."""
    case = CaseResult(f"s::one-{number}[m]", "s", "one", "m", outcome="passed", message="", requests=Requests(1, 1))
    at = f"2026-11-01T00:{number:02d}"
    run_id = f"20261101T00{number:02d}00Z-s-{number:04x}"
    return Run(run_id, f"{at}:00.000+00:00", f"{at}:09.000+00:00", "passed", ("s",), cases=(case,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of runs."""
    runs = tmp_path / "runs"
    for number in range(COUNT):
        run = a_run(number)
        (runs / run.id).mkdir(parents=True)
        (runs / run.id / "results.json").write_text(json.dumps(run.to_dict()), encoding="utf-8")
    return runs


@pytest.fixture
def postgres(empty_postgres: str) -> str:
    """An empty PostgreSQL that takes connections."""
    return empty_postgres


def cut(url: str) -> None:
    """End every connection of ours, as a server does that is restarted."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flperf'")


def before_run(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], None]) -> None:
    """Let something happen right before a run is stored."""
    added, add = [0], Store._add

    def adding(store: Store, *arguments: Any) -> Any:
        added[0] += 1
        if added[0] == number + 1:
            do()
        return add(store, *arguments)

    monkeypatch.setattr(Store, "_add", adding)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, list[str]]:
    """Exit status, output and errors of an import."""
    status = cli.main(["import", *arguments])
    out, err = capsys.readouterr()
    return status, out, err.splitlines()


def place_of(url: str) -> StorePlace:
    """A store's place."""
    place = store_place(url, Path())
    assert place is not None
    return place


def test_a_connection_that_is_cut(
    folder: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new one is made, and every run is stored, without a word of it."""
    before_run(monkeypatch, 5, lambda: cut(postgres))
    status, out, errors = said(capsys, str(folder), f"--store={postgres}")
    assert (status, errors) == (0, [])
    assert f": {COUNT} added, 0 replaced, 0 known before" in out
    with Store(place_of(postgres)) as store:
        assert len(store.runs()) == COUNT


def test_a_server_that_stays_away(
    folder: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is stored and what isn't; running it again stores the rest."""
    import psycopg

    def allow(right: str) -> None:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE writer {right}")

    def leave() -> None:
        allow("NOLOGIN")
        cut(postgres)

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE ROLE writer SUPERUSER")
    allow("LOGIN")
    url = re.sub("//[^@]*@", "//writer@", postgres)
    before_run(monkeypatch, 5, leave)
    status, out, (waiting, line) = said(capsys, str(folder), f"--store={url}")
    monkeypatch.undo()
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "waiting for " in waiting
    assert line.endswith(f"; stopped: {COUNT - 5} runs are left, 5 runs of this import are stored")
    assert ": 5 added, 0 replaced, 0 known before" in out
    allow("LOGIN")
    status, out, errors = said(capsys, str(folder), f"--store={url}")
    assert (status, errors) == (0, [])
    assert f": {COUNT - 5} added, 0 replaced, 5 known before" in out


def test_a_role_that_may_not_write(folder: Path, postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, whatever the number of runs."""
    import psycopg

    with Store(place_of(postgres)):
        pass
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'x'")
        connection.execute("GRANT USAGE ON SCHEMA public TO reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    url = postgres + ("&" if "?" in postgres else "?") + "options=-crole%3Dreader"
    status, out, (line,) = said(capsys, str(folder), f"--store={url}")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "its role lacks the privilege" in line
    assert line.endswith(f"; stopped: {COUNT} runs are left, 0 runs of this import are stored")
    assert ": 0 added" in out


def test_a_store_that_is_held(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One wait, which is told, and one line; nothing is tried for each run again."""
    path = tmp_path / "held.db"
    with Store(place_of(str(path))):
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        status, out, (waiting, line) = said(capsys, str(folder), f"--store={path}")
    finally:
        holder.close()
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"waiting for {path}: another process may be using it" in waiting
    assert "another process has been writing to it for too long" in line
    assert line.endswith(f"; stopped: {COUNT} runs are left, 0 runs of this import are stored")
    assert ": 0 added" in out
    status, out, errors = said(capsys, str(folder), f"--store={path}")
    assert (status, errors) == (0, [])


def test_a_store_that_is_held_for_a_moment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is waited for, and all runs are stored."""
    import threading

    path = tmp_path / "held.db"
    with Store(place_of(str(path))):
        pass
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    released = threading.Timer(0.5, holder.close)

    def hold() -> None:
        holder.execute("BEGIN IMMEDIATE")
        released.start()

    before_run(monkeypatch, 3, hold)
    status, out, _ = said(capsys, str(folder), f"--store={path}")
    released.join()
    assert status == 0
    assert f": {COUNT} added" in out


@pytest.mark.parametrize("words", [("nosuch.json",), ("nosuch",), ("bad.json",), ("empty",), ("taken/results.json",)])
def test_a_refused_import_makes_no_store(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a file nor a folder for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    nameless = replace(a_run(1), id="latest")
    (tmp_path / "taken" / "results.json").write_text(json.dumps(nameless.to_dict()), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    for store in ((), ("--store=elsewhere/new.db",)):
        status, out, (line,) = said(capsys, *words, *store)
        assert status == pytest.ExitCode.USAGE_ERROR
        assert "import: error: " in line
        assert ": 0 added" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_other_runs_are_stored(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with one run says nothing of the store: the others follow."""
    bad = folder / a_run(3).id / "results.json"
    bad.write_text("{", encoding="utf-8")
    status, out, (line,) = said(capsys, str(folder), f"--store={tmp_path / 'new.db'}")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert str(bad) in line
    assert f": {COUNT - 1} added" in out
