"""A pytest of its own that measures, watched and disturbed from outside; and raw servers that behave badly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import psutil

from pytest_flperf.results.journal import JournalReader

HOST = "pytest_flperf.foundry_host.host"
LOAD = "pytest_flperf.loadgen.worker_main"
END_S = 600.0
"""How long a run may take that should end by itself: a bound for one that hangs, on a machine with other work."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def write_suite(folder: Path, *scenarios: dict[str, Any], **settings: Any) -> Path:
    """A suite file ``robust.json`` whose scenarios have a prompt and a few quick requests unless they say otherwise."""
    plain = {"prompt": "Hello", "max_tokens": 4, "iterations": 2, "warmup": 0}
    path = folder / "robust.json"
    path.write_text(
        json.dumps({"name": "robust", **settings, "scenarios": [{**plain, **scenario} for scenario in scenarios]})
    )
    return path


def until(condition: Callable[[], Any], what: str, seconds: float = END_S) -> Any:
    """Wait for a condition to become true; what it returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"within {seconds} s not seen: {what}")


class PytestRun:
    """``pytest --flperf-suite=robust.json …`` in a folder, as a process."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.folder = folder
        self.temp = folder / "temp"
        self.temp.mkdir(exist_ok=True)
        self._output = (folder / "output.txt").open("wb")
        ours = {"FLPERF_LOCK_DIR", "PYTEST_ADDOPTS"}  # set for all tests
        # Coverage takes a lock around its bookkeeping, which a signal's exception can leave locked for ever; and it
        # writes files of its own, which limits on files are not meant for.
        dull_names = ("PYTEST_", "FLPERF_", "COVERAGE_")
        dull = {name: value for name, value in os.environ.items() if name in ours or not name.startswith(dull_names)}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder)]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*command, "--flperf-suite=robust.json", *arguments],
            cwd=folder,
            env={**dull, "TMPDIR": str(self.temp), "COLUMNS": "100", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            preexec_fn=before,  # noqa: PLW1509 - limits of the child; this process has no other thread that forks
        )
        self._seen: set[psutil.Process] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._remember()
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        self._output.close()
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                process.kill()

    # ---- its processes

    def _remember(self) -> list[psutil.Process]:
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children(recursive=True)
        self._seen.update(children)
        return children

    def child(self, module: str) -> psutil.Process:
        """Its running child of that module, as soon as there is one."""

        def find() -> psutil.Process | None:
            for process in self._remember():
                with contextlib.suppress(psutil.Error):
                    if any(module in word for word in process.cmdline()) and process.status() != "zombie":
                        return process
            return None

        found = until(find, f"a child process of {module}")
        assert isinstance(found, psutil.Process)
        return found

    def children_of(self, module: str) -> list[psutil.Process]:
        """Its running children of that module, now."""
        found = []
        for process in self._remember():
            with contextlib.suppress(psutil.Error):
                if any(module in word for word in process.cmdline()):
                    found.append(process)
        return found

    def left(self) -> list[psutil.Process]:
        """Children that were seen and are still alive."""
        return [process for process in self._seen if process.is_running() and process.status() != "zombie"]

    def end(self, *, seconds: float = END_S) -> int:
        """Wait for the end; no child may be left.  Its exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running after {seconds} s:\n{self.output}"
            self._remember()  # which looks at every process of the machine
            time.sleep(0.05)
        until(lambda: not self.left(), "the end of every child process")
        return self.process.returncode

    def end_somehow(self, *, seconds: float = END_S) -> int:
        """Wait for the end, and of every child after it: who is killed takes nobody along in order."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running after {seconds} s:\n{self.output}"
            self._remember()  # which looks at every process of the machine
            time.sleep(0.05)
        until(lambda: not self.left(), "the end of every child process")
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._remember()
        self.process.send_signal(number)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to its children, as a terminal does for Ctrl-C."""
        for process in [*self._remember(), psutil.Process(self.process.pid)]:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    # ---- what it wrote

    @property
    def output(self) -> str:
        """What it printed so far."""
        return (self.folder / "output.txt").read_text(errors="replace")

    @property
    def report(self) -> Path:
        """The newest run's folder."""
        return max((path for path in (self.folder / "reports").glob("2*") if path.is_dir()), key=_age)

    def records(self, name: str) -> list[dict[str, Any]]:
        """The records of a journal; none while there is no file."""
        with contextlib.suppress(OSError, ValueError):
            return list(JournalReader(self.report / name))
        return []

    def measured(self, scenario: str) -> int:
        """Measured requests of a scenario in the journal so far."""
        return sum(
            record["phase"] == "measured" and f"::{scenario}[" in record["nodeid"]
            for record in self.records("journal.jsonl")
        )

    def wait_measured(self, scenario: str, count: int) -> None:
        """Wait until so many measured requests of a scenario have ended."""
        until(lambda: self.measured(scenario) >= count, f"{count} requests of {scenario}")

    @property
    def results(self) -> dict[str, Any]:
        """``results.json``."""
        found: dict[str, Any] = json.loads((self.report / "results.json").read_text())
        return found

    def case(self, scenario: str, model: str | None = None) -> dict[str, Any]:
        """A case of ``results.json``."""
        (found,) = [
            case
            for case in self.results["cases"]
            if case["scenario"] == scenario and (model is None or case["model"] == model)
        ]
        assert isinstance(found, dict)
        return found

    def outcomes(self) -> dict[str, str]:
        """The outcome of each scenario."""
        return {case["scenario"]: case["outcome"] for case in self.results["cases"]}


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


class RawServer:
    """Gives every connection to ``behave`` in a thread of its own."""

    def __init__(self, behave: Callable[[socket.socket, int], None], *, lists: bool = False) -> None:
        """``lists``: ``behave`` answers who asks for models as well; else there is no list, and nobody counts that."""
        self._behave = behave
        self._lists = lists
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.accepted = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if not self._lists and connection.recv(4, socket.MSG_PEEK) == b"GET ":
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                connection.close()
                return
            with self._counting:
                self.accepted += 1
                number = self.accepted
            self._behave(connection, number)


def read_request(connection: socket.socket) -> bytes:
    """One request, head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536) or _gone()
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < length:
        body += connection.recv(65_536) or _gone()
    return head + b"\r\n\r\n" + body


def _gone() -> bytes:
    raise ConnectionResetError


def answer(connection: socket.socket, words: Iterable[str] = ("Hel", "lo")) -> None:
    """A whole short streamed answer; the connection is closed."""
    chunks = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words]
    chunks.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = b"".join(b"data: " + json.dumps({"id": "x", "choices": [chunk]}).encode() + b"\n\n" for chunk in chunks)
    connection.sendall(HEAD + events + b"data: [DONE]\n\n")
    connection.close()


def free_temp() -> str:
    """The system's temporary folder."""
    return tempfile.gettempdir()
