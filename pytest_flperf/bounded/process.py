"""Child process for hostile items: runs each within limits.

It works item by item, and is ended where an item needs too much.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Final, Self, TypeAlias

from pytest_flperf._text import harmless
from pytest_flperf.bounded.frames import read_frame, skip_to_mark, write_frame
from pytest_flperf.bounded.job import KillOnClose
from pytest_flperf.bounded.limits import Limits, Use
from pytest_flperf.bounded.worker import OUT_OF_MEMORY, PREPARING_S

__all__ = ["BoundedProcess", "NoResult", "Result", "Stop"]

Stop: TypeAlias = Callable[[], str]
"""Returns the reason to stop; empty: go on.  Once it returns a reason, it always does."""

_MAIN: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from pytest_flperf.bounded.worker import serve;"
    " from importlib import import_module; serve(import_module(sys.argv.pop(1)).prepare, sys.argv[1:])"
)
_TICK_S: Final = 0.1
_STARTING_S: Final = 30.0
_LAST_WORDS_BYTES: Final = 1_000
_LAST_WORDS: Final = 200


@dataclass(frozen=True, slots=True)
class NoResult:
    """Reason why an item gave no result."""

    reason: str
    """In words: ``took longer than 2 s``."""


Result: TypeAlias = float | str | list[float] | NoResult


class BoundedProcess:
    """Runs a module's ``prepare`` in a child process, within limits.

    For ``prepare`` see :func:`~pytest_flperf.bounded.worker.serve`.  The process starts with the first item, and
    again after an item that ended it.
    """

    def __init__(self, module: str, limits: Limits) -> None:
        """Start nothing yet; only the child imports ``module``."""
        self._module = module
        self._limits = limits
        self._child: _Child | None = None
        self.ended = 0
        """How many items have ended the process."""

    @property
    def pid(self) -> int | None:
        """Process id, or None while no process runs."""
        return self._child.process.pid if self._child is not None else None

    def run(self, task: str, items: Sequence[Any], stop: Stop) -> list[Result]:
        """Return a result for each item, in order.

        An exception that interrupts it ends the process.

        Args:
            task: Argument of ``prepare``; the child keeps the result for the last task.
            items: Of builtin types.
            stop: Called ten times a second, or more often.

        """
        results: list[Result] = []
        size = len(items)
        while len(results) < len(items):
            if why := stop():
                return results + [NoResult(why)] * (len(items) - len(results))
            some = items[len(results) : len(results) + size]
            found, fault = self._exchange(task, some, stop)
            results += found
            if not fault:
                size *= 2
                continue
            # One of those without a result is to blame; sending each alone shows which.
            if len(some) - len(found) == 1:
                self.ended += 1
                results.append(NoResult(fault))
            size = 1
        return results

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, task: str, items: Sequence[Any], stop: Stop) -> tuple[list[Result], str]:
        """Results of one message, and why some are missing.

        The reason is empty also where ``stop`` ended it.
        """
        try:
            if self._child is None:
                self._child = _Child(self._module, self._limits)
            found, fault = self._child.exchange((task, list(items)), len(items), stop)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self.close()
            return [], f"its process can't be started: {getattr(error, 'strerror', None) or error}"
        except BaseException:
            self.close()
            raise
        if len(found) < len(items):
            self.close()
        return found, fault


class _Child:
    """One child process, from start to end."""

    def __init__(self, module: str, limits: Limits) -> None:
        self._limits = limits
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - end() closes it
        try:
            self.process = _spawn(module, limits, self._log)
        except BaseException:
            self._log.close()
            raise
        self._job = KillOnClose(self.process, limits.memory_mb)
        self._talk: threading.Thread | None = None
        self._began = False

    def exchange(self, message: tuple[str, list[Any]], count: int, stop: Stop) -> tuple[list[Result], str]:
        """Send a message and collect results, as :meth:`BoundedProcess._exchange`.

        After fewer results than items the process can't be used again.
        """
        replies: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        # In another thread, so that this one can give up a child that neither reads nor writes, on any system.
        args = (self._pipes, message, count, replies, self._talk is None)
        talk = threading.Thread(target=_talk, args=args, name="flperf-bounded", daemon=True)
        talk.start()
        self._talk = talk
        found: list[Result] = []
        heard, seen, extra_s = time.monotonic(), Use(), PREPARING_S
        while len(found) < count:
            try:
                told = replies.get(timeout=_TICK_S)
            except queue.Empty:
                seen = seen.later(self.process.pid)
                starting_s = 0.0 if self._began else _STARTING_S
                fault = self._limits.exceeded(seen, time.monotonic() - heard - starting_s, extra_s)
                if fault or stop():
                    return found, fault
                continue
            if told is None:
                return found, self._why_it_ended()
            found += [NoResult(each[0]) if type(each) is tuple else each for each in told]
            heard, seen, extra_s = time.monotonic(), Use(), 0.0
            self._began = True
            if len(found) < count and stop():
                break
        return found, ""

    def end(self) -> None:
        """Kill the process with what it started, and close its pipes and files."""
        with contextlib.suppress(OSError):
            if sys.platform != "win32" and self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # it leads a session of its own
            self.process.kill()
        self.process.wait()
        if self._talk is not None:
            self._talk.join()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        self._job.close()
        self._log.close()

    @property
    def _pipes(self) -> tuple[BinaryIO, BinaryIO]:
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        return process.stdin, process.stdout  # type: ignore[return-value]

    def _why_it_ended(self) -> str:
        code = self.process.wait()
        if code == OUT_OF_MEMORY:
            return self._limits.too_large
        if sys.platform != "win32" and code == -signal.SIGPROF:
            return self._limits.too_slow
        words = f"ended its process with exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                words = f"ended its process by {signal.Signals(-code).name}"
        return words + self._last_words()

    def _last_words(self) -> str:
        """Last line of the child's standard error; empty unless it crashed."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        shown = harmless(last[:_LAST_WORDS])
        return f" ({shown})" if shown else ""


def _talk(
    pipes: tuple[BinaryIO, BinaryIO],
    message: tuple[str, list[Any]],
    count: int,
    replies: queue.SimpleQueue[list[Any] | None],
    first: bool,
) -> None:
    """Send a message and forward its results; None: the process is gone."""
    outgoing, incoming = pipes
    try:
        if first:
            skip_to_mark(incoming)
        write_frame(outgoing, message)
        while count > 0:
            told = read_frame(incoming)
            count -= len(told)
            replies.put(told)
    except (EOFError, OSError, ValueError, MemoryError, OverflowError):  # a pipe that was closed, what is no frame
        replies.put(None)


def _spawn(module: str, limits: Limits, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # Its path is the interpreter's own (-P: without the current folder) and, at the end, this package's: a file
    # called json.py in a project under test must not become the child's json.
    package_path = str(Path(__file__).parents[2])
    arguments = [package_path, module, str(limits.time_s), str(limits.memory_mb), str(os.getpid())]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _MAIN, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
