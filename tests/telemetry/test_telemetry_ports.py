"""Who listens on a port."""

from __future__ import annotations

import os
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from child_processes import Child
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.telemetry import ports
from pytest_flperf.telemetry.ports import ListenerFinder, listeners
from pytest_flperf.telemetry.readings import ServerProcesses


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - the port of a test
def test_the_owner_is_found(address: str) -> None:
    """The process that listens on loopback, or everywhere."""
    with Child() as child:
        port = int(child.tell(f"listen {address}"))
        assert listeners(["127.0.0.1"], port) == ServerProcesses((child.pid,))
        assert OpenAiBackend.at(f"http://localhost:{port}/v1").processes("m") == ServerProcesses((child.pid,))


def test_the_owner_is_found_by_ipv6() -> None:
    """Likewise for the other family."""
    with Child() as child:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 here")
        port = int(child.tell("listen ::1"))
        assert listeners(["::1"], port) == ServerProcesses((child.pid,))


def test_an_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that names this machine by its address in the network is one of this machine."""
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": [SimpleNamespace(address="192.0.2.7")]})
    with Child() as child:
        port = int(child.tell("listen 0.0.0.0"))
        assert listeners(["192.0.2.7"], port).pids == (child.pid,)


def test_another_machine() -> None:
    """No process of this machine is taken for a server elsewhere."""
    found = OpenAiBackend.at("http://192.0.2.1:80/v1").processes("m")
    assert found == ServerProcesses((), "the server is on another machine", elsewhere=True)


def test_nobody_listens() -> None:
    """A port without an owner: absent with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "has no visible owner" in listeners(["127.0.0.1"], port).absent


def test_this_process_listens() -> None:
    """A server inside the measuring process can't be told from it."""
    with socket.create_server(("127.0.0.1", 0)) as mine:
        found = listeners(["127.0.0.1"], mine.getsockname()[1])
    assert found.pids == ()
    assert "inside this process" in found.absent


@pytest.fixture
def by_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system without Linux's tables of sockets."""
    monkeypatch.setattr(ports, "_sockets", lambda port: None)


def _socket(pid: int | None, port: int = 80, ip: str = "127.0.0.1") -> Any:
    return SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(ip=ip, port=port), pid=pid)


@pytest.mark.usefixtures("by_psutil")
def test_somebody_else_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner belongs to another user and can't be seen."""
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [_socket(None)])
    assert "belongs to another user" in listeners(["127.0.0.1"], 80).absent


def test_a_port_that_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Docker's proxy uses is not taken for what the server in the container uses."""
    monkeypatch.setattr(psutil.Process, "name", lambda process: "docker-proxy")
    with Child() as child:
        port = int(child.tell("listen 127.0.0.1"))
        found = listeners(["127.0.0.1"], port)
    assert found.pids == ()
    assert "docker-proxy" in found.absent


def test_a_socket_that_waits_for_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts servers when they are asked, and everything else as well, is no server."""
    monkeypatch.setattr(psutil.Process, "name", lambda process: "systemd")
    with Child() as child:
        found = listeners(["127.0.0.1"], int(child.tell("listen 127.0.0.1")))
    assert found.pids == ()
    assert "belongs to systemd, which starts the server" in found.absent


@pytest.mark.usefixtures("by_psutil")
def test_some_of_the_listeners_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that processes of another user serve as well: what is seen counts, and it is said."""
    with Child() as child:
        port = int(child.tell("listen 127.0.0.1"))
        real = psutil.net_connections
        monkeypatch.setattr(psutil, "net_connections", lambda kind: [*real(kind), _socket(None, port)])
        found = listeners(["127.0.0.1"], port)
    assert found.pids == (child.pid,)
    assert "listeners of another user as well" in found.hidden


@pytest.mark.usefixtures("by_psutil")
def test_where_only_ones_own_processes_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: the list of all sockets is refused, those of a process of one's own are not."""

    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with Child() as child:
        port = int(child.tell("listen 127.0.0.1"))
        assert listeners(["127.0.0.1"], port).pids == (child.pid,)


@pytest.mark.usefixtures("by_psutil")
def test_trouble_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside becomes the reason."""

    def fail(kind: str) -> None:
        raise RuntimeError("no such table")

    monkeypatch.setattr(psutil, "net_connections", fail)
    assert "RuntimeError: no such table" in listeners(["127.0.0.1"], 80).absent


def test_the_owner_is_remembered_as_long_as_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is costly: once for a server, and again when that has ended."""
    searched = []
    real = ports.listeners
    monkeypatch.setattr(ports, "listeners", lambda *asked: searched.append(asked) or real(*asked))
    finder = ListenerFinder()
    with Child() as child:
        port = int(child.tell("listen 127.0.0.1"))
        for _ in range(3):
            assert finder.find(["127.0.0.1"], port).pids == (child.pid,)
        assert len(searched) == 1
        child.kill()
        assert finder.find(["127.0.0.1"], port).pids == ()
        assert len(searched) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere sockets are not listed so quickly")
def test_a_process_that_joins_the_port() -> None:
    """A second server of a group that shares a port, started between two cases, is found by the next one."""
    finder = ListenerFinder()
    with Child() as first, Child() as second:
        port = int(first.tell("share 0"))
        assert finder.find(["127.0.0.1"], port).pids == (first.pid,)
        assert second.tell(f"share {port}") == str(port)
        assert set(finder.find(["127.0.0.1"], port).pids) == {first.pid, second.pid}


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)), st.integers(1, 65535))
def test_any_address_is_answered(address: str, port: int) -> None:
    """Pids or a reason, and never this process, for whatever is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "_sockets", lambda port: None)
        patch.setattr(psutil, "net_connections", lambda kind: [_socket(os.getpid(), port, "::")])
        found = listeners([address], port)
    assert found.pids == ()
    assert found.absent


linux = pytest.mark.skipif(sys.platform != "linux", reason="its tables of sockets")


@linux
def test_sockets_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that no visible process holds belongs to somebody else; beside one that is seen it is said."""
    with Child() as child:
        port = int(child.tell("listen 127.0.0.1"))
        real = ports._sockets
        monkeypatch.setattr(ports, "_sockets", lambda port: {"socket:[1]": "127.0.0.1"})
        assert "belongs to another user" in listeners(["127.0.0.1"], port).absent
        monkeypatch.setattr(ports, "_sockets", lambda port: {**(real(port) or {}), "socket:[1]": "0.0.0.0"})  # noqa: S104
        found = listeners(["127.0.0.1"], port)
    assert found.pids == (child.pid,)
    assert "listeners of another user as well" in found.hidden


@linux
def test_both_ways_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux's tables and psutil say the same of every socket that listens here."""
    with Child() as one, Child() as other:
        there = [int(one.tell("listen 127.0.0.1")), int(other.tell("listen 0.0.0.0"))]
        for port in there:
            found = list(ports._listening(port))
            assert found == list(ports._by_psutil(port))
            assert len(found) == 1


@linux
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_addresses_of_the_tables(address: IPv4Address | IPv6Address) -> None:
    """The kernel prints four bytes as one number of the machine's byte order."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    assert ports._address("".join(f"{word:08X}" for word in words).encode()) == ports._plain(str(address))
