"""A store that somebody or something has damaged: exit 4 and one line in each command, never a traceback."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import zlib
from array import array
from pathlib import Path
from typing import Any

import pytest
from history_doubles import ABOUT, run

from pytest_flperf import cli
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store

RUN = run(0).id
COMMANDS = [
    ["history"],
    ["history", "--json"],
    ["history", "--scenario=case-0", "--metric=ttft_ms.p50", "--plot"],
    ["history", "--scenario=case-0", "--metric=tps_total", "--json"],
    ["trend"],
    ["trend", "--baseline=release", "-o", "trend.svg"],
    ["show", RUN],
    ["show", "latest"],
    ["show", "release"],
    ["report", RUN, "-o", "out.html"],
    ["export", RUN],
    ["export", "2026", "--format=csv"],
    ["compare", RUN, "latest"],
    ["compare", "release", "latest"],
    ["compare", "last", "latest"],
    ["compare", "branch:main", "latest"],
    ["baseline", "list"],
    ["baseline", "set", "new", RUN],
    ["baseline", "remove", "nosuch"],
    ["budgets", "suggest", RUN],
    ["prune", "--keep=1"],
]
SCHEMAS = {
    "flperf_runs": ("id", "started_at", "finished_at", "status", "suites", "cases", "fingerprint", "git_branch"),
    "flperf_baselines": ("name", "run_id", "set_at"),
    "flperf_documents": ("encoding", "digest", "content"),
    "flperf_values": ("name", "content"),
    "flperf_cases": ("nodeid", "host", "error_rate", "conditions"),
    "flperf_metrics": ("name", "p50"),
}
CELLS = [(table, column) for table, columns in SCHEMAS.items() for column in columns]
NASTY = [b"\xff\x00", "x", -1e300, '{"a":', "[" * 5_000]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs, one of which has a name."""
    path = tmp_path_factory.mktemp("whole") / "history.db"
    with Store(StorePlace("sqlite", str(path), path)) as store:
        for number in range(2):
            kept = run(number)
            store.add(kept, ABOUT, {(case.nodeid, case.host): {"ttft_ms": (1.0, 2.0)} for case in kept.cases})
        store.set_baseline("release", RUN)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    return path


@pytest.fixture
def damaged(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where commands look for one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    path = tmp_path / "reports" / "history.db"
    shutil.copy(whole, path)
    return path


def status(command: list[str]) -> Any:
    """The exit status of a command."""
    try:
        return cli.main(command)
    except SystemExit as ended:
        return ended.code


def change(path: Path, statement: str, *values: Any) -> None:
    """Change the first row, or whatever else."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_store_that_is_none(damaged: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Text, a table that is gone, tables of a newer version, a folder: exit 4, and the store is named."""
    content = damaged.read_bytes()
    for spoil in (
        lambda: damaged.write_text("no database " * 500),
        lambda: (damaged.write_bytes(content), change(damaged, f"DROP TABLE {_needed(command)}")),
        lambda: (damaged.write_bytes(content), change(damaged, "INSERT INTO flperf_schema VALUES (99, 'x')")),
        lambda: (damaged.unlink(), damaged.mkdir()),
    ):
        spoil()
        assert status(command) == 4
        assert "history.db" in capsys.readouterr().err
        for beside in damaged.parent.glob("history.db-*"):
            beside.unlink()


def _needed(command: list[str]) -> str:
    return "flperf_baselines" if command[0] == "baseline" else "flperf_runs"


@pytest.mark.parametrize("half", [2, 3, 5])
def test_half_a_store(damaged: Path, half: int) -> None:
    """What is there is read, or exit 4."""
    content = damaged.read_bytes()
    for command in COMMANDS:
        damaged.write_bytes(content[: len(content) * (half - 1) // half])
        assert status(command) in (0, 4)


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_a_damaged_cell(whole: Path, damaged: Path, table: str, column: str) -> None:
    """Whatever stands in a column, a command works or exits with 4."""
    start = CELLS.index((table, column))
    for number, value in enumerate(NASTY):
        shutil.copy(whole, damaged)
        change(damaged, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = 1", value)  # noqa: S608
        for command in (COMMANDS[(start + number) % len(COMMANDS)], COMMANDS[(2 * start + number + 7) % len(COMMANDS)]):
            assert status(command) in (0, 4), (value, command)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zlib.compress(array("f", [1.0, float("nan")]).tobytes()), "its values are damaged: value 1 is nan, expected"),
        (zlib.compress(array("f", [float("inf")]).tobytes()), "value 0 is inf"),
        (zlib.compress(array("f", [-5.0]).tobytes()), "value 0 is -5"),
        (zlib.compress(b"abc"), "its values are damaged"),
        ("text", " are damaged: "),
    ],
)
def test_damaged_values(damaged: Path, content: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Values of single requests that no run can have: refused by what compares them."""
    change(damaged, "UPDATE flperf_values SET content = ?", content)
    assert status(["compare", RUN, "latest"]) == 4
    assert said in capsys.readouterr().err
    assert status(["show", RUN]) == 0


def test_a_document_that_was_edited(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a checksum to go with it: the value is refused with its place; storing the run again mends it."""
    document = run(0).to_dict()
    document["cases"][1]["requests"]["ok"] = -3
    text = json.dumps(document).encode()
    digest = hashlib.sha256(text).hexdigest()
    edit = "UPDATE flperf_documents SET encoding = 'json', content = ?, digest = ? WHERE run_key = 1"
    change(damaged, edit, text, digest)
    for command in (["show", RUN], ["compare", RUN, "latest"], ["export", RUN], ["budgets", "suggest", RUN]):
        assert status(command) == 4
        assert "cases[1].requests.ok: found -3, expected a whole number 0 or more" in capsys.readouterr().err
    Path("whole.json").write_text(json.dumps(run(0).to_dict()), encoding="utf-8")
    assert status(["import", "whole.json"]) == 0
    assert status(["show", RUN]) == 0


def test_a_damaged_document_is_replaced(damaged: Path) -> None:
    """The same run, stored again, takes the place of a copy that can't be read."""
    change(damaged, "UPDATE flperf_documents SET content = x'00' WHERE run_key = 1")
    assert status(["show", RUN]) == 4
    Path("whole.json").write_text(json.dumps(run(0).to_dict()), encoding="utf-8")
    assert status(["import", "whole.json"]) == 0
    assert status(["show", RUN]) == 0


def test_a_path_needs_no_store(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A results file is read whatever the store is like."""
    damaged.write_text("no database " * 500)
    Path("whole.json").write_text(json.dumps(run(0).to_dict()), encoding="utf-8")
    for command in (["show", "./whole.json"], ["export", "whole.json"], ["budgets", "suggest", "./whole.json"]):
        assert status(command) == 0, capsys.readouterr().err
