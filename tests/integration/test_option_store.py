"""``--flperf-store`` and the store in the folder of the runs."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Tiny

from pytest_flperf.cli import main
from pytest_flperf.history import store
from pytest_flperf.history.place import StorePlace

assert store  # here once: pytester forgets modules that a run in this process imported

pytestmark = pytest.mark.usefixtures("stored", "no_ci")


def stored(path: Path) -> list[dict[str, Any]]:
    """The runs in a SQLite store, oldest first."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute("SELECT * FROM flperf_runs ORDER BY run_key")]
    finally:
        connection.close()


def test_every_run_is_stored(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """In history.db beside the runs' folders, with commit and job; nothing else is left there."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "init", "-q", "-b", "topic", str(tiny.folder)], check=True, env=environment)
    monkeypatch.setenv("CI_JOB_ID", "77")
    tiny.suite({}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    done = tiny.measure()
    assert "in the store" not in done.text
    first = done.report
    second = tiny.measure().report
    runs = stored(tiny.folder / "reports" / "history.db")
    assert [run["id"] for run in runs] == [first.name, second.name]
    run = runs[0]
    assert (run["status"], run["cases"], run["cases_passed"]) == ("failed", 2, 1)
    assert (run["git_branch"], run["ci_system"], run["ci_job"]) == ("topic", "gitlab", "77")
    assert run["folder"] == str(first)
    assert json.loads(run["suites"]) == ["tiny.json"]
    names = {path.name for path in (tiny.folder / "reports").iterdir()}
    assert names == {first.name, second.name, "latest", "history.db"}


@pytest.mark.parametrize("option", ["other/runs.db", "sqlite:///other/runs.db"])
def test_elsewhere(tiny: Tiny, option: str) -> None:
    """A file of the user's choice, relative to the current folder."""
    done = tiny.measure(f"--flperf-store={option}")
    assert [run["id"] for run in stored(tiny.folder / "other" / "runs.db")] == [done.report.name]
    assert not (tiny.folder / "reports" / "history.db").exists()


def test_ini_twin(tiny: Tiny) -> None:
    """The ini file may say where."""
    (tiny.folder / "pytest.ini").write_text("[pytest]\nflperf_store = mine.db\n", encoding="utf-8")
    tiny.measure()
    assert len(stored(tiny.folder / "mine.db")) == 1


def test_none(tiny: Tiny) -> None:
    """Nothing is stored, and nothing of a database is imported."""
    tiny.pytester.makeconftest(
        """
        import sys
        def pytest_unconfigure():
            print("imported:", "sqlalchemy" in sys.modules)
        """
    )
    tiny.suite()
    done = tiny.run_apart("--flperf-suite=tiny.json", *tiny.at, "--flperf-store=none")
    assert "imported: False" in done.text
    assert not (tiny.folder / "reports" / "history.db").exists()
    assert "imported: True" in tiny.run_apart("--flperf-suite=tiny.json", *tiny.at).text


WATCH = """
import sys
STATE = {"stage": "start", "imported": None}

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy" and STATE["imported"] is None:
            STATE["imported"] = STATE["stage"]
        return None

sys.meta_path.insert(0, Watch())

import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    STATE["stage"] = "measuring"
    try:
        return (yield)
    finally:
        STATE["stage"] = "measured"

def pytest_unconfigure():
    print("imported:", STATE["imported"])
"""


@pytest.mark.parametrize(("what", "when"), [("suite", "start"), ("fixture", "measured")])
def test_nothing_is_imported_while_a_case_is_measured(tiny: Tiny, what: str, when: str) -> None:
    """What stores is imported beside the start of the runtime, where a suite runs, else after the measuring."""
    tiny.pytester.makeconftest(WATCH)
    tiny.suite()
    tiny.pytester.makepyfile(
        test_mine="def test_me(flperf): flperf.run(prompt='Hi', iterations=2, warmup=0, max_tokens=2)"
    )
    asked = "--flperf-suite=tiny.json" if what == "suite" else "test_mine.py"
    done = tiny.run_apart(asked, *tiny.at)
    assert done.ret == 0, done.text
    assert f"imported: {when}" in done.text
    assert len(stored(tiny.folder / "reports" / "history.db")) == 1


def test_values_of_single_requests(tiny: Tiny) -> None:
    """As they stand in samples.jsonl, in the order in which the requests were sent."""
    tiny.suite({"iterations": 12, "concurrency": 3, "max_tokens": 4})
    done = tiny.measure()
    path = tiny.folder / "reports" / "history.db"
    with store.Store(StorePlace("sqlite", str(path), path)) as opened:
        case = done.case
        values = opened.values(done.report.name, case["nodeid"], case["host"])
    samples = [each for each in done.journal("samples.jsonl") if each["phase"] == "measured"]
    samples.sort(key=lambda each: each["sent_ns"])
    ttft = [(each["first_token_ns"] - each["sent_ns"]) / 1e6 for each in samples]
    assert set(values) == {"ttft_ms", "tpot_ms", "e2e_ms"}
    assert len(values["e2e_ms"]) == 12
    assert len(values["ttft_ms"]) == 12 - case["requests"]["late_reads"]
    left = iter(ttft)  # of a late read there is none
    assert all(any(value == pytest.approx(each, rel=1e-5) for each in left) for value in values["ttft_ms"])


def test_interrupted(tiny: Tiny) -> None:
    """An interrupted run is stored as that."""
    tiny.pytester.makepyfile(
        test_mine="""
        def test_me(flperf):
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
            raise KeyboardInterrupt
        """
    )
    done = tiny.run_apart(*tiny.at)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    (run,) = stored(tiny.folder / "reports" / "history.db")
    assert (run["status"], run["partial"]) == ("interrupted", 1)


def test_partial(tiny: Tiny) -> None:
    """A run that its time cut short is stored as partial."""
    tiny.suite({"iterations": 100_000})
    tiny.measure("--flperf-max-time=1s")
    (run,) = stored(tiny.folder / "reports" / "history.db")
    assert (run["partial"], run["cases"]) == (1, 1)


def test_workers_of_xdist(tiny: Tiny) -> None:
    """The run is stored once, by the controller."""
    tiny.suite()
    done = tiny.run_apart("--flperf-suite=tiny.json", *tiny.at, "-n1")
    assert done.ret == 0, done.text
    assert len(stored(tiny.folder / "reports" / "history.db")) == 1


def test_not_stored(tiny: Tiny) -> None:
    """A store that can't be used: the run's files and verdict as ever, one line, and the way to store it later."""
    (tiny.folder / "broken.db").write_text("no database at all " * 100, encoding="utf-8")
    done = tiny.measure("--flperf-store=broken.db")
    assert done.ret == 0
    assert done.case["outcome"] == "passed"
    assert (done.report / "report.html").is_file()
    (line,) = [line for line in done.lines if "not in the store" in line]
    assert line.startswith("flperf: the run is not in the store: ")
    assert "it is not a SQLite file, or is damaged" in line
    assert f"'flperf import {done.report} --store={tiny.folder / 'broken.db'}' stores it later" in done.text


def test_a_fault_of_ours(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does a fault in our own code cost the run anything."""
    from pytest_flperf.history.store import Store

    monkeypatch.setattr(Store, "add", lambda *_: 1 / 0)
    done = tiny.measure()
    assert done.ret == 0
    assert "the run is not in the store: a fault of flperf, please report it: ZeroDivisionError" in done.text


def test_without_sqlalchemy(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that lacks what stores: a line that says what to install."""
    for name in [each for each in sys.modules if each.startswith("pytest_flperf.history.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    done = tiny.measure()
    assert done.ret == 0
    assert "the run is not in the store: " in done.text
    assert "pip install 'SQLAlchemy>=2.0'" in done.text


def test_no_folder_for_the_run(tiny: Tiny) -> None:
    """Where the runs' folder can't be made, a store elsewhere has the run all the same."""
    (tiny.folder / "reports").write_text("in the way", encoding="utf-8")
    tiny.measure("--flperf-store=other.db")
    (run,) = stored(tiny.folder / "other.db")
    assert run["id"].endswith(tuple("0123456789abcdef"))
    assert (run["folder"], run["cases"]) == (None, 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("mysql://host/db", "--flperf-store: found 'mysql://…', expected a file, sqlite:///FILE"),
        ("postgresql://me:hunter2@host/", "with the name of a database"),
        ("sqlite://", "expected sqlite:///FILE"),
    ],
)
def test_refused(tiny: Tiny, value: str, said: str) -> None:
    """What is no store ends the run before it begins, with one message."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-store={value}")
    assert said in message
    assert "hunter2" not in message


def test_without_the_driver(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without its driver: the message names what to install."""
    tiny.suite()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-store=postgresql://me:hunter2@host/db")
    assert "pip install 'pytest-flperf[postgres]'" in message
    assert "hunter2" not in message


def test_the_password_stays_here(tiny: Tiny) -> None:
    """A PostgreSQL that isn't there: one line, and the password is in nothing that is printed or written."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    done = tiny.measure("--flperf-store=postgresql://me:Hunter2%2Fwrench@127.0.0.1:1/db")
    assert done.ret == 0
    assert "the run is not in the store: postgresql+psycopg://***@127.0.0.1:1/db: " in done.text
    assert "Hunter2" not in done.text
    for path in (tiny.folder / "reports").rglob("*"):
        assert path.is_dir() or b"Hunter2" not in path.read_bytes()


def test_a_pull_request_is_no_run_of_the_branch_that_it_goes_to(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its fork's branch is called main: ``branch:main`` finds the runs of main alone, and the list says what it was."""
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/12/merge"}
    for name, value in {
        **variables,
        "GITHUB_HEAD_REF": "main",
        "GITHUB_BASE_REF": "main",
        "GITHUB_RUN_ID": "7",
    }.items():
        monkeypatch.setenv(name, value)
    tiny.measure()
    assert "no run of branch 'main'" in tiny.measure("--flperf-baseline=branch:main").text
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    monkeypatch.delenv("GITHUB_HEAD_REF")
    monkeypatch.delenv("GITHUB_BASE_REF")
    of_main = tiny.measure().report.name
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = tiny.measure("--flperf-baseline=branch:main")
    assert done.case["against"][0]["label"] == f"branch:main ({of_main})"
    branches = [(run["git_branch"], run["ci_job"]) for run in stored(tiny.folder / "reports" / "history.db")]
    request = (None, "7 (pull request 12)")
    assert branches == [request, request, ("main", "7"), request]
    capsys.readouterr()
    assert main(["history"]) == 0
    assert capsys.readouterr().out.count("pull request 12") == 3
