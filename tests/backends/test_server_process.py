"""Servers that we start: readiness, deaths, logs, and an end that leaves nobody behind."""

from __future__ import annotations

import contextlib
import io
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

from pytest_flperf.backends import server_keeper
from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.server_process import (
    PortTakenError,
    ServerCommand,
    ServerProcess,
    find_command,
    free_port,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such signals and no forks there")
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
    deadline = time.monotonic() + 60
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


@pytest.mark.usefixtures("talkative_python")
def test_what_starts_python_may_print() -> None:
    """The process that keeps a server says its news all the same."""
    with started(command("import time; time.sleep(600)")) as server:
        assert server.wait_ready(lambda: True) > 0
        assert server.pid is not None
    assert gone(server.pid)


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
        until(lambda: "busy" in server.last_words(), "what it said")
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
    with pytest.raises(BackendError, match="no program on PATH named 'flperf-nothing': install it"):
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


@contextlib.contextmanager
def parent_of_a_server(more: str = "") -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that has started a server with two children; with the ids of keeper, server and children."""
    program = (
        "import os, sys, time\n"
        "from pytest_flperf.backends.server_process import ServerCommand, ServerProcess\n"
        "wish = ServerCommand('toy', (sys.executable, '-c', sys.argv[1]), grace_s=10)\n"
        "server = ServerProcess(wish)\n"
        "while 'complete' not in server.log_path.read_text(): time.sleep(0.02)\n"
        f"print(server.pid, flush=True)\nsys.stdin.readline()\n{more}\n"
        "time.sleep(600)"
    )
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, "-c", program, HAS_CHILDREN], **piped)
    assert parent.stdin is not None
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    keeper = server.parent()
    assert keeper is not None
    try:
        pids = [keeper.pid, server.pid, *(child.pid for child in server.children())]
        parent.stdin.write(b"all are known\n")
        parent.stdin.flush()
        yield parent, pids
    finally:
        parent.kill()
        parent.wait()
        parent.stdin.close()
        parent.stdout.close()


@posix
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("victim", ["parent", "keeper", "server"])
def test_it_ends_when_one_is_killed(victim: str, number: str) -> None:
    """However one of the three ends, the others go with it, and the server's children."""
    if (victim, number) == ("keeper", "SIGKILL"):
        pytest.skip("see test_it_ends_when_its_keeper_is_killed")
    with parent_of_a_server() as (parent, pids):
        assert len(pids) == 4
        private = Path(psutil.Process(pids[1]).cwd())
        os.kill({"parent": parent.pid, "keeper": pids[0], "server": pids[1]}[victim], getattr(signal, number))
        if sys.platform != "linux":
            del pids[3:]  # who left the tree is found on Linux only
        for pid in pids:
            until(lambda pid=pid: gone(pid), "the end of all")
        assert private.exists() is (victim != "parent")


@posix
@pytest.mark.parametrize("end", ["server.end()", "os.kill(os.getpid(), 9)"])
def test_a_fork_of_ours_holds_nothing_open(end: str) -> None:
    """Neither the end that is asked for nor the parent's death waits for a fork that has the pipe as well."""
    fork = f"pid = os.fork()\nif not pid: time.sleep(600)\nprint(pid, flush=True)\n{end}"
    with parent_of_a_server(fork) as (parent, pids):
        assert parent.stdout is not None
        forked = psutil.Process(int(parent.stdout.readline()))
        for pid in pids:
            until(lambda pid=pid: gone(pid), "the end of all")
        assert forked.is_running()
        forked.kill()


@posix
def test_a_fork_of_ours_ends_nothing() -> None:
    """One that ends as a program does, with all that is to be done then, is not us."""
    fork = "if not os.fork(): sys.exit()\nos.wait()\nprint(server.log_path.exists(), server.alive, flush=True)"
    with parent_of_a_server(fork) as (parent, pids):
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"True True\n"
        assert not any(gone(pid) for pid in pids)
    for pid in pids:
        until(lambda pid=pid: gone(pid), "the end of all")


@posix
def test_children_get_their_time(tmp_path: Path) -> None:
    """A script that starts the server is gone at once: the server behind it may still end as it wants."""
    slow = (
        "import signal, sys, time\n"
        "def leave(*_): time.sleep(0.2); print('farewell', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('complete', flush=True)\n"
        "time.sleep(600)"
    )
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with started(command(script, slow, logs_dir=tmp_path, grace_s=15.0)) as server:
        until(lambda: "complete" in server.log_path.read_text(), "its child")
    assert "farewell" in server.log_path.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="who follows its parent by itself is Linux's alone")
def test_it_ends_when_its_keeper_is_killed() -> None:
    """A keeper that is killed takes the server along; it is said so."""
    with started(command(HAS_CHILDREN.replace('session": True', 'session": False'))) as server:
        until(lambda: "complete" in server.log_path.read_text(), "its children")
        assert server.pid is not None
        process = psutil.Process(server.pid)
        pids = [server.pid, *(child.pid for child in process.children())]
        process.parent().kill()  # type: ignore[union-attr]
        for pid in pids:
            until(lambda pid=pid: gone(pid), "the end of the server and its children")
        until(lambda: not server.alive, "the news of it")
        assert "keeper" in server.how_it_ended()


def test_a_port_that_is_taken() -> None:
    """It is told from other deaths: on another port, the server may come up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with (
            started(command(LISTENS, port)) as server,
            pytest.raises(PortTakenError, match="toy ended with exit code 1 while it started"),
        ):
            server.wait_ready(lambda: False)


def test_a_long_log_is_cut_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is kept, and its end, where a server says why it ends."""
    monkeypatch.setattr(server_keeper, "_LONGEST_LOG", 200)
    said = b"".join(b"line %d\n" % number for number in range(1000))
    server_keeper._copy(io.BytesIO(said + f"with {SECRET}\n".encode()), str(tmp_path / "log"), [SECRET])
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "line 0"
    assert lines[-2:] == ["line 999", "with ***"]
    assert sum(line.startswith("line ") for line in lines) + 1 < 100
    (cut,) = [line for line in lines if "left out" in line]
    assert (
        cut
        == f"({1000 - sum(line.startswith('line ') for line in lines)} lines are left out here: the log was too long)"
    )


@pytest.mark.parametrize("at", [0, 90, 96, 99, 100, 111, 250])
def test_a_long_line_hides_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A line is taken in parts where it is too long, and a key may stand where it is cut."""
    monkeypatch.setattr(server_keeper, "_LONGEST_LINE", 100)
    for key in (SECRET, "".join(f"%{byte:02X}" for byte in SECRET.encode())):
        said = b"x" * at + key.encode() + b"y" * 300 + b"\n" + b"the end"
        server_keeper._copy(io.BytesIO(said), str(tmp_path / "log"), [SECRET])
        text = (tmp_path / "log").read_text()
        assert key[:9] not in text
        assert text.startswith("x" * at + "*")
        assert text.endswith("y" * 300 + "\nthe end")
        (tmp_path / "log").unlink()


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
