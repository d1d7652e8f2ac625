"""Child main loop: receives items, sends back results.

An item that needs too much memory or time ends the process; the parent starts another one for the next item.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final, TypeAlias

from pytest_flperf.bounded.frames import MARK, read_frame, write_frame
from pytest_flperf.bounded.limits import Limits, disarm, keep_within, rearm

__all__ = ["OUT_OF_MEMORY", "PREPARING_S", "ImpossibleError", "Work", "serve"]

Work: TypeAlias = Callable[[Any], float | str | list[float]]
"""From an item to its result."""

OUT_OF_MEMORY: Final = 77
"""The exit code that says so."""
PREPARING_S: Final = 5.0
"""Processor time for what a task needs once, libraries above all, beyond what one item may take."""
_TELL_AFTER_S: Final = 0.05
"""Results are sent this often: a message for each would take longer than most items."""
_LOOK_S: Final = 5.0
_TEXT: Final = 200


class ImpossibleError(ValueError):
    """An item can't have a result; its text says why."""


def serve(prepare: Callable[[Any], Work], arguments: list[str]) -> None:
    """Serve items until the parent is gone.

    Args:
        prepare: Returns the function for a task; what it raises is the reason why each item has no result.  It has
            ``PREPARING_S`` more than an item, so that imports cost no item its result.
        arguments: Time in seconds, memory in MB, the parent's process id.

    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    limits, parent_pid = Limits(float(arguments[0]), int(arguments[1])), int(arguments[2])
    # Away from the standard streams: nothing that is imported here may write between the frames.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    outgoing.write(MARK)
    outgoing.flush()
    keep_within(limits)
    sys.set_int_max_str_digits(0)  # long numbers are what they are; what takes too long has its limit
    worker = _Worker(prepare, limits, outgoing)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while _waits(incoming, parent_pid):
            worker.take(incoming)


class _Worker:
    def __init__(self, prepare: Callable[[Any], Work], limits: Limits, outgoing: BinaryIO) -> None:
        self._prepare = prepare
        self._limits = limits
        self._outgoing = outgoing
        self._task: Any = None
        self._work: Work

    def take(self, incoming: BinaryIO) -> None:
        """Work through one message."""
        results: list[Any] = []
        try:
            task, items = read_frame(incoming)
            self._all(task, items, results)
        except MemoryError:
            disarm()
            with contextlib.suppress(MemoryError):
                self._tell(results)
            os._exit(OUT_OF_MEMORY)  # what is left of it may be in pieces
        disarm()
        if results:
            self._tell(results)

    def _all(self, task: Any, items: list[Any], results: list[Any]) -> None:
        rearm(self._limits.time_s + PREPARING_S)
        reason = _tried(self._make_ready, task)
        self._tell([])  # ready: what follows is the items' own time
        told = time.monotonic()
        for item in items:
            rearm(self._limits.time_s)
            results.append(reason or _tried(self._work, item))
            if time.monotonic() - told > _TELL_AFTER_S:
                self._tell(results)
                results.clear()
                told = time.monotonic()

    def _make_ready(self, task: Any) -> None:
        if task != self._task:
            self._work = self._prepare(task)
        self._task = task  # the same text next time, which is quick to compare

    def _tell(self, results: list[Any]) -> None:
        write_frame(self._outgoing, results)


def _tried(do: Callable[[Any], Any], subject: Any) -> Any:
    """Call a function; a tuple with the reason where it fails."""
    try:
        return do(subject)
    except MemoryError:
        raise
    except RecursionError:
        return ("it is nested too deep",)
    except ImpossibleError as error:
        return (str(error)[:_TEXT],)
    except Exception as error:  # noqa: BLE001 - whatever a library raises for hostile data
        return (f"{type(error).__name__}: {str(error).partition(chr(10))[0][:_TEXT]}",)


def _waits(incoming: BinaryIO, parent_pid: int) -> bool:
    """Wait for a message or the end of the parent.

    A closed pipe is not enough: a fork of the parent may hold it open.
    """
    if sys.platform == "win32":
        return True
    while not select.select([incoming], [], [], _LOOK_S)[0]:
        if os.getppid() != parent_pid:
            return False
    return True
