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
    import fcntl
    import pty
    import struct
    import termios


@pytest.fixture
def slow() -> Iterator[str]:
    """A server whose answers take their time."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=150, itl_ms=1, tokens=3))) as server:
        yield server.base_url


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
@pytest.mark.parametrize(("columns", "more"), [(80, ()), (100, ("-v",)), (140, ("-s",))])
def test_on_a_terminal(tiny: Tiny, slow: str, columns: int, more: tuple[str, ...]) -> None:
    """The case's number, its requests, its speed and the time left, in one line; all of it is gone at the end."""
    tiny.suite({"name": "one", "iterations": 6}, {"name": "two", "iterations": 50}, {"name": "three", "iterations": 1})
    text, status = _on_a_terminal(tiny, columns, slow, *more)
    assert status == 0, text
    named = "" if "-v" in more else "one[reference] "
    assert f" 1/3 {named}" in text
    assert " 2/3 " in text
    assert "/50" in text
    assert " s left" in text
    assert re.search(r", TTFT 1[5-9]\d ms", text)
    assert re.search(r", [\d.]+ tok/s", text)
    lines = _screen(text)
    assert not [line for line in lines if re.search(r"\d (s|min) left|\d+/\d+ requests|getting ready", line)]
    assert max(len(line) for line in lines if line.startswith("tiny.json")) <= columns, "cells written, blanks too"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_before_the_first_request(tiny: Tiny) -> None:
    """The stage is there at once, its seconds go on while a server is waited for, and it warms up."""
    tiny.suite({"name": "one", "iterations": 1, "warmup": 2})
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=1_600, itl_ms=1, tokens=2))) as server:
        text, status = _on_a_terminal(tiny, 140, server.base_url)
    assert status == 0, text
    assert " 1/1 waiting for the first token of reference (1 s)" in text
    assert " 1/1 one[reference] warming up 1/2" in text
    assert not [line for line in _screen(text) if "waiting" in line or "warming" in line]


def _on_a_terminal(tiny: Tiny, columns: int, url: str, *more: str) -> tuple[str, int]:
    """Everything that is written to a terminal that wide, and the exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    options = ("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference", *more)
    plain = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tiny.folder, env={**plain, "NO_COLOR": "1"},
    ) as running:  # fmt: skip
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
    os.close(ours)
    return said.decode(errors="replace"), running.returncode


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _screen(text: str) -> list[str]:
    """What stands on the terminal at the end: backspaces move the cursor, and text is written over."""
    lines = []
    for line in _plain(text).split("\n"):
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
