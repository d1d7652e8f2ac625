"""Time and memory limits that a child process sets itself."""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass
from typing import Final

__all__ = ["Limits", "disarm", "keep_within", "rearm"]

_WALL_TIMES: Final = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and memory limits of one item; exceeding them ends the child."""

    time_s: float
    """Processor time: a busy machine costs no item its result."""
    memory_mb: int
    """Of the whole child, in units of 2²⁰ bytes."""

    def wall_s(self, extra_s: float = 0.0) -> float:
        """Wall-clock limit, for a stopped process uses no processor time.

        ``extra_s``: more processor time that the item may use.
        """
        return (self.time_s + extra_s) * _WALL_TIMES

    @property
    def too_slow(self) -> str:
        """Reason why an item that took too long has no result."""
        return f"took longer than {self.time_s:g} s"

    @property
    def too_large(self) -> str:
        """Reason why an item that needed too much memory has no result."""
        return f"needed more than {self.memory_mb} MB"


if sys.platform == "win32":

    def keep_within(limits: Limits) -> None:
        """Do nothing: the parent enforces the limits.

        By a job object, and by checks of time and memory.
        """

    def rearm(time_s: float) -> None:
        """Do nothing: the parent watches the time."""

    def disarm() -> None:
        """Do nothing: there is no timer."""

else:

    def keep_within(limits: Limits) -> None:
        """Limit this process's memory and start its timer."""
        import resource

        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # a parent may have passed on that the signal is ignored
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its end is expected, and worth no dump
        if sys.platform == "linux":  # elsewhere the parent checks the memory
            with contextlib.suppress(OSError, ValueError):
                most = limits.memory_mb << 20
                resource.setrlimit(resource.RLIMIT_DATA, (most, most))

    def rearm(time_s: float) -> None:
        """Restart the timer for the next item.

        After that much processor time the OS ends this process, whatever it is doing.
        """
        signal.setitimer(signal.ITIMER_PROF, time_s)

    def disarm() -> None:
        """Stop the timer."""
        signal.setitimer(signal.ITIMER_PROF, 0)
