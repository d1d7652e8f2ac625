"""A loopback path that takes longer by a known share: what comes back arrives later, by that share of its own time.

Every path keeps what comes back for a millisecond: an answer of 20 ms arrives after 21, and at a share of 0.10 after
23.1.  TTFT, time per token and end-to-end time are longer by exactly that share, whatever the server does; and since at
a share of 0 all waits alike, two paths take the same processor time from the server and differ in the share alone.
Where the system allows it, the path comes before other processes: its own waiting is no part of the test.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field

__all__ = ["main"]

_READ = 65_536
_PRIORITY = 10
_KEPT_S = 0.001
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


@dataclass(eq=False)
class _Passing:
    """One connection: a client's and the one to the server that answers it."""

    client: socket.socket
    server: socket.socket
    share: float
    asked_s: float = 0.0
    late: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self, readable: socket.socket) -> bool:
        """Read what has come; whether the connection goes on."""
        try:
            if _QUICK_ACK is not None and readable is self.server:
                # The server sends the next piece when this one is acknowledged, which may take 40 ms; the system
                # forgets this wish after a while.
                readable.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            data = readable.recv(_READ)
            if data and readable is self.client:
                self.asked_s = time.monotonic()
                self.server.sendall(data)
        except OSError:
            return False
        if data and readable is self.server:
            now = time.monotonic()
            self.late.append((self.asked_s + (1 + self.share) * (now - self.asked_s + _KEPT_S), data))
        return bool(data)

    def deliver(self) -> None:
        """Pass on what is due."""
        while self.late and self.late[0][0] <= time.monotonic():
            with contextlib.suppress(OSError):
                self.client.sendall(self.late[0][1])
            self.late.popleft()

    def close(self) -> None:
        """End both."""
        self.client.close()
        self.server.close()


def serve(server: tuple[str, int], listeners: dict[socket.socket, float]) -> None:
    """Pass everything on, until standard input ends.  By select, whose patience is not rounded to milliseconds."""
    passing: dict[socket.socket, _Passing] = {}
    while True:
        due = [each.late[0][0] for each in passing.values() if each.late]
        patience = max(min(due) - time.monotonic(), 0.0) if due else None
        for readable in select.select([sys.stdin, *listeners, *passing], [], [], patience)[0]:
            if readable is sys.stdin:
                return
            if readable in listeners:
                both = (readable.accept()[0], socket.create_connection(server))
                for each in both:
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                passing |= dict.fromkeys(both, _Passing(*both, listeners[readable]))
            elif readable in passing and not passing[readable].take(readable):
                gone = passing[readable]
                gone.close()
                passing = {sock: each for sock, each in passing.items() if each is not gone}
        for each in set(passing.values()):
            each.deliver()


def main() -> None:
    """Say a port for each share, then serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="HOST:PORT")
    parser.add_argument("shares", nargs="+", type=float)
    asked = parser.parse_args()
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    host, _, port = asked.server.rpartition(":")
    listeners = {socket.create_server(("127.0.0.1", 0)): share for share in asked.shares}
    print(*(each.getsockname()[1] for each in listeners), flush=True)
    serve((host, int(port)), listeners)


if __name__ == "__main__":
    main()
