"""Servers that we start: readiness, deaths, logs, and an end that leaves nobody behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.server_process import ServerCommand, ServerProcess, find_command, free_port

SECRET = "planted-0123456789abcdef"
LISTENS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
HAS_CHILDREN = """
import subprocess, sys, time
for more in ({}, {"start_new_session": True}):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **more)
    print("child", child.pid, flush=True)
print("complete", flush=True)
time.sleep(600)
"""


def command(script: str, *arguments: str, **more: Any) -> ServerCommand:
    """A server made of a few lines of Python."""
    return ServerCommand("toy", (sys.executable, "-c", script, *arguments), **{"grace_s": 1.0, **more})


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition; what it returned."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not seen: {what}")


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == "zombie"
    except psutil.NoSuchProcess:
        return True


@contextlib.contextmanager
def started(wish: ServerCommand) -> Iterator[ServerProcess]:
    """A server that is ended after the test."""
    server = ServerProcess(wish)
    try:
        yield server
    finally:
        server.end()


def test_it_is_ready_when_it_answers() -> None:
    """``wait_ready`` returns when the port answers; the process id is the server's; the end frees the port."""
    port = free_port()

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with started(command(LISTENS, str(port))) as server:
        assert server.wait_ready(answers) > 0
        assert server.alive
        assert server.pid is not None
        assert LISTENS in psutil.Process(server.pid).cmdline()
    assert gone(server.pid)
    assert not server.alive
    assert not answers()
    server.end()


def test_one_that_dies_says_why(tmp_path: Path) -> None:
    """Its exit code, and the last lines of its log without anything that a terminal would act on."""
    script = "import sys; print('\\x1b[31mno such model: x\\x1b[0m', file=sys.stderr); sys.exit(7)"
    with started(command(script, logs_dir=tmp_path)) as server:
        with pytest.raises(BackendError) as caught:
            server.wait_ready(lambda: False)
        assert "toy ended with exit code 7 while it started" in str(caught.value)
        assert "no such model: x" in str(caught.value)
        assert "\x1b" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_one_that_is_never_ready_is_ended() -> None:
    """After its deadline, with what it said."""
    with started(command("import time; print('busy', flush=True); time.sleep(600)", start_s=1.0)) as server:
        with pytest.raises(BackendError, match=r"(?s)toy was not ready within 1 s.*busy"):
            server.wait_ready(lambda: False)
        assert server.pid is not None
        assert gone(server.pid)


def test_a_stranger_on_the_port_is_not_ours() -> None:
    """That somebody answers says nothing when our own process has died."""
    with started(command("raise SystemExit(1)")) as server:
        until(lambda: not server.alive, "its end")
        with pytest.raises(BackendError, match="exit code 1"):
            server.wait_ready(lambda: True)


def test_a_program_that_is_missing() -> None:
    """Said by name, with advice; one that vanished since is said, too."""
    with pytest.raises(BackendError, match="no program on PATH is named 'flperf-nothing': install it"):
        find_command("flperf-nothing", "install it")
    with (
        started(ServerCommand("toy", ("/nonexistent/flperf-nothing",))) as server,
        pytest.raises(BackendError, match="could not be started"),
    ):
        server.wait_ready(lambda: False)


def test_the_whole_tree_ends(tmp_path: Path) -> None:
    """Children end with it, also one in a session of its own."""
    with started(command(HAS_CHILDREN, logs_dir=tmp_path)) as server:
        until(lambda: "complete" in server.log_path.read_text(), "its children")
        children = [int(line.split()[1]) for line in server.log_path.read_text().splitlines() if "child" in line]
        assert len(children) == 2
    assert all(gone(child) for child in children)


@pytest.mark.skipif(sys.platform != "linux", reason="who left the tree is found on Linux only")
def test_who_outlives_the_server_ends_too(tmp_path: Path) -> None:
    """A server that dies leaves its children behind: they are ended without anybody asking."""
    with started(command(HAS_CHILDREN, logs_dir=tmp_path)) as server:
        until(lambda: "complete" in server.log_path.read_text(), "its children")
        children = [int(line.split()[1]) for line in server.log_path.read_text().splitlines() if "child" in line]
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive, "its end")
        assert server.how_it_ended() == "was ended by SIGKILL"
        assert all(until(lambda child=child: gone(child), "the end of a child") for child in children)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing there is like SIGKILL to a parent")
def test_it_ends_when_its_parent_is_killed() -> None:
    """However the parent ends, the server goes with it."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from pytest_flperf.backends.server_process import ServerCommand, ServerProcess\n"
            "server = ServerProcess(ServerCommand('toy', (sys.executable, '-c', 'import time; time.sleep(600)')))\n"
            "print(server.pid, flush=True)\n"
            "time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: gone(pid), "the end of the server")


@pytest.mark.skipif(sys.platform != "linux", reason="who follows its parent by itself is Linux's alone")
def test_it_ends_when_its_keeper_is_killed() -> None:
    """A keeper that is killed takes the server along; it is said so."""
    with started(command("import time; time.sleep(600)")) as server:
        assert server.pid is not None
        psutil.Process(server.pid).parent().kill()  # type: ignore[union-attr]
        assert until(lambda: gone(server.pid or 0), "the end of the server")
        until(lambda: not server.alive, "the news of it")
        assert "keeper" in server.how_it_ended()


def test_keys_stay_out_of_the_log(tmp_path: Path) -> None:
    """What the server prints of a key that it was given is masked before it is on disk."""
    script = "import os; print('using key', os.environ['THE_KEY'], 'and sk-abcdefghijklmnop12345', flush=True)"
    environment = {**os.environ, "THE_KEY": SECRET}
    wish = command(script, logs_dir=tmp_path, environment=environment, secrets=(SECRET,))
    assert SECRET not in repr(wish)
    with started(wish) as server:
        until(lambda: not server.alive, "its end")
        text = server.log_path.read_text()
        assert text == "using key *** and ***\n"
        assert (server.log_path.stat().st_mode & 0o077) == 0 or sys.platform == "win32"
