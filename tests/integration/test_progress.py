"""What a person sees while a run measures: which case, how far, how long still; on a terminal and in a log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tiny_runs import Tiny

from pytest_flperf.integration import progress
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

if sys.platform != "win32":
    import pty


@pytest.fixture
def slow() -> Iterator[str]:
    """A server whose answers take their time."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=150, itl_ms=1, tokens=3))) as server:
        yield server.base_url


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_on_a_terminal(tiny: Tiny, slow: str) -> None:
    """The case's number, its requests and the time left; all of it is gone at the end."""
    tiny.suite({"name": "one", "iterations": 6}, {"name": "two", "iterations": 50}, {"name": "three", "iterations": 1})
    ours, theirs = pty.openpty()
    options = ("--flperf-suite=tiny.json", f"--flperf-base-url={slow}", "--flperf-model=reference")
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tiny.folder
    ) as running:
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
    os.close(ours)
    text = said.decode(errors="replace")
    assert running.returncode == 0, text
    assert "1/3 one[reference] " in text
    assert "2/3 two[reference] " in text
    assert "/50 requests, " in text
    assert " s left" in text
    assert not [line for line in _screen(text) if re.search(r"\d (s|min) left|\d+/\d+ requests", line)]


def _screen(text: str) -> list[str]:
    """What stands on the terminal at the end: backspaces move the cursor, and text is written over."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).split("\n"):
        cells: list[str] = []
        at = 0
        for char in line:
            if char in "\b\r":
                at = max(at - 1, 0) if char == "\b" else 0
                continue
            cells[at : at + 1] = [char]
            at += 1
        lines.append("".join(cells))
    return lines


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux: the other end is closed
        return b""


def test_in_a_log(tiny: Tiny, slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a line now and then says the same."""
    monkeypatch.setattr(progress, "_HEARTBEAT_S", 0.1)
    tiny.suite({"name": "one", "iterations": 3}, {"name": "two", "iterations": 3})
    done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={slow}", "--flperf-model=reference")
    assert "flperf: 1/2 one[reference] " in done.text
    assert "flperf: 2/2 two[reference] " in done.text
    quiet = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={slow}", "--flperf-model=reference", "-q")
    assert "1/2" not in quiet.text
