"""Signals deferred while a plan runs, so that no result is lost.

A signal between two statements could otherwise lose a finished request.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["STOP_SIGNALS", "Interrupts"]

STOP_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""What a person, a terminal that closes or a CI system sends to end a program; not every system has all."""
_PATIENCE_S: Final = 5.0
"""Longer than a plan takes to end: a signal that comes later says that something hangs."""


class Interrupts:
    """Context manager that defers SIGINT, SIGTERM and the like.

    On leaving, the first signal goes to the handler that was there before.

    More of them are held back as well, because impatient people press Ctrl-C twice and CI systems send SIGTERM after
    SIGINT; one that comes seconds after the first is not.  Outside the main thread, where Python can't set handlers,
    nothing is held back.
    """

    def __init__(self) -> None:
        self._holds = False
        self._pending: tuple[int, FrameType | None] | None = None
        self._patient_until = 0.0
        self._previous: dict[int, Any] = {}

    @property
    def pending(self) -> bool:
        """Whether a signal came."""
        return self._pending is not None

    def _hold(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._holds:  # it came while handlers were exchanged, and may have left this one behind
            self._deliver(number, frame)
        elif self._pending is None:
            self._pending = (number, frame)
            self._patient_until = now + _PATIENCE_S
        elif now >= self._patient_until:
            self._deliver(number, frame)

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                previous = signal.getsignal(number)
                if previous not in (None, signal.SIG_IGN):  # what is ignored stays ignored
                    self._previous[number] = previous
                    signal.signal(number, self._hold)
            self._holds = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holds = False
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._pending is not None:
            self._deliver(*self._pending)
