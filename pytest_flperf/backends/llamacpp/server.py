"""llama-server process: start, liveness, log and end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.server_process import ServerCommand, ServerProcess, free_port
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.results.redaction import environment_secrets
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["LlamaServer", "find_binary", "has_devices", "version_of"]

_HOST: Final = "127.0.0.1"
_GRACE_S: Final = 5.0
"""Time for a server to end by itself: a busy one takes no longer, and a router unloads its models."""
_VERSION_S: Final = 20.0
_OFFLOADED: Final = re.compile(r"offloaded (\d{1,5})/(\d{1,5}) layers to GPU")
_READ_BYTES: Final = 1 << 20
_HOW: Final = (
    "Install llama.cpp (https://github.com/ggml-org/llama.cpp: brew, winget, or its releases), or give its path with "
    "the option server, or attach to a running server with base_url"
)


class LlamaServer:
    """llama-server process on a free port of loopback, with its log."""

    def __init__(self, binary: Path, arguments: Sequence[str], name: str, logs_dir: Path | None) -> None:
        """Start the process without waiting; may raise BackendError.

        Args:
            binary: The program.
            arguments: Its arguments, without host and port.
            name: Name of its log.
            logs_dir: Folder of the log; None: a temporary folder, removed with the server.

        """
        port = free_port()
        self.endpoint = Endpoint.parse(f"http://{_HOST}:{port}/v1")
        self._binary, self._arguments, self._name, self._logs_dir = binary, tuple(arguments), name, logs_dir
        environment = _surroundings(os.environ)
        self._process = ServerProcess(
            ServerCommand(
                name="llama-server",
                arguments=(str(binary), *arguments, "--host", _HOST, "--port", str(port)),
                environment=environment,
                folder=Path(),  # relative paths in its arguments start here
                logs_dir=logs_dir,
                log_name=f"llama-server-{name[:60]}",
                grace_s=_GRACE_S,
                secrets=environment_secrets(environment),
            )
        )

    def wait_started(self) -> int:
        """Wait for the process id; raises BackendError if the start failed."""
        pid = self._process.pid
        if pid is None:
            late = "llama-server could not be started: its keeper does not answer"
            raise BackendError(late if self.alive else self.obituary())
        return pid

    @property
    def alive(self) -> bool:
        """Whether the process runs, as far as known."""
        return self._process.alive

    def has_ended(self, patience_s: float) -> bool:
        """Whether the process has ended, or does within ``patience_s``.

        Its end is reported a moment after its sockets close.
        """
        return self._process.wait_end(patience_s)

    def once_more(self) -> LlamaServer | None:
        """Start another server if this one's port was taken; else None.

        A free port may be taken before the server binds to it.
        """
        if not self._process.port_was_taken:
            return None
        self.end()
        return LlamaServer(self._binary, self._arguments, self._name, self._logs_dir)

    @property
    def offloaded(self) -> str | None:
        """Layers on the GPU, from the log; None if not logged.

        Newer builds log them with ``--verbosity 4`` only.
        """
        with contextlib.suppress(OSError), self._process.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _READ_BYTES))
            found = _OFFLOADED.findall(log.read(_READ_BYTES).decode("utf-8", "replace"))
            if found:
                return f"gpu ({found[-1][0]} of {found[-1][1]} layers)"
        return None

    def last_words(self) -> str:
        """Last lines of the log, as the rest of a sentence."""
        return self._process.last_words()

    def obituary(self) -> str:
        """How the server ended, with the last lines of its log."""
        return self._process.obituary()

    def end(self) -> None:
        """End the server and its children; may be called again."""
        self._process.end()


def find_binary(named: str) -> Path:
    """Find the program by path, or by name on PATH.

    Raises BackendError with what to do.
    """
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
    """Version from ``llama-server --version``; raises BackendError if there is none."""
    text = _said_by(binary, "--version")
    for line in text.splitlines():
        if line.startswith("version:"):
            return clean(line.removeprefix("version:"))
    raise BackendError(f"llamacpp: {binary} --version printed no version: {clean(text)!r}. Is it a llama-server?")


def has_devices(binary: Path) -> bool | None:
    """Whether ``llama-server --list-devices`` lists non-CPU devices; None if unknown."""
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
    """Environment of the server, without llama-server's own variables.

    The command line alone configures it, so that two runs are alike.
    """
    theirs = [name for name in environment if name.startswith("LLAMA_ARG_") or name == "LLAMA_API_KEY"]
    return {name: value for name, value in environment.items() if name not in theirs}
