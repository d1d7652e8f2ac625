"""Machine lock of a run: waiting with messages and timeout."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.measurement.machine_lock import Holder, MachineLock
from pytest_flperf.measurement.runner import NotReadyError
from pytest_flperf.session.option_types import duration_words
from pytest_flperf.session.time_limit import OutOfTimeError, TimeLimit

__all__ = ["MachineBusyError", "SessionLock"]

_POLL_S: Final = 0.2
_SAY_EVERY_S: Final = 60.0
_TODAY_S: Final = 12 * 3_600.0


class MachineBusyError(NotReadyError):
    """Another run held the machine for longer than this one waits."""


class SessionLock:
    """Machine lock held from the first case to the run's end.

    If other workers of the same run measure on this machine (tests with the fixture, ``-n 2``), each holds the lock for
    one case at a time and they take turns.  Held for the whole session, each would wait for the others to end.
    """

    def __init__(
        self, lock: MachineLock, timeout_s: float | None, say: Callable[[str], None], *, in_turns: bool = False
    ) -> None:
        """Create the lock without taking it.

        ``timeout_s``: how long to wait for another run; None: the lock isn't used.  ``say`` prints a line.
        """
        self._lock = lock
        self._timeout_s = timeout_s
        self._say = say
        self._in_turns = in_turns
        self._nested = False
        self._refused = ""

    @property
    def problem(self) -> str:
        """Note on why the lock could not be used.

        Empty if it could.
        """
        if not self._lock.problem:
            return ""
        return f"no lock: another run may have measured at the same time ({printable(self._lock.problem, 300)})"

    def try_take(self) -> bool:
        """Take the lock if free; returns whether this session may measure."""
        if self._timeout_s is None or self._nested or self._lock.try_take():
            return True
        holder = self._lock.holder()
        self._nested = holder is not None and self._lock.is_outer(holder)
        return self._nested

    def take(self, limit: TimeLimit) -> None:
        """Wait for the lock.

        Raises:
            MachineBusyError: The wait timed out; later calls raise it at once.
            OutOfTimeError: The session's time is over.

        """
        if self._refused:
            raise MachineBusyError(self._refused)
        if self.try_take():
            return
        assert self._timeout_s is not None
        begun = last = said_at = time.monotonic()
        waited_s, said = 0.0, False
        while not self.try_take():
            holder = self._lock.holder()
            now = time.monotonic()
            if not (self._in_turns and holder is not None and self._lock.is_ours(holder)):
                waited_s += now - last  # turns of our own workers don't count as waiting for another run
            last = now
            if limit.over:
                raise OutOfTimeError
            if waited_s >= self._timeout_s:
                self._refused = self._refusal(holder)
                raise MachineBusyError(self._refused)
            if not said and not (holder is not None and self._lock.is_ours(holder)):
                said = True
                self._say(f"waiting up to {duration_words(self._timeout_s)} (--flperf-lock-timeout): {_words(holder)}")
            elif now - said_at >= _SAY_EVERY_S:
                said_at = now
                self._say(f"waited {duration_words(now - begun)} so far: {_words(holder)}")
            time.sleep(_POLL_S)
        if said:
            self._say(f"waited {duration_words(time.monotonic() - begun)}, now measuring")

    def case_over(self) -> None:
        """Release the lock after a case if workers take turns."""
        if self._in_turns:
            self._lock.release()

    def release(self) -> None:
        """Release the lock; safe to call twice."""
        self._lock.release()

    def _refusal(self, holder: Holder | None) -> str:
        assert self._timeout_s is not None
        waited = f"; waited {duration_words(self._timeout_s)}" if self._timeout_s else ""
        return (
            f"{_words(holder)}{waited}; --flperf-lock-timeout sets how long to wait for it; with 'none' runs measure "
            "at the same time"
        )


def _words(holder: Holder | None) -> str:
    if holder is None:
        return "another run is measuring on this machine"
    form = "%H:%M:%S" if abs(time.time() - holder.since_s) < _TODAY_S else "%Y-%m-%d %H:%M:%S"
    try:
        since = time.strftime(form, time.localtime(holder.since_s))
    except (ValueError, OverflowError, OSError):  # the file may hold anything
        since = "an unknown time"
    return f"pid {holder.pid} has been measuring on this machine since {since} ({printable(holder.command, 120)})"
