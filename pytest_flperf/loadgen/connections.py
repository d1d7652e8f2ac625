"""Connections of the load process: open ones, and those that are idle."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable

from pytest_flperf.loadgen.client_limits import client_limit
from pytest_flperf.loadgen.connection import Connection, Ended
from pytest_flperf.loadgen.plan import Target
from pytest_flperf.loadgen.poller import Poller
from pytest_flperf.wire.tls import TlsOptions

__all__ = ["Connections"]


class Connections:
    """Opens, keeps and closes connections, and lets the poller watch those that are open."""

    __slots__ = ("_contexts", "_idle", "_poller", "open")

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self.open: dict[int, Connection] = {}
        """By file number; those that are on their way to be open, too."""
        self._idle: dict[int, list[Connection]] = {}
        self._contexts: dict[TlsOptions, ssl.SSLContext] = {}

    def prepare(self, specs: Iterable[Target]) -> None:
        """Make what TLS needs, which takes milliseconds, before the first request."""
        for spec in specs:
            if spec.tls_name and spec.tls not in self._contexts:
                self._contexts[spec.tls] = spec.tls.context()

    def new(self, target: int, spec: Target) -> Connection:
        """One that is not open yet."""
        return Connection(target, spec, self._contexts[spec.tls] if spec.tls_name else None)

    def add(self, connection: Connection) -> Ended | None:
        """It has a socket now, which tells when it can be written to; returns why that can't be watched for."""
        try:
            self._poller.watch(connection.fd, write=True)
        except OSError as error:  # the system has no room for another watched socket
            connection.close(abort=True)
            return client_limit(error)
        self.open[connection.fd] = connection
        return None

    def keep(self, connection: Connection) -> None:
        """It has nothing to do."""
        self._idle.setdefault(connection.target, []).append(connection)

    def idle(self, target: int) -> list[Connection]:
        """Those of a target that have nothing to do."""
        return self._idle.setdefault(target, [])

    def take(self, target: int) -> Connection | None:
        """An idle one that can be used; those that can't are closed."""
        idle = self.idle(target)
        while idle:
            connection = idle.pop()
            if connection.usable():
                return connection
            self.forget(connection)
        return None

    def drop(self, connection: Connection) -> None:
        """Close one that may be idle."""
        idle = self._idle.get(connection.target, [])
        if connection in idle:
            idle.remove(connection)
        self.forget(connection)

    def forget(self, connection: Connection, *, abort: bool = False) -> None:
        """Close one that is not idle."""
        if self.open.pop(connection.fd, None) is not None:
            with contextlib.suppress(OSError, KeyError, ValueError):  # ssl closes a socket that it fails to wrap
                self._poller.forget(connection.fd)
        connection.close(abort=abort)

    def drop_all(self) -> None:
        """Close every connection."""
        for connection in list(self.open.values()):
            self.forget(connection)
        self._idle.clear()
