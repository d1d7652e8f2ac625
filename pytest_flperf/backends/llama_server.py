"""A llama-server of our own: how it is started, told apart from a dead one, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from pytest_flperf.backends.base import BackendError
from pytest_flperf.runtime.logs import clean, tail
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["LlamaServer", "find_binary", "has_devices", "version_of"]

_HOST: Final = "127.0.0.1"
_TOLD_S: Final = 15.0
_END_S: Final = 20.0
_VERSION_S: Final = 20.0
_LOG_LINES: Final = 8
_NOT_BOUND: Final = "couldn't bind HTTP server socket"
_OFFLOADED: Final = re.compile(r"offloaded (\d{1,5})/(\d{1,5}) layers to GPU")
_READ_BYTES: Final = 1 << 20
_HOW: Final = (
    "Install llama.cpp (https://github.com/ggml-org/llama.cpp: brew, winget, or its releases), or say where it is with "
    "the option server, or attach to one that runs with base_url"
)


class LlamaServer:
    """One process on a free port of loopback, its log, and the guard that ends it."""

    def __init__(self, binary: Path, arguments: Sequence[str], log_path: Path) -> None:
        """Start it; returns at once.  What it says goes to ``log_path``, whose folder is there; may raise OSError."""
        self.endpoint = Endpoint.parse(f"http://{_HOST}:{_free_port()}/v1")
        self.log_path = log_path
        self._binary, self._arguments = binary, tuple(arguments)
        self._said: dict[str, Any] = {}
        self._heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        command = [str(binary), *arguments, "--host", _HOST, "--port", str(self.endpoint.port)]
        with log_path.open("ab") as log:
            guard = subprocess.Popen(
                # -P: no module of the current folder may stand in for one of ours.
                [sys.executable, "-P", "-m", "pytest_flperf.backends.llama_guard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_surroundings(os.environ),
                # Ctrl-C in the terminal is ours to handle.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        assert guard.stdin is not None
        assert guard.stdout is not None
        # The thread gets the stream and the queue and not self, so that a forgotten handle can be collected.
        listener = threading.Thread(
            target=_listen, args=(guard.stdout, self._heard), name="flperf-llama-guard", daemon=True
        )
        listener.start()
        self._end = weakref.finalize(self, _end, guard, listener)
        with contextlib.suppress(OSError):
            guard.stdin.write(json.dumps({"command": command, "log": str(log_path.absolute())}).encode() + b"\n")
            guard.stdin.flush()

    def wait_started(self) -> int:
        """Its process id, as soon as there is one; raises BackendError where it could not be started."""
        give_up = time.monotonic() + _TOLD_S
        while "pid" not in self._said:
            self._hear(max(give_up - time.monotonic(), 0.0))
            if "error" in self._said:
                raise BackendError(self.obituary())
            if "ended" in self._said or time.monotonic() >= give_up:
                raise BackendError(f"llama-server could not be started within {_TOLD_S:g} s")
        return int(self._said["pid"])

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as has been told."""
        return not self.has_ended(0.0)

    def has_ended(self, patience_s: float) -> bool:
        """Whether it has ended, or does so soon: its guard tells a moment after its sockets do."""
        give_up = time.monotonic() + patience_s
        while not (over := bool(self._said.keys() & {"exit", "ended", "error"})):
            left_s = give_up - time.monotonic()
            self._hear(max(left_s, 0.0))
            if left_s <= 0:
                break
        return over or bool(self._said.keys() & {"exit", "ended", "error"})

    def once_more(self) -> LlamaServer | None:
        """Another one on another port, where it ended because its port had been taken since it was found free."""
        if self.alive or not any(_NOT_BOUND in line for line in tail(self.log_path)):
            return None
        self.end()
        return LlamaServer(self._binary, self._arguments, self.log_path.with_suffix(".again.log"))

    @property
    def offloaded(self) -> str | None:
        """How many of the model's layers a GPU has, if the log says so: newer builds do with ``--verbosity 4`` only."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _READ_BYTES))
            found = _OFFLOADED.findall(log.read(_READ_BYTES).decode("utf-8", "replace"))
            if found:
                return f"gpu ({found[-1][0]} of {found[-1][1]} layers)"
        return None

    def log_lines(self) -> str:
        """The last lines of its log, one per line after a line break; empty where there are none."""
        lines = tail(self.log_path, _LOG_LINES)
        if not lines:
            return ""
        return f"\nLast lines of its log ({self.log_path}):" + "".join(f"\n  | {line}" for line in lines)

    def obituary(self) -> str:
        """How it ended, with the last lines of its log."""
        if "error" in self._said:
            return f"llama-server could not be started: {clean(str(self._said['error']))}"
        code = self._said.get("exit")
        how = "ended"
        if isinstance(code, int) and code < 0:
            with contextlib.suppress(ValueError):
                how = f"was ended by {signal.Signals(-code).name}"
        elif code is not None:
            how = f"ended with exit code {code}"
        return f"llama-server {how}{self.log_lines()}"

    def end(self) -> None:
        """End it with its children; may be called again."""
        self._end()

    def _hear(self, patience_s: float) -> None:
        """Take in what the guard has said; waits for the next word for so long."""
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._heard.get(timeout=patience_s) if patience_s > 0 else self._heard.get_nowait()
                self._said.update({"ended": True} if message is None else message)
                patience_s = 0.0


def find_binary(named: str) -> Path:
    """The program by its path, or by its name on PATH; raises BackendError with what to do."""
    path = Path(os.path.expanduser(named))  # noqa: PTH111 - which leaves ~somebody unknown as it is
    if path.parent != Path() or path.is_absolute():
        if not path.is_file():
            raise BackendError(f"llamacpp: no llama-server at {clean(named)}. {_HOW}")
        return path.absolute()
    found = shutil.which(named)
    if found is None:
        raise BackendError(f"llamacpp: no {clean(named)} on PATH. {_HOW}")
    return Path(found).absolute()


def version_of(binary: Path) -> str:
    """What ``llama-server --version`` says; raises BackendError where it says nothing."""
    text = _said_by(binary, "--version")
    for line in text.splitlines():
        if line.startswith("version:"):
            return clean(line.removeprefix("version:"))
    raise BackendError(f"llamacpp: {binary} --version named no version: {clean(text)!r}. Is it a llama-server?")


def has_devices(binary: Path) -> bool | None:
    """Whether ``llama-server --list-devices`` lists any beside the processor; None where it can't be told."""
    try:
        lines = _said_by(binary, "--list-devices").splitlines()
    except BackendError:
        return None
    heading = next((at for at, line in enumerate(lines) if line.startswith("Available devices")), None)
    if heading is None:
        return None
    return any(line.strip() not in ("", "(none)") for line in lines[heading + 1 :])


def _said_by(binary: Path, argument: str) -> str:
    try:
        answer = subprocess.run(
            [str(binary), argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_S,
            check=False,
            env=_surroundings(os.environ),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"llamacpp: {binary} {argument} failed: {clean(str(error))}") from None
    return (answer.stdout + b"\n" + answer.stderr).decode("utf-8", "replace")


def _surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: what it does is said by its command line alone, so that two runs are alike."""
    theirs = [name for name in environment if name.startswith("LLAMA_ARG_") or name == "LLAMA_API_KEY"]
    return {name: value for name, value in environment.items() if name not in theirs}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _listen(stream: IO[bytes], heard: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline():
            message = json.loads(line)
            heard.put(message)
    heard.put(None)


def _end(guard: subprocess.Popen[bytes], listener: threading.Thread) -> None:
    assert guard.stdin is not None
    assert guard.stdout is not None
    # A line and not only the end of the pipe, which a fork of ours may hold open.
    with contextlib.suppress(OSError, ValueError):
        guard.stdin.write(b"end\n")
        guard.stdin.flush()
    with contextlib.suppress(OSError):
        guard.stdin.close()
    try:
        guard.wait(_END_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            guard.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            guard.wait(1.0)
    listener.join(1.0)
    with contextlib.suppress(OSError):
        guard.stdout.close()
