"""Time and memory limits of a child process: set by itself, watched by its parent."""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass
from typing import Final

__all__ = ["Limits", "Use", "disarm", "keep_within", "rearm"]

_WALL_TIMES: Final = 10


@dataclass(frozen=True, slots=True)
class Use:
    """Time and memory observed since the child's last result."""

    first_s: float | None = None
    """Its processor time at the first look; None before that."""
    spent_s: float = 0.0
    """Processor time since then."""
    rss_mb: float = 0.0

    def later(self, pid: int) -> Use:
        """Update from another look; unchanged where nothing can be read."""
        import psutil

        try:
            process = psutil.Process(pid)
            times, rss = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return self
        cpu_s = times.user + times.system
        first_s = cpu_s if self.first_s is None else self.first_s
        return Use(first_s, cpu_s - first_s, rss / (1 << 20))


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

    def exceeded(self, seen: Use, silent_s: float, extra_s: float = 0.0) -> str:
        """Reason to end the child, by what its parent saw of it; empty: none.

        For limits that the OS does not enforce, such as memory on macOS.  The parent looks ten times a second.
        """
        if seen.spent_s > self.time_s + extra_s or silent_s > self.wall_s(extra_s):
            return self.too_slow
        return self.too_large if seen.rss_mb > self.memory_mb else ""

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
