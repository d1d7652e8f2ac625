"""Host readings: CPU and memory of machine and server processes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Final

from pytest_flperf.telemetry.processes import FINE_CLOCK, ProcessTree
from pytest_flperf.telemetry.readings import HOST_METRICS, OTHERS, SERVER_METRICS, Meter, Reading, ServerProcesses

__all__ = ["HostSource"]

_MB: Final = 1 << 20
_TICKS_NS: Final = 50_000_000
"""Over less, a clock of 10 ms ticks shows noise."""
_FINE_NS: Final = 1_000_000
_OTHERS_NS: Final = 250_000_000
"""Over less, a difference of tick counts is noise."""
_NS_PER_S: Final = 1_000_000_000
_PCT: Final = 100
_ENDED: Final = "the server's process has ended"


class HostSource:
    """CPU and memory of the machine, the server and other processes.

    The metrics are ``cpu_pct``, ``ram_pct``, ``server_cpu_pct``, ``server_rss_mb`` and ``other_cpu_pct``.

    A look took 0.5 to 0.8 ms where the runtime host with its threads is the server (two cores of an AMD EPYC): at ten
    a second, 0.8 % of one core.
    """

    metrics = (*HOST_METRICS, *SERVER_METRICS)

    def __init__(self) -> None:
        self._machine = Meter(_TICKS_NS)
        self._follow(ServerProcesses())

    def open(self) -> Mapping[str, str]:
        """Import psutil and take the first CPU reading.

        A rate needs two readings.
        """
        self._machine_cpu()
        return {}

    def read(self, server: ServerProcesses) -> Reading:
        """Read the machine and the server's processes."""
        import psutil

        if server != self._server:
            self._follow(server)
        at_ns = time.monotonic_ns()
        values: dict[str, float] = {"ram_pct": psutil.virtual_memory().percent}
        cpu_pct, used_ns = self._machine_cpu()
        if cpu_pct is not None:
            values["cpu_pct"] = cpu_pct
        absent, server_ns = self._read_server(values)
        absent |= self._read_others(used_ns, server_ns, values)
        return Reading(at_ns, values, absent)

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _follow(self, server: ServerProcesses) -> None:
        self._server = server
        self._tree = ProcessTree(server.pids)
        self._tree_meter = Meter(_FINE_NS if FINE_CLOCK else _TICKS_NS)
        self._ours = ProcessTree((os.getpid(), *server.beside), lambda: self._tree.pids)
        self._others_meter = Meter(_OTHERS_NS)

    def _machine_cpu(self) -> tuple[float | None, int]:
        """CPU share of the machine, and processor time used since boot."""
        import psutil

        times = psutil.cpu_times()._asdict()
        # Linux counts what guests use in user and nice as well; psutil.cpu_percent counts the same way.
        whole = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
        busy = whole - times["idle"] - times.get("iowait", 0.0)
        share = self._machine.share(time.monotonic_ns(), busy, whole)
        used_ns = round((busy - times.get("steal", 0.0)) * _NS_PER_S)  # no process here has used stolen time
        return (None if share is None else min(share * _PCT, float(_PCT))), used_ns

    def _read_server(self, values: dict[str, float]) -> tuple[dict[str, str], int | None]:
        """Add the server's figures; returns missing ones and its processor time.

        The figures go into ``values``; each missing one has its reason.
        """
        if not self._server.pids:
            return dict.fromkeys(SERVER_METRICS, self._server.absent or "the backend names no process"), 0
        if self._tree.ended:
            return dict.fromkeys(SERVER_METRICS, _ENDED), None
        use = self._tree.read()
        if use.rss_bytes is not None:
            values["server_rss_mb"] = use.rss_bytes / _MB
        if use.cpu_ns is not None:
            now_ns = time.monotonic_ns()
            share = self._tree_meter.share(now_ns, use.cpu_ns, now_ns)
            if share is not None:
                values["server_cpu_pct"] = share * _PCT
        return (dict.fromkeys(SERVER_METRICS, use.absent) if use.absent else {}), use.cpu_ns

    def _read_others(self, used_ns: int, server_ns: int | None, values: dict[str, float]) -> dict[str, str]:
        """Add the CPU load of other processes; returns why it is missing.

        The figure goes into ``values``: what neither the server nor this run used.
        """
        ours = self._ours.read()
        if server_ns is None or ours.cpu_ns is None:
            return {OTHERS: ours.absent or "what the server used is not known"}
        now_ns = time.monotonic_ns()
        share = self._others_meter.share(now_ns, used_ns - server_ns - ours.cpu_ns, now_ns)
        if share is not None:
            values[OTHERS] = share * _PCT
        return {}
