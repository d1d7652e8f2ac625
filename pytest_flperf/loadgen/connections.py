"""Connection pool of the load process: open and idle connections."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable

from pytest_flperf.loadgen.client_limits import client_limit
from pytest_flperf.loadgen.connection import Connection, Ended
from pytest_flperf.loadgen.plan import Destination
from pytest_flperf.loadgen.poller import Poller
from pytest_flperf.wire.tls import TlsOptions

__all__ = ["Connections"]


class Connections:
    """Opens, keeps and closes connections; the poller watches the open ones."""

    __slots__ = ("_contexts", "_idle", "_poller", "open")

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self.open: dict[int, Connection] = {}
        """By file number; those that are on their way to be open, too."""
        self._idle: dict[int, list[Connection]] = {}
        self._contexts: dict[TlsOptions, ssl.SSLContext] = {}

    def prepare(self, specs: Iterable[Destination]) -> None:
        """Set up TLS contexts (milliseconds each) before the first request."""
        for spec in specs:
            if spec.tls_name and spec.tls not in self._contexts:
                self._contexts[spec.tls] = spec.tls.context()

    def new(self, target: int, spec: Destination) -> Connection:
        """Create a connection that is not open yet."""
        return Connection(target, spec, self._contexts[spec.tls] if spec.tls_name else None)

    def add(self, connection: Connection) -> Ended | None:
        """Watch a connection's socket for writing; returns why that failed."""
        try:
            self._poller.watch(connection.fd, write=True)
        except OSError as error:  # the system has no room for another watched socket
            connection.close(abort=True)
            return client_limit(error)
        self.open[connection.fd] = connection
        return None

    def keep(self, connection: Connection) -> None:
        """Return a connection to the idle ones."""
        self._idle.setdefault(connection.target, []).append(connection)

    def idle(self, target: int) -> list[Connection]:
        """Idle connections of a target."""
        return self._idle.setdefault(target, [])

    def take(self, target: int) -> Connection | None:
        """Take a usable idle connection; unusable ones are closed."""
        idle = self.idle(target)
        while idle:
            connection = idle.pop()
            if connection.usable():
                return connection
            self.forget(connection)
        return None

    def drop(self, connection: Connection) -> None:
        """Close a connection that may be idle."""
        idle = self._idle.get(connection.target, [])
        if connection in idle:
            idle.remove(connection)
        self.forget(connection)

    def forget(self, connection: Connection, *, abort: bool = False) -> None:
        """Close a connection that is not idle."""
        if self.open.pop(connection.fd, None) is not None:
            with contextlib.suppress(OSError, KeyError, ValueError):  # ssl closes a socket that it fails to wrap
                self._poller.forget(connection.fd)
        connection.close(abort=abort)

    def drop_all(self) -> None:
        """Close every connection."""
        for connection in list(self.open.values()):
            self.forget(connection)
        self._idle.clear()
