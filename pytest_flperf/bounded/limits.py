"""Limits on time and memory of a child process, set by itself."""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass

__all__ = ["Limits", "disarm", "keep_within", "rearm"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one item may take; what it needs beyond that ends the child."""

    time_s: float
    """Processor time: a busy machine costs no item its result."""
    memory_mb: int
    """Of the whole child, in units of 2²⁰ bytes."""

    @property
    def too_slow(self) -> str:
        """Why an item that took too long has no result."""
        return f"took longer than {self.time_s:g} s"

    @property
    def too_large(self) -> str:
        """Why an item that needed too much memory has no result."""
        return f"needed more than {self.memory_mb} MB"


if sys.platform == "win32":

    def keep_within(limits: Limits) -> None:
        """Nothing: the parent does it, with a job object and by its looks."""

    def rearm(time_s: float) -> None:
        """Nothing: the parent looks at the time."""

    def disarm() -> None:
        """Nothing, as there is no timer."""

else:

    def keep_within(limits: Limits) -> None:
        """Limit this process's memory, and have its timer end it."""
        import resource

        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # a parent may have passed on that it is ignored
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its end is expected, and worth no dump
        if sys.platform == "linux":  # elsewhere the parent looks at what it holds
            with contextlib.suppress(OSError, ValueError):
                most = limits.memory_mb << 20
                resource.setrlimit(resource.RLIMIT_DATA, (most, most))

    def rearm(time_s: float) -> None:
        """Begin anew: after so much processor time the system ends this process, whatever it does."""
        signal.setitimer(signal.ITIMER_PROF, time_s)

    def disarm() -> None:
        """Stop the timer."""
        signal.setitimer(signal.ITIMER_PROF, 0)
