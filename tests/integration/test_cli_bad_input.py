"""Commands on runs with names and files that can't be: exit 4 and one message, never a traceback."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf import cli
from pytest_flperf.history import store

assert store  # here once: pytester forgets modules that a run in this process imported

NAMES = [
    "",
    " ",
    "2026x",
    "x" * 5_000,
    "a\0b",
    "\x1b[31m",
    "last",
    "branch:main",
    "..",
    "/",
    "~nobody/x",
    "nosuch.json",
    "\udc80",
]
NASTY = [None, True, "x", -5, 10**300, float("nan"), [], {}, {"a": 1}, "", 0, 1e14, -0.5, "\x1b[31m", "\ud800"]


def status(*command: str) -> Any:
    """The exit status of a command."""
    try:
        return cli.main(command)
    except SystemExit as ended:
        return ended.code


@pytest.fixture
def done(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Done:
    """A run in the current folder, and its results in ``good.json``."""
    found = tiny.measure()
    monkeypatch.chdir(tiny.folder)
    Path("good.json").write_text(json.dumps(found.results), encoding="utf-8")
    capsys.readouterr()
    return found


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    "command", [["show"], ["report"], ["export"], ["budgets", "suggest"], ["baseline", "set", "r"]]
)
def test_names_of_no_run(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command refuses each in one printable line."""
    for name in NAMES:
        assert status(*command, name) == pytest.ExitCode.USAGE_ERROR, name
        assert capsys.readouterr().err.splitlines()[-1].isprintable()


@pytest.mark.usefixtures("done")
def test_names_for_import_and_compare(capsys: pytest.CaptureFixture[str]) -> None:
    """Likewise; ``last`` is a run for ``compare`` alone."""
    for name in NAMES:
        if name != "..":  # a folder of runs
            assert status("import", name, "--store=new.db") == pytest.ExitCode.USAGE_ERROR, name
            assert status("merge", name) == pytest.ExitCode.USAGE_ERROR, name
        assert status("compare", name, "good.json") == pytest.ExitCode.USAGE_ERROR, name
        assert "Traceback" not in capsys.readouterr().err


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, (*path, key))


def test_files_changed_anywhere(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """A value somewhere made another: every command refuses the file, or every command can work with it.

    Two runs without a case that can be compared are refused as well, whatever else can be done with the file.
    """
    source = random.Random(14)
    places = [path for path in _places(done.results) if path]
    commands: list[Callable[[], Any]] = [
        lambda: status("show", "bad.json", "-vv"),
        lambda: status("report", "bad.json", "-o", "out.html"),
        lambda: status("report", "bad.json", "good.json", "-o", "out.html"),
        lambda: status("report", "bad.json", "-o", "out.csv"),
        lambda: status("export", "bad.json", "-o", "out.json"),
    ]
    comparing: list[Callable[[], Any]] = [
        lambda: status("compare", "bad.json", "good.json"),
        lambda: status("compare", "good.json", "bad.json", "-v"),
    ]
    refused = 0
    for path in source.sample(places, 60):
        document = copy.deepcopy(done.results)
        found: Any = document
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = source.choice(NASTY)
        Path("bad.json").write_text(json.dumps(document), encoding="utf-8")
        results = {command() for command in commands}
        said = capsys.readouterr().err
        assert results in ({0}, {4}), (path, found[path[-1]], said)
        refused += results == {4}
        assert "bad.json" in said or results == {0}
        for compare in comparing:
            ended, said = compare(), capsys.readouterr().err
            assert {ended} == results or (ended == 4 and "nothing was compared" in said), (path, said)
    assert refused > 20


@pytest.mark.usefixtures("done")
def test_an_id_that_cannot_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose run is called like something else is not stored."""
    document = json.loads(Path("good.json").read_text(encoding="utf-8"))
    for name in ("", "latest", "last", "branch:main", "a/b", "x.json", "a\nb", " x"):
        document["run"]["id"] = name
        Path("bad.json").write_text(json.dumps(document), encoding="utf-8")
        assert status("import", "bad.json", "--store=new.db") == pytest.ExitCode.USAGE_ERROR
        assert "which could not be looked up again" in capsys.readouterr().err


def test_what_was_taken_is_said(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """Id and place on standard error, where standard output is for programs."""
    run_id = done.report.name
    for command in (["show", "--json"], ["export", "latest"], ["report", "latest"], ["budgets", "suggest"]):
        assert status(*command) in (0, 1)
        assert f"taken: run {run_id} in " in capsys.readouterr().err
    assert status("export", "latest") == 0
    assert json.loads(capsys.readouterr().out)["run"]["id"] == run_id


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", [["show", "./good.json", "-vv"], ["export", "./good.json"], ["--help"]])
def test_nobody_reads_on(done: Done, arguments: list[str]) -> None:
    """A reader that ends early (head) leaves no traceback."""
    del done
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pytest_flperf.cli", *arguments]
    try:
        ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(write)
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_without_standard_output(done: Done) -> None:
    """What a shell has closed can't be printed to, and that is said."""
    del done
    command = f"'{sys.executable}' -m pytest_flperf.cli show ./good.json >&-"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    said = "flperf: error: standard output can't be written: it is closed\n"
    assert (ended.returncode, ended.stderr) == (pytest.ExitCode.USAGE_ERROR, said)


@pytest.mark.skipif(sys.platform == "win32", reason="names of POSIX")
def test_hostile_names_of_folders(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """What others called their runs is shown escaped."""
    done.report.with_name("2026\x1b[31m\u202ered").mkdir()
    (done.report.with_name("2026\x1b[31m\u202ered") / "results.json").write_text("{}", encoding="utf-8")
    for command in (
        ["show", "2026"],
        ["show", "2025"],
        ["compare", "2026", "latest"],
        ["baseline", "set", "a", "2026"],
    ):
        status(*command)
        assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())
