"""Host reports: status and execution providers."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HostStatus", "Providers"]


class HostStatus(NamedTuple):
    """Status of a host."""

    loaded: tuple[str, ...]
    """Ids of the models in memory; the runtime may have unloaded one that was idle for long."""


class Providers(NamedTuple):
    """Execution providers for GPU or NPU: all but the CPU's."""

    registered: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    """Those for this machine that could not be registered."""
