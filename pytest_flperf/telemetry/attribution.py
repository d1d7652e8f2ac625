"""Unattributed CPU load: neither the server's nor this run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pytest_flperf.results.records import ResourceUse
from pytest_flperf.telemetry.readings import OTHERS, ServerProcesses
from pytest_flperf.telemetry.sums import CaseResources

__all__ = ["unattributed", "with_unattributed"]

_LEAST_PCT: Final = 20.0
"""Percent of a core: any machine uses that much in the background."""
_LEAST_SHARE: Final = 0.25


def with_unattributed(found: CaseResources, server: ServerProcesses) -> CaseResources:
    """Add the notes of :func:`unattributed` to a case's resources."""
    return replace(found, notes=unattributed(server, found.use))


def unattributed(server: ServerProcesses, use: Mapping[str, ResourceUse]) -> tuple[str, ...]:
    """Notes on CPU load from unknown processes; empty where it is little.

    A worker that the listening process did not start, a container behind a proxy and other users' processes can't be
    told from what has nothing to do with the server.

    Args:
        server: The processes that were taken for the server.
        use: Resource use of the case.

    """
    found = [f"{server.hidden}; server_cpu_pct and server_rss_mb lack them"] if server.hidden else []
    others, machine = use.get(OTHERS), use.get("cpu_pct")
    if server.elsewhere or others is None or machine is None or not machine.mean:
        return tuple(found)
    share = min(others.mean / (machine.mean * server.cores), 1.0)
    if others.mean < _LEAST_PCT or share < _LEAST_SHARE:
        return tuple(found)
    load = f"{100 * share:.0f} % of the machine's processor load ({others.mean / 100:.2f} cores)"
    if server.pids:
        found.append(
            f"{load} came from other processes; if some of them work for the server, server_cpu_pct and server_rss_mb "
            "lack them"
        )
    else:
        why = server.absent or "the backend names no process"
        found.append(f"{load} came from processes outside this run; which of them serve the model is unknown: {why}")
    return tuple(found)
