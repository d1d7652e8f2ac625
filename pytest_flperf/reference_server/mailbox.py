"""How other threads reach the loop's thread, and how it waits for them, for sockets and for the next send."""

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
    """Waits on a selector, as exactly as the system can."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        fileno = getattr(selector, "fileno", None)
        descriptor = fileno() if callable(fileno) else None
        selectable = isinstance(descriptor, int) and descriptor < _SELECT_LIMIT
        self._descriptor: Final = descriptor if selectable else None

    def wait(self, timeout_s: float) -> Iterable[tuple[selectors.SelectorKey, int]]:
        """What is ready, as soon as something is, or after ``timeout_s``."""
        if self._descriptor is None or timeout_s <= 0:
            return self._selector.select(timeout_s)
        # epoll counts in milliseconds, select in microseconds; one descriptor, the epoll's own, is cheap to select on
        if select.select([self._descriptor], (), (), timeout_s)[0]:
            return self._selector.select(0)
        return ()


class _Call:
    """A function that waits to be called."""

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
    """Functions that other threads want the loop's thread to call."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._calls: deque[_Call] = deque()
        self._inlet, self._outlet = socket.socketpair()
        self._inlet.setblocking(False)
        self._outlet.setblocking(False)
        selector.register(self._outlet, selectors.EVENT_READ, self._on_ready)

    def wake(self) -> None:
        """Let the loop's thread look up from its waiting."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            self._inlet.send(b"x")

    def call(self, function: Callable[[], Any], timeout_s: float) -> Any:
        """What ``function`` returns when the loop's thread calls it; TimeoutError where it doesn't."""
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
        """Call what waits."""
        while self._calls:
            self._calls.popleft().make()

    def close(self) -> None:
        """Close the sockets."""
        self._inlet.close()
        self._outlet.close()
