"""The process with limits: what ends it, what it says then, and that it goes on and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from processes import gone

from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess, NoResult

MODULE = "pytest_flperf.quality.worker"
LIMITS = Limits(time_s=0.3, memory_mb=256)
SLOW = NoResult("took longer than 0.3 s")
LARGE = NoResult("needed more than 256 MB")
JSON = json.dumps({"json": True})
UNIQUE = json.dumps({"json_schema": {"uniqueItems": True}})
BACKTRACKING = json.dumps({"regex": r"^(a|aa)+$"})
FOR_YEARS = "a" * 80 + "b"
OBJECTS = json.dumps([{"a": number} for number in range(8_000)])
PATIENCE_S = 120.0


def go_on() -> str:
    """Nothing stops it."""
    return ""


@pytest.fixture
def process() -> Iterator[BoundedProcess]:
    """One that scores answers."""
    with BoundedProcess(MODULE, LIMITS) as made:
        yield made


@pytest.mark.parametrize(
    ("task", "item", "ordinary", "result"),
    [
        (UNIQUE, OBJECTS, "[1]", SLOW),
        (BACKTRACKING, FOR_YEARS, "aaa", SLOW),
        (json.dumps({"json_schema": {"pattern": r"^(a|aa)+$"}}), json.dumps(FOR_YEARS), '"a"', SLOW),
        (json.dumps({"json_schema": {"patternProperties": {r"^(a|aa)+$": {}}}}), json.dumps({FOR_YEARS: 1}), "1", SLOW),
        (JSON, "1" * 3_000_000, "1", SLOW),
        (JSON, "[" + "[]," * 6_000_000 + "1]", "1", LARGE),
    ],
)
def test_an_item_beyond_a_limit(process: BoundedProcess, task: str, item: str, ordinary: str, result: NoResult) -> None:
    """Has a reason in place of a result; those before and after it have theirs."""
    if result is LARGE:
        with BoundedProcess(MODULE, Limits(time_s=30, memory_mb=256)) as slow_machine:
            assert slow_machine.run(task, [ordinary, item, ordinary], go_on) == [1, result, 1]
            return
    assert process.run(task, [ordinary, item, ordinary, ordinary], go_on) == [1, result, 1, 1]
    assert process.ended == 1


def test_preparing_costs_no_item_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports take longer than one item may on a slow machine, or with coverage measured."""
    burn = "import time\ndef prepare(task):\n    while time.process_time() < 1:\n        pass\n    return len\n"
    tmp_path.joinpath("slow_to_prepare.py").write_text(burn, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with BoundedProcess("slow_to_prepare", LIMITS) as slow:
        assert slow.run("", ["a", "bb"], go_on) == [1, 2]


def test_preparing_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is never ready gives no result."""
    tmp_path.joinpath("never_prepared.py").write_text("def prepare(task):\n    while True:\n        pass\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with BoundedProcess("never_prepared", LIMITS) as never:
        assert never.run("", ["a"], go_on) == [SLOW]


def test_the_one_to_blame_is_found(process: BoundedProcess) -> None:
    """Among many in one message, more than once."""
    items = ["aaa"] * 40
    items[7] = items[30] = FOR_YEARS
    found = process.run(BACKTRACKING, items, go_on)
    assert [number for number, each in enumerate(found) if each != 1] == [7, 30]
    assert found[7] == found[30] == SLOW


def test_it_is_stopped(process: BoundedProcess) -> None:
    """While an item is under way: that one and those after it say why, and the process has gone."""
    with BoundedProcess(MODULE, Limits(time_s=600, memory_mb=256)) as patient:
        begun = time.monotonic()
        asked: list[int | None] = []

        def stop() -> str:
            asked.append(patient.pid)
            return "enough" if time.monotonic() - begun > 0.5 else ""

        found = patient.run(BACKTRACKING, [FOR_YEARS, "a"], stop)
        assert found == [NoResult("enough"), NoResult("enough")]
        assert patient.ended == 0
        pid = next(each for each in reversed(asked) if each is not None)
        assert gone(pid)
    assert process.run(BACKTRACKING, ["a"], lambda: "before it") == [NoResult("before it")]
    assert process.pid is None


def test_it_is_stopped_between_results() -> None:
    """Of a message whose items all take their time, and give a result each."""
    with BoundedProcess(MODULE, Limits(time_s=60, memory_mb=256)) as process:
        begun = time.process_time()
        told = 0

        def stop() -> str:
            nonlocal told
            told += 1
            return "enough" if told > 20 else ""

        assert process.run(UNIQUE, ["[1]"], go_on) == [1]
        items = [json.dumps([{"a": number} for number in range(200)])] * 2_000
        found = process.run(UNIQUE, items, stop)
        assert 1 <= sum(each == 1 for each in found) < 2_000
        assert found[-1] == NoResult("enough")
        assert time.process_time() - begun < 30


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Limits(time_s=600, memory_mb=1), "needed more than 1 MB"),
        (Limits(time_s=0.2, memory_mb=256), "took longer than 0.2 s"),
    ],
)
def test_what_it_uses_is_looked_at(seen: Limits, reason: str) -> None:
    """Where the system has no limit for it."""
    with BoundedProcess(MODULE, Limits(time_s=600, memory_mb=256)) as process:
        assert process.run(BACKTRACKING, ["a"], go_on) == [1]
        child = process._child
        assert child is not None
        child._limits = seen
        assert child.exchange((BACKTRACKING, [FOR_YEARS]), 1, go_on) == ([], reason)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_it_is_killed(process: BoundedProcess, number: signal.Signals) -> None:
    """By the system, or by a fault in a library: the item has a reason, the next one a process."""
    with BoundedProcess(MODULE, Limits(time_s=600, memory_mb=256)) as patient:
        assert patient.run(BACKTRACKING, ["a"], go_on) == [1]
        pid = patient.pid
        assert pid is not None
        threading.Timer(0.3, os.kill, (pid, number)).start()
        found = patient.run(BACKTRACKING, [FOR_YEARS], go_on)
        assert found == [NoResult(f"ended its process by {number.name}")]
        assert patient.run(BACKTRACKING, ["a"], go_on) == [1]


def test_an_exception_ends_it() -> None:
    """Such as Ctrl-C's: nothing is left."""
    pids: list[int] = []
    process = BoundedProcess(MODULE, Limits(time_s=600, memory_mb=256))

    def stop() -> str:
        if process.pid is not None:
            pids.append(process.pid)
            raise KeyboardInterrupt
        return ""

    with pytest.raises(KeyboardInterrupt):
        process.run(BACKTRACKING, [FOR_YEARS], stop)
    assert process.pid is None
    assert gone(pids[0])


def test_one_that_can_not_start() -> None:
    """Its last words are the reason."""
    with BoundedProcess("pytest_flperf.nowhere", LIMITS) as process:
        (found,) = process.run("", ["a"], go_on)
    assert isinstance(found, NoResult)
    assert "exit code 1 (ModuleNotFoundError: No module named 'pytest_flperf.nowhere')" in found.reason


def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that is gone: no result, and no traceback."""
    monkeypatch.setattr(sys, "executable", "/no/python")
    with BoundedProcess(MODULE, LIMITS) as process:
        (found,) = process.run("", ["a"], go_on)
    assert found == NoResult("its process can't be started: No such file or directory")


@pytest.mark.parametrize("busy", [False, True])
def test_no_orphan(busy: bool) -> None:
    """It ends with a parent that is killed, idle or in the middle of an item."""
    code = f"""
import sys, threading, time
from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess
process = BoundedProcess({MODULE!r}, Limits(1.0, 256))
process.run({BACKTRACKING!r}, ["a"], lambda: "")
if {busy}:
    threading.Thread(target=process.run, args=({BACKTRACKING!r}, [{FOR_YEARS!r}], lambda: "")).start()
print(process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    assert gone(pid)


def test_it_imports_little() -> None:
    """Neither pytest nor what only measuring or comparing needs; a pattern needs no schema's library."""
    code = (
        "import sys; from pytest_flperf.quality.worker import prepare;"
        " prepare('{\"regex\": \"a\"}')('a');"
        " print([name for name in ('pytest', 'numpy', 'psutil', 'pydantic', 'jsonschema', 'asyncio')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_end(process: BoundedProcess) -> None:
    """None is left between two messages, so that a fork in a test is a fork of one thread."""
    process.run(JSON, ["1"], go_on)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(each.name == "flperf-bounded" for each in threading.enumerate()):
        with contextlib.suppress(InterruptedError):
            time.sleep(0.01)
    assert not [each for each in threading.enumerate() if each.name == "flperf-bounded"]


@pytest.mark.usefixtures("talkative_python")
def test_what_starts_python_may_print() -> None:
    """It comes before the first result."""
    with BoundedProcess(MODULE, LIMITS) as process:
        assert process.run(JSON, ["{}", "no"], go_on) == [1.0, 0.0]
