"""A server that we start: on loopback, with a log, a deadline until it answers, and an end of its whole process tree.

Between us and the server stands a small process (:mod:`pytest_flperf.backends.server_keeper`) that ends the server when
our end of a pipe closes: so it ends with us however we end, on every system and without the server's help.
"""

from __future__ import annotations

import contextlib
import json
import os
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
from pytest_flperf.runtime.logs import clean, tail

__all__ = ["ServerCommand", "ServerProcess", "find_command", "free_port"]

_KEEPER_S: Final = 15.0
_BETWEEN_LOOKS_S: Final = 0.05
_SHOWN_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """What to start, and how long it may take."""

    name: str
    """For messages and the log's name: ``llama-server``."""
    arguments: tuple[str, ...]
    """The program with its arguments; never a key, which every user of the machine could read."""
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """Of the server; None: this process's."""
    folder: Path | None = None
    """Where it runs; None: a temporary folder of its own."""
    logs_dir: Path | None = None
    """Where its log goes; None: into a temporary folder that goes with it."""
    start_s: float = 60.0
    """Deadline until it is ready."""
    grace_s: float = 3.0
    """From the polite request to end until it is killed."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Keys that must not stand in its log, whatever it prints."""


class ServerProcess:
    """A server that was started and the processes that it starts itself."""

    def __init__(self, command: ServerCommand) -> None:
        """Start it and don't wait; raises BackendError where that fails at once."""
        self.command = command
        self._temporary = tempfile.TemporaryDirectory(prefix="flperf-server-", ignore_cleanup_errors=True)
        private = Path(self._temporary.name)
        self._began = time.monotonic()
        self._told = _Told()
        try:
            logs = (command.logs_dir or private).absolute()
            logs.mkdir(parents=True, exist_ok=True)
            self.log_path = logs / f"{command.name}-{secrets.token_hex(4)}.log"
            self._keeper = _spawn(command, self.log_path, (command.folder or private).absolute())
        except OSError as error:
            self._temporary.cleanup()
            raise BackendError(f"{command.name}: could not be started: {clean(str(error))}") from error
        assert self._keeper.stdout is not None
        # The thread gets the stream and what it tells and not self, so that a forgotten handle can be collected.
        listener = threading.Thread(
            target=self._told.listen, args=(self._keeper.stdout,), name="flperf-server-listener", daemon=True
        )
        listener.start()
        self._end = weakref.finalize(self, _end, self._keeper, listener, self._temporary, command.grace_s)

    @property
    def pid(self) -> int | None:
        """Process id of the server itself; None where it was never started."""
        self._told.started.wait(_KEEPER_S)
        return self._told.pid

    @property
    def alive(self) -> bool:
        """Whether the server runs (it may still hang)."""
        return not self._told.over.is_set()

    def wait_end(self, timeout_s: float) -> bool:
        """Whether the server has ended, or does so within the time."""
        return self._told.over.wait(timeout_s)

    def wait_ready(self, ready: Callable[[], bool], on_wait: Callable[[], None] | None = None) -> float:
        """Wait until ``ready`` says so; how long the start took, in seconds.

        Args:
            ready: Looks at the server, shortly and without raising: False as long as it doesn't answer.
            on_wait: Called now and then, for whoever shows what is going on.

        Raises:
            BackendError: It ended, or was not ready in time; with the last lines of its log.  It is ended then.

        """
        deadline = self._began + self.command.start_s
        while True:
            # A stranger may answer on the port that ours could not have: ready and dead is not ready.
            if ready() and self.alive:
                return time.monotonic() - self._began
            if not self.alive:
                problem = f"{self.command.name} {self.how_it_ended()} while it started"
            elif time.monotonic() > deadline:
                problem = f"{self.command.name} was not ready within {self.command.start_s:g} s"
            else:
                if on_wait is not None:
                    on_wait()
                self._told.over.wait(_BETWEEN_LOOKS_S)
                continue
            words = self.last_words()
            self.end()
            raise BackendError(problem + words)

    def how_it_ended(self) -> str:
        """How the server ended, in words; ``runs`` where it has not."""
        if self.alive:
            return "runs"
        if self._told.problem:
            return f"could not be started ({self._told.problem})"
        code = self._told.code
        if code is None:
            return "was ended together with its keeper"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def last_words(self, lines: int = _SHOWN_LINES) -> str:
        """The last lines of the log, as the rest of a sentence: ``; the last lines of its log: …``."""
        found = tail(self.log_path, lines)
        where = f" ({self.log_path})" if self.command.logs_dir is not None else ""
        if not found:
            return f"; its log is empty{where}"
        return "".join([f"; the last lines of its log{where}:", *(f"\n  {line}" for line in found)])

    def end(self) -> None:
        """End the server and all that it started; may be called again."""
        self._end()


class _Told:
    """What the keeper said so far."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.over = threading.Event()
        self.pid: int | None = None
        self.code: int | None = None
        self.problem = ""

    def listen(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                self._take(json.loads(line))
        self.started.set()
        self.over.set()

    def _take(self, said: Mapping[str, Any]) -> None:
        if "pid" in said:
            self.pid = said["pid"]
            self.started.set()
        elif "error" in said:
            self.problem = clean(str(said["error"]))
        elif "code" in said:
            self.code = said["code"]
            self.over.set()


def find_command(command: str, advice: str) -> str:
    """The full path of a program by its name or path; raises BackendError that ends with ``advice``."""
    found = shutil.which(str(Path(command).expanduser()) if command.startswith("~") else command)
    if found is None:
        kind = "file that can be run" if Path(command).name != command else "program on PATH"
        raise BackendError(f"no {kind} is named {clean(command)!r}: {advice}")
    return str(Path(found).absolute())


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now; somebody else may have it a moment later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spawn(command: ServerCommand, log_path: Path, folder: Path) -> subprocess.Popen[bytes]:
    # -P: no module of the current folder may stand in for one of ours.
    keeper = [sys.executable, "-P", "-X", "utf8", "-m", "pytest_flperf.backends.server_keeper"]
    with log_path.open("ab"):
        log_path.chmod(0o600)
    process = subprocess.Popen(
        keeper,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C in the terminal is ours to handle.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    assert process.stdin is not None
    wish = {
        "arguments": command.arguments,
        "environment": None if command.environment is None else dict(command.environment),
        "folder": str(folder),
        "log": str(log_path),
        "grace_s": command.grace_s,
        "secrets": command.secrets,
        "parent_pid": os.getpid(),
    }
    with contextlib.suppress(OSError):  # a keeper that is gone already is seen by the listener
        process.stdin.write(json.dumps(wish).encode() + b"\n")
        process.stdin.flush()
    return process


def _end(
    keeper: subprocess.Popen[bytes],
    listener: threading.Thread,
    temporary: tempfile.TemporaryDirectory[str],
    grace_s: float,
) -> None:
    assert keeper.stdin is not None
    assert keeper.stdout is not None
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
    temporary.cleanup()
