"""Listening socket on loopback, opened and closed on command."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final

from pytest_flperf.clock import enable_kernel_stamps
from pytest_flperf.reference_server.connection import WOULD_BLOCK
from pytest_flperf.reference_server.options import ReferenceConfig

__all__ = ["Listener"]

_BACKLOG: Final = 4096


class Listener:
    """Port that listens, or is reserved so that it refuses connections."""

    def __init__(
        self, config: ReferenceConfig, selector: selectors.BaseSelector, on_ready: Callable[[int], None]
    ) -> None:
        """Bind; raises OSError where that fails."""
        self._host: Final = config.host
        self._tls = _tls_context(config)
        self._selector: Final = selector
        self._on_ready = on_ready
        self._sock = self._bound(config.port)
        self._watched = False
        self._paused = False
        self.port: Final[int] = self._sock.getsockname()[1]

    def listen(self) -> None:
        """Accept connections from now on."""
        if not self._watched and not self._paused:
            self._sock.listen(_BACKLOG)
            self._watch()

    def refuse(self) -> None:
        """Refuse connections from now on; the port stays reserved."""
        self.close()
        self._sock = self._bound(self.port)

    def accept(self) -> tuple[socket.socket, bool] | None:
        """Next waiting connection: its socket, and whether the kernel stamps.

        The stamps are those of the bytes that it receives.
        """
        while True:
            try:
                sock, _ = self._sock.accept()
            except WOULD_BLOCK:
                return None
            except OSError:
                # no descriptors left: polling would find the listener ready again and again, so leave it for a while
                self._unwatch()
                self._paused = True
                return None
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is None:
                    return sock, enable_kernel_stamps(sock)
                return self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), False
            except OSError:  # the client has gone
                sock.close()

    def resume(self) -> None:
        """Accept again after the descriptors ran out."""
        if self._paused:
            self._paused = False
            self._watch()

    def close(self) -> None:
        """Close the socket."""
        self._unwatch()
        self._paused = False
        self._sock.close()

    def _watch(self) -> None:
        self._selector.register(self._sock, selectors.EVENT_READ, self._on_ready)
        self._watched = True

    def _unwatch(self) -> None:
        if self._watched:
            self._selector.unregister(self._sock)
            self._watched = False

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(sock.close)
            if sys.platform != "win32":  # there it would let others take the port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            enable_kernel_stamps(sock)  # inherited: a request may be there before its connection is accepted
            sock.bind((self._host, port))
            on_failure.pop_all()
        return sock


def _tls_context(config: ReferenceConfig) -> ssl.SSLContext | None:
    if config.cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config.cert_file, config.key_file)
    return context
