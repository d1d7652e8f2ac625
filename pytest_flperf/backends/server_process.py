"""Server process: start, log, readiness deadline, and process-tree cleanup.

The server listens on loopback.  Between us and it stands a small keeper process
(:mod:`pytest_flperf.backends.server_keeper`), which ends the server when we say so, close our end of a pipe, or are
gone.  So the server ends with us however we end, on every system and without the server's help.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pytest_flperf.backends.base import BackendError
from pytest_flperf.foundry_host.child import how_ended, spawn_module
from pytest_flperf.foundry_host.logs import clean, tail

__all__ = ["PortTakenError", "ServerCommand", "ServerProcess", "find_command", "free_port"]

_KEEPER_S: Final = 15.0
_BETWEEN_LOOKS_S: Final = 0.05
_SHOWN_LINES: Final = 8
_ON_ITS_WAY_S: Final = 0.1
"""After this delay, a server's latest output is in its log."""
_NOT_BOUND: Final = re.compile(
    # llama.cpp's words; those of Linux, macOS and Windows; Node's
    r"couldn't bind HTTP server socket|address already in use|only one usage of each socket address|EADDRINUSE",
    re.IGNORECASE,
)


class PortTakenError(BackendError):
    """Server ended because its port was taken; another may work.

    The port was free when it was chosen.
    """


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """Server command: program, environment, log and timeouts."""

    name: str
    """Name in messages: ``llama-server``."""
    arguments: tuple[str, ...]
    """The program with its arguments; never a key, which every user of the machine could read."""
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """Environment of the server; None: this process's."""
    folder: Path | None = None
    """Working directory; None: a temporary folder of its own."""
    logs_dir: Path | None = None
    """Folder of its log; None: a temporary folder, removed with the server."""
    log_name: str = ""
    """Prefix of the log's file name; empty: ``name``."""
    start_s: float = 60.0
    """Deadline until it is ready, in seconds."""
    grace_s: float = 3.0
    """Seconds between the request to terminate and the kill."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Keys to mask in its log, whatever it prints."""


class ServerProcess:
    """A started server with its child processes."""

    def __init__(self, command: ServerCommand) -> None:
        """Start the server without waiting.

        Raises BackendError if the start fails at once.
        """
        self.command = command
        # Not a TemporaryDirectory: a fork of ours would remove it at its exit.
        private = Path(tempfile.mkdtemp(prefix="flperf-server-"))
        self._began = time.monotonic()
        self._told = _Told()
        try:
            logs = (command.logs_dir or private).absolute()
            logs.mkdir(parents=True, exist_ok=True)
            self.log_path = logs / f"{command.log_name or command.name}-{secrets.token_hex(4)}.log"
            self._keeper = _spawn(command, self.log_path, private)
        except OSError as error:
            shutil.rmtree(private, ignore_errors=True)
            raise BackendError(f"{command.name}: could not be started: {clean(str(error))}") from error
        assert self._keeper.stdout is not None
        # The thread gets the stream and its state, not self, so that an unused handle can be garbage-collected.
        listener = threading.Thread(
            target=self._told.listen, args=(self._keeper.stdout,), name="flperf-server-listener", daemon=True
        )
        listener.start()
        self._end = weakref.finalize(self, _end, self._keeper, listener, private, command.grace_s, os.getpid())

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it was never started.

        Waits until it is known.
        """
        self._told.started.wait(_KEEPER_S)
        return self._told.pid

    @property
    def alive(self) -> bool:
        """Whether the server runs (it may still hang)."""
        return not self._told.over.is_set()

    def wait_end(self, timeout_s: float) -> bool:
        """Wait for the server to end; False if it hasn't in time."""
        return self._told.over.wait(timeout_s)

    def wait_ready(self, ready: Callable[[], bool], on_wait: Callable[[], None] | None = None) -> float:
        """Wait until ``ready`` returns True; returns the seconds it took.

        Args:
            ready: Quick check of the server that doesn't raise; False as long as it doesn't answer.
            on_wait: Called now and then, to show progress.

        Raises:
            PortTakenError: It ended because its port was taken.
            BackendError: It ended, or was not ready in time; with the last lines of its log.  It is stopped then.

        """
        deadline = self._began + self.command.start_s
        while True:
            # Another server may answer on the port that ours could not get: ready and dead is not ready.
            if ready() and self.alive:
                return time.monotonic() - self._began
            if not self.alive:
                kind = PortTakenError if self.port_was_taken else BackendError
                problem = self.obituary("" if self._told.problem else " while it started")
            elif time.monotonic() > deadline:
                kind = BackendError
                problem = f"{self.command.name} was not ready within {self.command.start_s:g} s{self.last_words()}"
            else:
                if on_wait is not None:
                    on_wait()
                self._told.over.wait(_BETWEEN_LOOKS_S)
                continue
            self.end()
            raise kind(problem)

    @property
    def port_was_taken(self) -> bool:
        """Whether the server ended because its port was taken.

        Decided by the last lines of its log.
        """
        return not self.alive and any(map(_NOT_BOUND.search, tail(self.log_path)))

    def obituary(self, when: str = "") -> str:
        """How the server ended, with the last lines of its log.

        ``when``: text between the two.
        """
        words = "" if self._told.problem else self.last_words()
        return f"{self.command.name} {self.how_it_ended()}{when}{words}"

    def how_it_ended(self) -> str:
        """How the server ended, in words; ``runs`` where it has not."""
        if self.alive:
            return "runs"
        if self._told.problem:
            return f"could not be started: {self._told.problem}"
        if self._told.code is None:
            return "was ended together with its keeper"
        return how_ended(self._told.code)

    def last_words(self, lines: int = _SHOWN_LINES) -> str:
        """Last lines of the log, as the rest of a sentence.

        Begins with ``; the last lines of its log: …``.
        """
        if self.alive:
            time.sleep(_ON_ITS_WAY_S)
        found = tail(self.log_path, lines)
        where = f" ({self.log_path})" if self.command.logs_dir is not None else ""
        if not found:
            return f"; its log is empty{where}"
        return "".join([f"; the last lines of its log{where}:", *(f"\n  {line}" for line in found)])

    def end(self) -> None:
        """End the server and all its children; may be called again."""
        self._end()


class _Told:
    """Reports of the keeper so far."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.over = threading.Event()
        self.pid: int | None = None
        self.code: int | None = None
        self.problem = ""

    def listen(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                with contextlib.suppress(json.JSONDecodeError):  # startup code of Python may print, too
                    self._take(json.loads(line))
        if self.pid is not None and self.code is None:
            _kill(self.pid)
        self.started.set()
        self.over.set()

    def _take(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        if "pid" in said:
            self.pid = said["pid"]
            self.started.set()
        elif "error" in said:
            self.problem = clean(str(said["error"]))
        elif "code" in said:
            self.code = said["code"]
            self.over.set()


def find_command(command: str, advice: str) -> str:
    """Full path of a program by its name or path.

    Raises BackendError that ends with ``advice``.
    """
    found = shutil.which(str(Path(command).expanduser()) if command.startswith("~") else command)
    if found is None:
        kind = "executable file" if Path(command).name != command else "program on PATH"
        raise BackendError(f"found no {kind} named {clean(command)!r}: {advice}")
    return str(Path(found).absolute())


def free_port() -> int:
    """A port of 127.0.0.1 that is free now.

    Another process may take it a moment later.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spawn(command: ServerCommand, log_path: Path, private: Path) -> subprocess.Popen[bytes]:
    with log_path.open("ab"):
        log_path.chmod(0o600)
    wish = {
        "arguments": command.arguments,
        "environment": None if command.environment is None else dict(command.environment),
        "folder": str((command.folder or private).absolute()),
        "private": str(private),
        "log": str(log_path),
        "grace_s": command.grace_s,
        "secrets": command.secrets,
        "parent_pid": os.getpid(),
    }
    process = spawn_module("pytest_flperf.backends.server_keeper")
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # the listener notices a keeper that is gone already
        process.stdin.write(json.dumps(wish).encode() + b"\n")
        process.stdin.flush()
    return process


def _kill(pid: int) -> None:
    """End a server whose keeper was killed.

    On Linux the OS has ended it, but not its children.
    """
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return
    import psutil

    with contextlib.suppress(psutil.Error):
        server = psutil.Process(pid)
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                process.kill()


def _end(
    keeper: subprocess.Popen[bytes], listener: threading.Thread, private: Path, grace_s: float, owner_pid: int
) -> None:
    if os.getpid() != owner_pid:  # a fork has no servers of its own
        return
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    # A line, not only the end of the pipe: a fork of ours may keep it open.
    with contextlib.suppress(OSError, ValueError):
        keeper.stdin.write(b"end\n")
        keeper.stdin.flush()
    with contextlib.suppress(OSError):
        keeper.stdin.close()
    try:
        keeper.wait(2 * grace_s + _KEEPER_S)
    except subprocess.TimeoutExpired:
        keeper.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(1.0)
    listener.join(1.0)
    with contextlib.suppress(OSError):
        keeper.stdout.close()
    shutil.rmtree(private, ignore_errors=True)
