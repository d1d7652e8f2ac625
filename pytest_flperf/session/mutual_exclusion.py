"""Mutual exclusion of measurements: one ``flperf.run`` at a time.

Each measures only while its own test runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pytest_flperf.measurement.runner import Bench, NotReadyError

__all__ = ["CallError", "Calls", "TurnError", "Turns", "UnheardFailures"]

_POLL_S: Final = 0.1
_PATIENCE_S: Final = 5.0


class TurnError(NotReadyError):
    """A measurement began inside another one, which can't end before it."""


_POOLS: Final = frozenset({"concurrent.futures.thread", "asyncio.threads", "anyio._backends._asyncio"})
"""Modules whose threads keep an exception until its result is read."""


class CallError(Exception):
    """``flperf.run`` was called where it can't measure; the text says why."""


class Turns:
    """Lock that lets one thread of a session measure at a time.

    Two at once would share a load process, and each would disturb what the other measures.
    """

    def __init__(self, bench: Callable[[], Bench | None]) -> None:
        """``bench`` returns the measuring bench, or None if there is none yet."""
        self._bench = bench
        self._lock = threading.Lock()
        self._holder: tuple[threading.Thread, str] | None = None

    @contextmanager
    def mine(self, nodeid: str, go_on: Callable[[], None]) -> Iterator[str]:
        """Wait for other measurements, then hold the turn.

        Yields a note on the wait; empty without one.

        Args:
            nodeid: What is going to be measured.
            go_on: Called while it waits; what it raises ends the waiting.

        Raises:
            TurnError: This thread is already measuring.

        """
        me, begun = threading.current_thread(), time.monotonic()
        holder = self._holder
        if holder is not None and holder[0] is me:
            raise TurnError(f"it began in the middle of another measurement, {holder[1]}")
        waited = not self._lock.acquire(blocking=False)
        if waited:
            while not self._lock.acquire(timeout=_POLL_S):
                go_on()
        self._holder = (me, nodeid)
        try:
            go_on()
            waited_s = time.monotonic() - begun
            note = f"waited {waited_s:.1f} s for another flperf.run of this session: one measures at a time"
            yield note if waited else ""
        finally:
            self._holder = None
            self._lock.release()

    @property
    def elsewhere(self) -> str:
        """Measurement under way outside the main thread; empty if none."""
        holder = self._holder
        return "" if holder is None or holder[0] is threading.main_thread() else holder[1]

    def cancel_elsewhere(self) -> None:
        """Cancel a measurement outside the main thread.

        Signal handlers may call this.
        """
        bench = self._bench()
        if self.elsewhere and bench is not None:
            bench.cancel()

    def end_elsewhere(self) -> str:
        """Cancel a measurement outside the main thread and await its end.

        Its results can then be kept.  Returns what has not ended in time; empty if nothing.
        """
        give_up_at = time.monotonic() + _PATIENCE_S
        while self.elsewhere and time.monotonic() < give_up_at:
            self.cancel_elsewhere()
            time.sleep(_POLL_S)
        return self.elsewhere

    def renew(self) -> None:
        """Allow measuring again after a cancel."""
        bench = self._bench()
        if bench is not None:
            bench.renew()


class Calls:
    """Calls of one test's ``flperf.run``, also in threads.

    No call begins after the test has ended.
    """

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._changed = threading.Condition()
        self._under_way: list[threading.Thread] = []
        self._over = False
        self._pid = os.getpid()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Register a call; raises CallError if none may begin."""
        if os.getpid() != self._pid:  # before taking a lock: a forked child may inherit it locked
            raise CallError("a forked child can't measure, because its results would be lost: call it in the test")
        with self._changed:
            self.go_on()
            self._under_way.append(threading.current_thread())
        try:
            yield
        finally:
            with self._changed:
                self._under_way.remove(threading.current_thread())
                self._changed.notify_all()

    def go_on(self) -> None:
        """Raise CallError if the test has ended."""
        if self._over:
            raise CallError(
                f"the test {self._nodeid} has ended, and its fixture with it: nothing was measured; use the flperf "
                "fixture in the test that measures, and let that test wait for its threads"
            )

    def end(self, while_waiting: Callable[[], None]) -> bool:
        """Refuse new calls and wait for running ones.

        Returns whether there were some.
        """
        with self._changed:
            self._over = True
            late = self._others_under_way()
            while self._others_under_way():
                while_waiting()
                self._changed.wait(_POLL_S)
        return late

    def _others_under_way(self) -> bool:
        me = threading.current_thread()  # an interrupt has ended this thread's call
        return any(each is not me and each.is_alive() for each in self._under_way)

    @property
    def over(self) -> bool:
        """Whether the test has ended."""
        return self._over


class UnheardFailures:
    """Failures of ``flperf.run`` in threads that no test sees.

    Without this record such a test would go on and pass.
    """

    def __init__(self) -> None:
        self._raised: list[BaseException] = []
        self._ended_a_thread = ""

    @property
    def first(self) -> str:
        """Message of the first such failure; empty if there is none."""
        return self._ended_a_thread or next((str(error) for error in self._raised if _is_left_in_a_pool(error)), "")

    @contextmanager
    def of_run(self) -> Iterator[None]:
        """Record the exception of one ``flperf.run``."""
        try:
            yield
        except BaseException as error:
            self._raised.append(error)
            raise

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Watch for threads that end with an exception.

        The existing ``threading.excepthook`` is still called.
        """
        former = threading.excepthook

        def hear(ended: threading.ExceptHookArgs) -> None:
            if any(ended.exc_value is each for each in self._raised):
                self._ended_a_thread = self._ended_a_thread or str(ended.exc_value)
            former(ended)

        threading.excepthook = hear
        try:
            yield
        finally:
            if threading.excepthook is hear:
                threading.excepthook = former


def _is_left_in_a_pool(error: BaseException) -> bool:
    """Whether a thread pool holds the error in an unread result.

    Reading that result would have raised the error again.
    """
    outermost = error.__traceback__
    return outermost is not None and outermost.tb_frame.f_globals.get("__name__") in _POOLS
