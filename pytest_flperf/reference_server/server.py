"""Reference server for tests, in a child process or a thread."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from pytest_flperf.reference_server.log import LogEntry
from pytest_flperf.reference_server.loop import ServerLoop
from pytest_flperf.reference_server.options import ReferenceConfig

__all__ = ["ReferenceServer", "ReferenceServerError"]

_START_S: Final = 20.0
_ANSWER_S: Final = 60.0
_STOP_S: Final = 5.0
_MOST_SHOWN_BYTES: Final = 4000


class ReferenceServerError(RuntimeError):
    """The server did not start, or has ended."""


class ReferenceServer:
    """OpenAI-compatible server with a known schedule and a true log.

    By default it runs in a child process, so that it costs the caller's interpreter nothing; the child ends with its
    parent, however the parent ends.  ``in_thread`` runs it in a thread of this process, for tests of functions.
    """

    def __init__(self, config: ReferenceConfig | None = None, *, in_thread: bool = False) -> None:
        self._config = ReferenceConfig() if config is None else config
        self._runner: _Child | _Thread | None = None
        self._in_thread = in_thread

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the server; returns when it accepts connections."""
        if self._runner is None:
            self._runner = _Thread(self._config) if self._in_thread else _Child(self._config)
        return self

    def stop(self) -> None:
        """Stop the server and close every connection; safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop()

    @property
    def config(self) -> ReferenceConfig:
        """Settings for new requests."""
        return self._config

    @property
    def host(self) -> str:
        """IP address, without brackets."""
        return self._config.host

    @property
    def port(self) -> int:
        """Port number."""
        return self._running().port

    @property
    def url(self) -> str:
        """Root URL ``http://127.0.0.1:PORT``, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._config.cert_file else 'http'}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Base URL ``http://127.0.0.1:PORT/v1`` for the openai client."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._running().pid

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """Log entries of all chat requests, in order of arrival.

        Requests that are still open are included.
        """
        return tuple(LogEntry.from_json(entry) for entry in self._running().command("log"))

    @property
    def cpu_s(self) -> float:
        """Processor time of the server's process (or thread), in seconds."""
        return float(self._running().command("status")["cpu_s"])

    @property
    def troubles(self) -> tuple[str, ...]:
        """Tracebacks of the server's own errors, the newest last.

        Empty as long as all is well.
        """
        return tuple(self._running().command("status")["troubles"])

    def clear_log(self) -> None:
        """Forget finished requests."""
        self._running().command("clear")

    def refuse(self) -> None:
        """Stop listening; the port stays reserved, open connections continue."""
        self._running().command("refuse")

    def accept(self) -> None:
        """Listen again."""
        self._running().command("accept")

    def reconfigure(self, config: ReferenceConfig) -> None:
        """Change schedules, faults and models for new requests.

        Address, log file and TLS stay as they are.
        """
        self._running().command("config " + json.dumps(config.to_json()))
        self._config = config

    def _running(self) -> _Child | _Thread:
        if self._runner is None:
            raise ReferenceServerError("the reference server is not running; call start() or use it as a context")
        return self._runner


def carry_out(loop: ServerLoop, line: str) -> Any:
    """Run a command of the control channel in the loop's thread.

    Returns what JSON can hold.
    """
    word, _, rest = line.partition(" ")
    match word:
        case "log":
            return [entry.to_json() for entry in loop.call(loop.entries)]
        case "status":
            return {"cpu_s": loop.call(loop.cpu_s), "troubles": loop.call(lambda: list(loop.troubles))}
        case "clear":
            loop.call(loop.clear)
        case "refuse":
            loop.call(loop.refuse)
        case "accept":
            loop.call(loop.accept)
        case "config":
            config = ReferenceConfig.from_json(json.loads(rest))
            loop.call(lambda: loop.reconfigure(config))
        case _:
            return {"error": f"unknown command: {ascii(word)[:100]}"}
    return None


class _Thread:
    """Server loop in a thread of this process."""

    def __init__(self, config: ReferenceConfig) -> None:
        self._loop = ServerLoop(config)
        self.port: Final[int] = self._loop.port
        self.pid: Final = os.getpid()
        self._thread = threading.Thread(target=self._loop.run, name="flperf-reference", daemon=True)
        self._thread.start()

    def command(self, line: str) -> Any:
        if not self._thread.is_alive():
            raise ReferenceServerError("the reference server's thread has ended")
        return carry_out(self._loop, line)

    def stop(self) -> None:
        self._loop.stop()
        self._thread.join(_STOP_S)


class _Child:
    """Server loop in a child process.

    It is controlled by lines over its standard streams.
    """

    def __init__(self, config: ReferenceConfig) -> None:
        self._lock = threading.Lock()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        # a file and no pipe: it needs no reader while the child lives
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        paths = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in paths if path))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pytest_flperf.reference_server", "--json", "--config", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, name="flperf-reference-answers", daemon=True)
        self._reader.start()
        try:
            self._write(json.dumps(config.to_json()))
            said = self._greeting()
            self.port: Final[int] = int(said["port"])
            self.pid: Final[int] = int(said["pid"])
        except BaseException:
            self.stop()
            raise

    def command(self, line: str) -> Any:
        with self._lock:
            self._write(line)
            return self._answer(_ANSWER_S)

    def stop(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_S)
        self._errors.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line.decode(errors="replace"))
        self._lines.put("")

    def _greeting(self) -> dict[str, Any]:
        """Read the address line from the child's output.

        What starts Python may print before that (``sitecustomize``, a ``.pth`` file).
        """
        while True:
            with contextlib.suppress(json.JSONDecodeError):
                said = self._answer(_START_S)
                if isinstance(said, dict) and "port" in said:
                    return said

    def _answer(self, timeout_s: float) -> Any:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise ReferenceServerError(f"the reference server has not answered for {timeout_s:g} s") from None
        if not line:
            self._lines.put("")
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> ReferenceServerError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._errors.seek(0)
        said = self._errors.read()[-_MOST_SHOWN_BYTES:].decode(errors="replace").strip()
        return ReferenceServerError(f"the reference server has ended (exit {self._process.returncode}): {said}")
