"""Port owners: processes that listen on a local port."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.telemetry.readings import ServerProcesses

if TYPE_CHECKING:
    import psutil

__all__ = ["ListenerFinder", "listeners"]

_FORWARDERS: Final = frozenset(
    {
        "docker-proxy",
        "com.docker.backend",
        "rootlessport",
        "rootlesskit",
        "slirp4netns",
        "pasta",
        "wslrelay",
        "vpnkit",
        "kubectl",
        "ssh",
        "sshd",
        "limactl",
        "gvproxy",
    }
)
"""Programs that pass a port on to a container or another machine; what they use themselves says nothing."""
_LISTEN: Final = b"0A"
"""The state of such a socket in Linux's tables."""
_ACTIVATORS: Final = frozenset({"systemd", "launchd", "inetd", "xinetd"})
"""Programs that hold a socket for a server that they start (socket activation); they start everything else as well."""


class ListenerFinder:
    """Finds and caches the processes that own a port.

    A result is kept as long as they run and no other socket joins them.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[tuple[str, ...], int], _Found] = {}

    def find(self, addresses: Iterable[str], port: int) -> ServerProcesses:
        """Processes that listen on ``port`` at one of the ``addresses``.

        The addresses are IP addresses; see :func:`listeners`.
        """
        import psutil

        key = (tuple(addresses), port)
        known, there = self._found.get(key), _sockets(port)
        sockets = frozenset(there or ())
        if known is not None and known.sockets == sockets and all(each.is_running() for each in known.processes):
            return known.server
        found = listeners(*key, there)
        if not found.pids and not found.elsewhere:  # a socket-activated server may have started by the next case
            self._found.pop(key, None)
            return found
        try:
            self._found[key] = _Found(found, tuple(map(psutil.Process, found.pids)), sockets)
        except psutil.NoSuchProcess:  # it has just ended: the next case tries again
            self._found.pop(key, None)
        return found


@dataclass(frozen=True, slots=True)
class _Found:
    """Cached owners of a port."""

    server: ServerProcesses
    processes: tuple[psutil.Process, ...]
    sockets: frozenset[str]
    """Empty where the system doesn't list them by inode."""


def listeners(addresses: Iterable[str], port: int, sockets: Mapping[str, str] | None = None) -> ServerProcesses:
    """Processes that listen on ``port``, or why they are unknown.

    They listen at one of the IP ``addresses``.  Never raises.  ``sockets``: those of the port, if they are known.

    All that hold a listening socket: the workers of a server that forks, and the sockets of a group that shares a port.
    Reads the open files of all processes that may be seen: 16 ms with 84 processes.
    """
    try:
        return _listeners([_plain(address) for address in addresses], port, sockets)
    except Exception as error:  # noqa: BLE001 - psutil has many; none of them may stop a measurement
        return ServerProcesses((), f"the owner of port {port} can't be found: {type(error).__name__}: {error}")


def _listeners(addresses: list[str], port: int, sockets: Mapping[str, str] | None) -> ServerProcesses:
    import psutil

    here = {
        _plain(address.address)
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.address
    }
    ours = [address for address in addresses if address in here or _is_loopback(address)]
    if not ours:
        return ServerProcesses((), "the server is on another machine", elsewhere=True)
    pids: dict[int, None] = {}
    hidden = False
    for at, holders in _listening(port, sockets):
        if at in ours or _is_any(at):
            hidden |= not holders
            pids.update(dict.fromkeys(holders))
    return _judged(list(pids), port, hidden=hidden)


def _listening(port: int, sockets: Mapping[str, str] | None = None) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Address and processes of each socket that listens on a port; without a process: it can't be seen."""
    if sockets is None:
        sockets = _sockets(port)
    if sockets is None:
        yield from _by_psutil(port)
    elif sockets:
        holders = _holders(sockets)
        yield from ((address, tuple(holders[link])) for link, address in sockets.items())


def _sockets(port: int) -> dict[str, str] | None:
    """Address of each listening socket by its link, ``socket:[12345]``; None where the system has no such tables.

    psutil reads them, too, and decodes every connection: with 1,400 of them it takes 39 ms, and this 17.
    """
    found: dict[str, str] = {}
    is_read = False
    at = b":%04X" % port
    for family in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{family}", "rb") as table:  # noqa: PTH123 - no such path elsewhere
            is_read = True
            for line in table:
                if at in line:
                    parts = line.split()
                    if len(parts) > 9 and parts[3] == _LISTEN and parts[1].endswith(at):
                        found[f"socket:[{parts[9].decode()}]"] = _address(parts[1].partition(b":")[0])
    return found if is_read else None


def _address(words: bytes) -> str:
    """IP address of Linux's tables, in which each four bytes are a number of the machine's byte order."""
    numbers = (int(words[at : at + 8], 16) for at in range(0, len(words), 8))
    return _plain(str(ipaddress.ip_address(b"".join(struct.pack("=I", number) for number in numbers))))


def _holders(links: Iterable[str]) -> dict[str, list[int]]:
    """All processes that hold these sockets, by link.

    Servers fork after they have bound: each worker holds the socket.
    """
    found: dict[str, list[int]] = {link: [] for link in links}
    for name in os.listdir("/proc"):  # noqa: PTH208 - quicker
        if name.isdigit():
            for link in {_link(name, fd) for fd in _descriptors(name)} & found.keys():
                found[link].append(int(name))
    return found


def _descriptors(pid: str) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - a Path for each would be most of the cost
    except OSError:  # it has ended, or is another user's
        return []


def _link(pid: str, fd: str) -> str:
    """Link target of an open file; empty where it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115 - as above
    except OSError:
        return ""


def _judged(owners: list[int], port: int, *, hidden: bool) -> ServerProcesses:
    if not owners:
        why = "belongs to another user" if hidden else "has no visible owner"
        return ServerProcesses((), f"port {port} {why}: its processes are unknown")
    if os.getpid() in owners:
        return ServerProcesses((), "the server runs inside this process and can't be told apart from it")
    names = _names(owners)
    for name in names.values():
        if name in _FORWARDERS:
            return ServerProcesses((), f"port {port} belongs to {name}, which passes requests on to the server")
    serving = tuple(pid for pid, name in names.items() if name not in _ACTIVATORS)
    if not names:
        return ServerProcesses((), f"port {port} belonged to a process that has just ended")
    if not serving:
        who = next(iter(names.values()))
        return ServerProcesses((), f"port {port} belongs to {who}, which starts the server on request")
    others = f"port {port} has listeners of another user as well, which can't be seen" if hidden else ""
    return ServerProcesses(serving, hidden=others)


def _names(pids: Iterable[int]) -> dict[int, str]:
    """Names of processes; those that have ended are left out."""
    import psutil

    names = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            names[pid] = psutil.Process(pid).name().removesuffix(".exe")
    return names


def _by_psutil(port: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """As :func:`_listening`; psutil names one process of each socket."""
    import psutil

    for pid, connection in _connections():
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            yield _plain(connection.laddr.ip), () if pid is None else (pid,)


def _connections() -> Iterator[tuple[int | None, Any]]:
    """All TCP sockets with their processes; None where that is not permitted."""
    import psutil

    try:
        yield from ((connection.pid, connection) for connection in psutil.net_connections("tcp"))
    except psutil.AccessDenied:  # macOS, without being root: one's own processes can be asked one by one
        for process in psutil.process_iter():
            # psutil 6 renamed it
            ask = getattr(process, "net_connections", None) or process.connections
            try:
                found = ask("tcp")
            except psutil.Error:
                continue
            yield from ((process.pid, connection) for connection in found)


def _plain(address: str) -> str:
    """Normalized address: no zone, IPv4-mapped IPv6 as IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _is_any(address: str) -> bool:
    return address in {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to
