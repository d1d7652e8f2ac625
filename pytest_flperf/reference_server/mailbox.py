"""Mailbox: calls from other threads into the loop's thread.

And how the loop waits for such calls, for sockets and for the next send.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["Mailbox", "Poller"]

_SELECT_LIMIT: Final = 1024  # FD_SETSIZE


class Poller:
    """Selector with the most precise timeout of the system."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        fileno = getattr(selector, "fileno", None)
        descriptor = fileno() if callable(fileno) else None
        selectable = isinstance(descriptor, int) and descriptor < _SELECT_LIMIT
        self._descriptor: Final = descriptor if selectable else None

    def wait(self, timeout_s: float) -> Iterable[tuple[selectors.SelectorKey, int]]:
        """Ready sockets, as soon as there are any, or after ``timeout_s``."""
        if self._descriptor is None or timeout_s <= 0:
            return self._selector.select(timeout_s)
        # epoll counts in milliseconds, select in microseconds; one descriptor, the epoll's own, is cheap to select on
        if select.select([self._descriptor], (), (), timeout_s)[0]:
            return self._selector.select(0)
        return ()


class _Call:
    """Pending function call."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.done = threading.Event()
        self.result: Any = None
        self._function = function

    def make(self) -> None:
        try:
            self.result = self._function()
        finally:
            self.done.set()


class Mailbox:
    """Queue of function calls for the loop's thread."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._calls: deque[_Call] = deque()
        self._inlet, self._outlet = socket.socketpair()
        self._inlet.setblocking(False)
        self._outlet.setblocking(False)
        selector.register(self._outlet, selectors.EVENT_READ, self._on_ready)

    def wake(self) -> None:
        """Wake the loop's thread."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            self._inlet.send(b"x")

    def call(self, function: Callable[[], Any], timeout_s: float) -> Any:
        """Call ``function`` in the loop's thread; returns its result.

        Raises TimeoutError where the loop doesn't respond.
        """
        waiting = _Call(function)
        self._calls.append(waiting)
        self.wake()
        if not waiting.done.wait(timeout_s):
            raise TimeoutError("the reference server's loop does not answer")
        return waiting.result

    def _on_ready(self, _events: int) -> None:
        with contextlib.suppress(OSError):
            self._outlet.recv(4096)
        self.make_calls()

    def make_calls(self) -> None:
        """Run the pending calls."""
        while self._calls:
            self._calls.popleft().make()

    def close(self) -> None:
        """Close the sockets."""
        self._inlet.close()
        self._outlet.close()
