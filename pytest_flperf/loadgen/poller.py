"""Socket poller: epoll where available, selectors elsewhere.

The selectors module adds about 1 µs to every event.
"""

from __future__ import annotations

import select
import selectors
import sys
from typing import Any, Final, Protocol

__all__ = ["MOST_EVENTS", "Poller", "new_poller"]

MOST_EVENTS: Final = 64
"""In one turn of a loop, where the system can say so: those that wait longest come first in the next one."""


class Poller(Protocol):
    """Watches sockets by their file number."""

    read_flag: int
    """An event that says readable and nothing else."""
    write_flag: int
    """The bit of an event that says writable; any other bit means: read."""

    def watch(self, fd: int, *, write: bool) -> None:
        """Watch a socket for reading, and for writing on request."""

    def change(self, fd: int, *, write: bool) -> None:
        """Change the watched events of a socket."""

    def forget(self, fd: int) -> None:
        """Stop watching; must come before the socket is closed."""

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        """``(file number, event bits)`` of ready sockets; empty after ``timeout_s``."""

    def close(self) -> None:
        """Close the poller's own file descriptor."""


if sys.platform == "linux":

    class _Epoll:
        read_flag = select.EPOLLIN
        write_flag = select.EPOLLOUT

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.forget = self._epoll.unregister
            self.close = self._epoll.close

        def watch(self, fd: int, *, write: bool) -> None:
            self._epoll.register(fd, select.EPOLLIN | (select.EPOLLOUT if write else 0))

        def change(self, fd: int, *, write: bool) -> None:
            self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if write else 0))

        def wait(self, timeout_s: float) -> list[tuple[int, int]]:
            return self._epoll.poll(timeout_s, MOST_EVENTS)


class _Selector:
    """Poller for systems without epoll.

    select on Windows: about 500 sockets; kqueue on macOS.
    """

    read_flag = selectors.EVENT_READ
    write_flag = selectors.EVENT_WRITE

    def __init__(self) -> None:
        self._selector: Any = selectors.DefaultSelector()

    def watch(self, fd: int, *, write: bool) -> None:
        self._selector.register(fd, selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0))

    def change(self, fd: int, *, write: bool) -> None:
        self._selector.modify(fd, selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0))

    def forget(self, fd: int) -> None:
        self._selector.unregister(fd)

    def close(self) -> None:
        self._selector.close()

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(timeout_s)]


def new_poller() -> Poller:
    """Create the best poller of this system."""
    if sys.platform == "linux":
        return _Epoll()
    return _Selector()
