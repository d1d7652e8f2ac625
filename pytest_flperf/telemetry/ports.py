"""Who serves an address: the processes that listen on a port of this machine."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Iterator
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


class ListenerFinder:
    """Finds the owner of a port, and remembers it as long as it runs."""

    def __init__(self) -> None:
        self._found: dict[tuple[tuple[str, ...], int], tuple[ServerProcesses, list[psutil.Process]]] = {}

    def find(self, addresses: Iterable[str], port: int) -> ServerProcesses:
        """The processes that listen on ``port`` at one of the IP ``addresses``; see :func:`listeners`."""
        import psutil

        key = (tuple(addresses), port)
        known, processes = self._found.get(key, (None, []))
        if known is not None and all(process.is_running() for process in processes):
            return known
        found = listeners(*key)
        try:
            self._found[key] = (found, [psutil.Process(pid) for pid in found.pids])
        except psutil.NoSuchProcess:  # it has just ended: the next case looks again
            self._found.pop(key, None)
        return found


def listeners(addresses: Iterable[str], port: int) -> ServerProcesses:
    """The processes that listen on ``port`` at one of the IP ``addresses``, or why they can't be told; never raises.

    Reads the open files of all processes that may be seen: 12 ms with 80 processes, 30 with 500.
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
        return ServerProcesses((), "the server is on another machine")
    owners: dict[int, None] = {}
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
            owners[pid] = None
    return _judged(list(owners), port, hidden=hidden)


def _judged(owners: list[int], port: int, *, hidden: bool) -> ServerProcesses:
    import psutil

    if not owners:
        why = "belongs to another user" if hidden else "has no owner that may be seen"
        return ServerProcesses((), f"port {port} {why}: its processes can't be told")
    if os.getpid() in owners:
        return ServerProcesses((), "the server runs inside this process and can't be told from it")
    for pid in owners:
        name = psutil.Process(pid).name().removesuffix(".exe")
        if name in _FORWARDERS:
            return ServerProcesses((), f"port {port} belongs to {name}, which passes requests on to the server")
    return ServerProcesses(tuple(owners))


def _connections() -> Iterator[tuple[int | None, Any]]:
    """All TCP sockets with the process that has them; None where that may not be seen."""
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
    """An address without its zone, and an IPv4 address that was mapped into IPv6 as itself."""
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
