"""Signals that end a session: SIGINT, SIGTERM, SIGHUP and SIGBREAK, in order."""

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
"""A signal that comes so soon after one that was raised says the same: Ctrl-C pressed twice, SIGTERM after SIGINT."""
_FINALISING_S: Final = 3.0
"""So long fixtures may take to end before another signal breaks them off."""
_ENDING_S: Final = 15.0
"""So long the results may take to be written before another signal ends pytest at once."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or one of its kin came.

    No ``Exception``, unlike what ``pytest.exit`` raises: it comes in the middle of whatever runs, and must not be eaten
    by code that allows for its own errors.
    """


class Stopper:
    """Lets signals end a session in order, and no second one cut off what the first one has begun.

    The first is raised in the main thread.  It is remembered, too: where something swallows it all the same (a bare
    ``except`` of a test, an object's ``__del__``), the next step of the session raises it again.  As soon as pytest
    ends the session, signals are taken in and change nothing: results and table are on their way.

    Ctrl-C in a test that measures nothing, and with ``--pdb``, is as it is without us: it may be part of the test, and
    belongs to the debugger.
    """

    def __init__(self, config: pytest.Config) -> None:
        # With --pdb pytest takes a KeyboardInterrupt for a reason to debug.
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
        """Raise a signal that came and was swallowed."""
        if self._struck is not None and not self._known:
            if threading.current_thread() is threading.main_thread():
                self._raised_at = time.monotonic()
            raise self._exception(self._struck)

    def install(self) -> None:
        """Take over the signals that would end pytest in their usual way; those that somebody handles stay theirs."""
        if self._only_lists or self._former or threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            if signal.getsignal(number) == usual:
                self._former[number] = usual
                signal.signal(number, self._strike)

    @contextmanager
    def finalising(self) -> Iterator[None]:
        """Fixtures end: another signal breaks them off, if they have had their time, and nothing after them."""
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
        if os.getpid() != self._pid:  # a child that a test forked off: what ends it is its own
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
        """Processes start from here on."""
        self.install()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """The end of the loop is the end of what a signal can cut short."""
        self.install()
        try:
            done = yield
            self.check()
        finally:
            self._raises_after_s = None
        return done

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Know whose test runs."""
        from pytest_flperf.integration.item_phases import is_ours

        former, self._measures = self._measures, lambda: is_ours(item)  # it may ask for the fixture when it runs
        try:
            return (yield)
        finally:
            self._measures = former

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        """A test is over: no other one begins where it has swallowed a signal."""
        self.check()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Pytest ends the session."""
        self._raises_after_s = None
        self._known = True
        if self._struck is None:
            self._struck, self._struck_at = signal.SIGINT, time.monotonic()
            self._raised_at = self._struck_at

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """No signal is raised from here on, unless fixtures hang."""
        self._raises_after_s = None
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Give the signals back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()


STOPPER: Final[pytest.StashKey[Stopper]] = pytest.StashKey()
"""On the config: what ends the session in order."""


def stopper_of(config: pytest.Config) -> Stopper:
    """The stopper of this session, registered at its first use."""
    stopper = config.stash.get(STOPPER, None)
    if stopper is None:
        stopper = config.stash[STOPPER] = Stopper(config)
        config.pluginmanager.register(stopper, _NAME)
    return stopper
