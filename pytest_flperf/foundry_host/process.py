"""Runtime host process, parent side: start, pipes, end, temporary folder."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

from pytest_flperf.foundry_host.child import how_ended, spawn_module
from pytest_flperf.foundry_host.embedded import embedded_models
from pytest_flperf.foundry_host.protocol import (
    MAX_LINE_BYTES,
    Cancel,
    Command,
    Message,
    Mode,
    ProtocolError,
    Start,
    decode,
    encode,
)
from pytest_flperf.foundry_host.workspace import Workspace, remove_stale

__all__ = ["Heard", "HostConfig", "HostProcess", "Mail"]

Heard: TypeAlias = Message | ProtocolError | None
"""A message from the host; None: the end of its output."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Runtime host configuration."""

    logs_dir: Path
    """Folder for the logs of the host and of the runtime; created where missing."""
    mode: Mode = Mode.EMBEDDED
    """``EMBEDDED``: the packaged models, without the network.  ``PUBLIC``: Foundry Local's catalog.  ``FOLDER``: only
    what is added later, without the network."""
    catalog_url: str | None = None
    """Public mode: a catalog in place of Microsoft's; must end in ``/asset-gallery/v1.0/models``."""
    model_cache_dir: Path | None = None
    """Public mode: where downloaded models lie; None: ``~/.foundry/cache/models``, as for the user's other programs."""
    app_data_dir: Path | None = None
    """Public mode: the runtime's own data; None: ``~/.foundry``."""
    temp_dir: Path | None = None
    """Parent of the host's temporary folder; None: the system's."""
    log_level: str = "information"
    """``verbose``, ``debug``, ``information``, ``warning``, ``error`` or ``fatal``."""
    start_s: float = 30.0
    """Deadline of the start, until a connection to the web service has been answered."""
    silence_s: float = 30.0
    """A busy host without a sign of life for so many seconds is hung (it sends one per second)."""
    environment: Mapping[str, str] | None = None
    """Environment of the process; None: this one's."""


class Mail:
    """Mailbox for host messages: one box per chat, rest in :attr:`heard`."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._boxes: dict[int, queue.SimpleQueue[Heard]] = {}
        self._ended = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def box(self, command_id: int) -> Iterator[queue.SimpleQueue[Heard]]:
        """Box for the answers to a command, while the context lasts."""
        box: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        with self._lock:
            self._boxes[command_id] = box
            if self._ended:
                box.put(None)
        try:
            yield box
        finally:
            with self._lock:
                del self._boxes[command_id]

    def put(self, message: Message | ProtocolError) -> None:
        """Deliver a message."""
        command_id = getattr(message, "id", None)
        with self._lock:
            box = self._boxes.get(command_id) if isinstance(command_id, int) else None
        (self.heard if box is None else box).put(message)

    def end(self) -> None:
        """Tell all readers that no more messages come."""
        with self._lock:
            self._ended = True
            for box in self._boxes.values():
                box.put(None)
        self.heard.put(None)


class HostProcess:
    """A host process, its pipes, its log and its temporary folder."""

    def __init__(self, config: HostConfig) -> None:
        """Start the process and send it its :class:`Start`."""
        remove_stale(config.temp_dir)
        workspace = Workspace(config.temp_dir)
        try:
            if config.mode is Mode.EMBEDDED:
                workspace.link(embedded_models())
            logs = config.logs_dir.absolute()
            logs.mkdir(parents=True, exist_ok=True)
            # Embedded models and folders are this run's own; others share the user's cache with other programs.
            ours = config.mode is not Mode.PUBLIC
            start = Start(
                mode=config.mode,
                logs_dir=str(logs),
                app_name="pytest-flperf" if ours else "foundry",
                parent_pid=os.getpid(),
                die_with_parent=threading.current_thread() is threading.main_thread(),
                app_data_dir=str(workspace.path) if ours else _text(config.app_data_dir),
                model_cache_dir=str(workspace.model_cache_dir) if ours else _text(config.model_cache_dir),
                catalog_url=None if ours else config.catalog_url,
                log_level=config.log_level,
            )
            self.log_path, self._process = _spawn(logs, workspace.path.name, config.environment)
        except BaseException:
            workspace.remove()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._mail = Mail()
        self.heard = self._mail.heard
        # The thread gets the stream and the mail, not self, so that an unused handle can be garbage-collected.
        listener = threading.Thread(
            target=_listen, args=(self._process.stdout, self._mail), name="flperf-host-listener", daemon=True
        )
        listener.start()
        self._speaking = threading.Lock()
        self.workspace = workspace
        self._end = weakref.finalize(self, _end, self._process, listener, workspace)
        with contextlib.suppress(OSError):
            self.say(start)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may still hang)."""
        return self._process.poll() is None

    def say(self, message: Message) -> None:
        """Send a message; raises OSError if the host is gone."""
        stream = self._process.stdin
        if stream is None or stream.closed:
            raise BrokenPipeError("the host has been ended")
        with self._speaking:
            stream.write(encode(message))
            stream.flush()

    def converse(self, command: Command, deadline_s: float, cancel_s: float) -> Heard:
        """Send a parallel command; returns its answer, None without a host.

        Cancelled after ``deadline_s``; raises TimeoutError if it hasn't ended ``cancel_s`` after that.
        """
        with self._mail.box(command.id) as box:
            for message, patience_s in ((command, deadline_s), (Cancel(command.id), cancel_s)):
                with contextlib.suppress(OSError):  # the listener will report the end
                    self.say(message)
                with contextlib.suppress(queue.Empty):
                    return box.get(timeout=patience_s)
        raise TimeoutError

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to end; False if it has not."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def exit_words(self) -> str:
        """How the process ended, in words."""
        self.wait(1.0)
        code = self._process.returncode
        return "closed its output but is still running" if code is None else how_ended(code)

    def end(self) -> None:
        """Kill the process, close the pipes, remove the temporary folder.

        May be called again.
        """
        self._end()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _spawn(logs: Path, name: str, environment: Mapping[str, str] | None) -> tuple[Path, subprocess.Popen[bytes]]:
    log_path = logs / f"{name}.log"
    with log_path.open("ab") as log:
        process = spawn_module(
            "pytest_flperf.foundry_host.host",
            stderr=log,
            environment=_surroundings(os.environ if environment is None else environment),
        )
    return log_path, process


def _surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """The host's environment: loopback without a proxy, and no telemetry."""
    result = dict(environment)
    # The native HTTP client obeys HTTP_PROXY, also for a catalog on loopback.
    present = [value for key in ("no_proxy", "NO_PROXY") for value in result.get(key, "").split(",") if value.strip()]
    result["no_proxy"] = result["NO_PROXY"] = ",".join(dict.fromkeys([*present, *_LOOPBACK]))
    # The SDK's own switch does not reach onnxruntime and onnxruntime-genai, which report for themselves.
    result["ORT_DISABLE_TELEMETRY"] = result["ORT_TELEMETRY_DISABLED"] = "1"
    return result


def _listen(stream: IO[bytes], mail: Mail) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline(MAX_LINE_BYTES + 1):
            try:
                mail.put(decode(line))
            except ProtocolError as error:
                mail.put(error)
    mail.end()


def _end(process: subprocess.Popen[bytes], listener: threading.Thread, workspace: Workspace) -> None:
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
    listener.join(1.0)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            # Bytes that the host never read don't matter here.
            with contextlib.suppress(OSError):
                stream.close()
    workspace.remove()
