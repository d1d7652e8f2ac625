"""Port owners: processes that listen on a local port."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
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
        known, sockets = self._found.get(key), _listening(port)
        if known is not None and known.sockets == sockets and all(each.is_running() for each in known.processes):
            return known.server
        found = listeners(*key)
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
    sockets: frozenset[bytes]


def _listening(port: int) -> frozenset[bytes]:
    """Inodes of the sockets that listen on a port.

    Empty where the system doesn't list them by inode.
    """
    found = []
    for family in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{family}", "rb") as table:  # noqa: PTH123 - no such path elsewhere
            found += [line.split() for line in table]
    at = b":%04X" % port
    return frozenset(each[9] for each in found if len(each) > 9 and each[3] == _LISTEN and each[1].endswith(at))


def listeners(addresses: Iterable[str], port: int) -> ServerProcesses:
    """Processes that listen on ``port``, or why they are unknown.

    They listen at one of the IP ``addresses``.  Never raises.

    All that hold a listening socket: the workers of a server that forks, and the sockets of a group that shares a port.
    Reads the open files of all processes that may be seen, on Linux twice: 25 ms with 80 processes, 60 with 500.
    """
    try:
        return _listeners([_plain(address) for address in addresses], port)
    except Exception as error:  # noqa: BLE001 - psutil has many; none of them may stop a measurement
        return ServerProcesses((), f"the owner of port {port} can't be found: {type(error).__name__}: {error}")


def _listeners(addresses: list[str], port: int) -> ServerProcesses:
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
    owners: dict[int, int] = {}  # and one of its descriptors
    hidden = False
    for pid, connection in _connections():
        if connection.status != psutil.CONN_LISTEN or connection.laddr.port != port:
            continue
        at = _plain(connection.laddr.ip)
        if at not in ours and not _is_any(at):
            continue
        if pid is None:
            hidden = True
        else:
            owners[pid] = getattr(connection, "fd", -1)
    holders = dict.fromkeys(owners)
    if sys.platform == "linux":
        holders.update(dict.fromkeys(_holders(owners)))
    return _judged(list(holders), port, hidden=hidden)


def _holders(owners: Mapping[int, int]) -> list[int]:
    """All processes that hold the sockets behind these descriptors.

    Servers fork after they have bound: each worker holds the socket, and psutil names one of them for each socket.
    """
    links = {_link(pid, str(fd)) for pid, fd in owners.items()} - {""}
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if links else []  # noqa: PTH208 - quicker
    return [pid for pid in pids if any(_link(pid, fd) in links for fd in _descriptors(pid))]


def _descriptors(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - a Path for each would be most of the cost
    except OSError:  # it has ended, or is another user's
        return []


def _link(pid: int, fd: str) -> str:
    """Link target of a socket, ``socket:[12345]``; empty for other files."""
    try:
        found = os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115 - as above
    except OSError:
        return ""
    return found if found.startswith("socket:") else ""


def _judged(owners: list[int], port: int, *, hidden: bool) -> ServerProcesses:
    if not owners:
        why = "belongs to another user" if hidden else "has no owner that may be seen"
        return ServerProcesses((), f"port {port} {why}: its processes can't be told")
    if os.getpid() in owners:
        return ServerProcesses((), "the server runs inside this process and can't be told from it")
    names = _names(owners)
    for name in names.values():
        if name in _FORWARDERS:
            return ServerProcesses((), f"port {port} belongs to {name}, which passes requests on to the server")
    serving = tuple(pid for pid, name in names.items() if name not in _ACTIVATORS)
    if not serving:
        who = next(iter(names.values()), "nobody any more")
        return ServerProcesses((), f"port {port} belongs to {who}, which starts the server when it is asked")
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
