"""Limits of this machine: what it has no more of is said, and is never the server's refusal."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from load_doubles import HEAD, RawServer, plan_of, played, read_request, request

from pytest_flperf.loadgen.client_limits import client_limit, is_shortage
from pytest_flperf.loadgen.connection import Connection
from pytest_flperf.loadgen.plan import Destination
from pytest_flperf.loadgen.worker_client import LoadProcessError, LoadSession
from pytest_flperf.wire.exchange import Ending

posix = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL", "EADDRINUSE"])
def test_what_a_machine_can_be_short_of(name: str) -> None:
    """Each is told by its name, with what it is that is missing."""
    error = OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
    assert is_shortage(error)
    ending, detail = client_limit(error)
    assert ending is Ending.CLIENT_LIMIT
    assert f"({name}): this machine has " in detail


def test_other_errors_are_no_shortage() -> None:
    """Neither what a server does nor an error of OpenSSL with the same number."""
    for name in ("ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "EHOSTUNREACH", "EPIPE", "EACCES"):
        assert not is_shortage(OSError(getattr(errno, name), ""))
    assert not is_shortage(ssl.SSLError(errno.ENOMEM, "no memory for a certificate"))


@pytest.mark.parametrize(("has_a_way", "ending"), [(True, Ending.CLIENT_LIMIT), (False, Ending.CONNECT_REFUSED)])
def test_no_port_and_no_address_fail_alike(monkeypatch: pytest.MonkeyPatch, *, has_a_way: bool, ending: Ending) -> None:
    """Without IPv6 on this machine, connecting to ::1 fails as it does without a free port; a datagram's tells."""

    def connect_ex(_sock: socket.socket, _address: object) -> int:
        return errno.EADDRNOTAVAIL

    def connect(_sock: socket.socket, _address: object) -> None:
        if not has_a_way:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    monkeypatch.setattr(socket.socket, "connect", connect)
    ended = Connection(0, Destination(((int(socket.AF_INET), ("127.0.0.1", 9)),)), None).open()
    assert ended is not None
    assert ended[0] is ending
    assert "EADDRNOTAVAIL" in ended[1]


@posix
def test_a_load_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and nothing stays open."""

    def no_more(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(subprocess, "Popen", no_more)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(LoadProcessError, match=r"can't be started: .*\(EMFILE\).*ulimit -n"):
        LoadSession()
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
def test_no_memory_is_left() -> None:
    """The load process ends and says so in words."""
    import resource

    def endless(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        with contextlib.suppress(OSError):
            sock.sendall(HEAD + b"%x\r\n" % (1 << 30))
            while True:
                sock.sendall(b"x" * 65_536)

    with RawServer(endless) as server, LoadSession() as session:
        room = 300 << 20
        resource.prlimit(session.pid, resource.RLIMIT_AS, (room, room))
        plan = replace(plan_of([request()], server.target), answer_bytes=1 << 30)
        with pytest.raises(LoadProcessError, match="its last words: this machine has no memory left for it"):
            played(session, plan)
