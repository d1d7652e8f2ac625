"""Graceful end of a session on SIGINT, SIGTERM, SIGHUP and SIGBREAK."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import pytest

from pytest_flperf.loadgen.interrupts import STOP_SIGNALS

__all__ = ["STOPPER", "Stopper", "Terminated", "stopper_of"]

_NAME: Final = "flperf-stopper"
_SAME_WISH_S: Final = 1.0
"""A signal this soon after a raised one is not raised: Ctrl-C pressed twice, SIGTERM after SIGINT."""
_FINALISING_S: Final = 3.0
"""How long fixtures may take to end before another signal breaks them off."""
_ENDING_S: Final = 15.0
"""How long writing the results may take before another signal ends pytest at once."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, SIGHUP or SIGBREAK was received.

    Not an ``Exception``, unlike what ``pytest.exit`` raises: it can come in the middle of any code, and code that
    catches its own errors must not swallow it.
    """


class Stopper:
    """Signal handler that ends a session in order.

    The first signal is raised in the main thread, and a second one does not cut off what the first has begun.  The
    first is also remembered: if something swallows it (a bare ``except`` of a test, an object's ``__del__``), the next
    step of the session raises it again.  Once pytest ends the session, signals change nothing: results and table are
    being written.

    Ctrl-C in a test that measures nothing, and with ``--pdb``, works as it does without us: it may be part of the test,
    and belongs to the debugger.
    """

    def __init__(self, config: pytest.Config) -> None:
        # With --pdb, pytest starts the debugger on a KeyboardInterrupt.
        self._exits = bool(config.getoption("usepdb", default=False))
        self._only_lists = bool(config.getoption("collectonly") or config.getoption("setupplan"))
        self._pid = os.getpid()
        self._former: dict[int, Any] = {}
        self._raises_after_s: float | None = _SAME_WISH_S
        """How long after the last signal another one is raised; None: none is."""
        self._struck: int | None = None
        self._struck_at = self._raised_at = -_ENDING_S
        self._known = False
        self._measures: Callable[[], bool] = lambda: True
        """Whether the test under way measures; between tests as well."""
        self.on_signal: Callable[[], None] | None = None
        """Called at each signal that ends the session, in the middle of whatever runs."""

    @property
    def struck(self) -> bool:
        """Whether a signal came that ends the session."""
        return self._struck is not None

    def check(self) -> None:
        """Raise a received signal that was swallowed."""
        if self._struck is not None and not self._known:
            if threading.current_thread() is threading.main_thread():
                self._raised_at = time.monotonic()
            raise self._exception(self._struck)

    def install(self) -> None:
        """Install handlers for signals that have their default handler.

        A signal with any other handler keeps it.
        """
        if self._only_lists or self._former or threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            if signal.getsignal(number) == usual:
                self._former[number] = usual
                signal.signal(number, self._strike)

    @contextmanager
    def finalising(self) -> Iterator[None]:
        """Context of fixture teardown.

        Another signal breaks off the fixtures, once their time is over, and nothing after them.
        """
        self._raises_after_s = _FINALISING_S
        try:
            yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            if not self.struck:
                raise
        finally:
            self._raises_after_s = None

    def _strike(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._pid:  # a child that a test forked: it keeps its own way to end
            signal.signal(number, self._former[number])
            signal.raise_signal(number)
            return
        if number == signal.SIGINT and (not self._measures() or (self._exits and self._raises_after_s is not None)):
            raise KeyboardInterrupt
        now = time.monotonic()
        if self._struck is None:
            self._struck, self._struck_at = number, now
        if self.on_signal is not None:
            self.on_signal()
        if self._raises_after_s is not None and now - self._raised_at >= self._raises_after_s:
            self._raised_at = now
            raise self._exception(number)
        if self._raises_after_s is None and now - self._struck_at >= _ENDING_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _exception(self, number: int) -> BaseException:
        name = signal.Signals(number).name
        if number == signal.SIGINT:
            return KeyboardInterrupt()
        return pytest.exit.Exception(name, pytest.ExitCode.INTERRUPTED) if self._exits else Terminated(name)

    # ---- hooks

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Install the handlers, because processes start from here on."""
        self.install()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Raise no more signals after the end of the loop."""
        self.install()
        try:
            done = yield
            self.check()
        finally:
            self._raises_after_s = None
        return done

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Remember whether the running test is ours."""
        from pytest_flperf.integration.item_state import is_ours

        former, self._measures = self._measures, lambda: is_ours(item)  # it may request the fixture while it runs
        try:
            return (yield)
        finally:
            self._measures = former

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        """Raise a signal that the finished test swallowed.

        No other test begins then.
        """
        self.check()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Record that pytest ends the session."""
        self._raises_after_s = None
        self._known = True
        if self._struck is None:
            self._struck, self._struck_at = signal.SIGINT, time.monotonic()
            self._raised_at = self._struck_at

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Raise no more signals, unless fixtures hang."""
        self._raises_after_s = None
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Restore the former signal handlers."""
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()


STOPPER: Final[pytest.StashKey[Stopper]] = pytest.StashKey()
"""On the config: the stopper of the session."""


def stopper_of(config: pytest.Config) -> Stopper:
    """Stopper of this session, registered at first use."""
    stopper = config.stash.get(STOPPER, None)
    if stopper is None:
        stopper = config.stash[STOPPER] = Stopper(config)
        config.pluginmanager.register(stopper, _NAME)
    return stopper
