"""What a host says about itself and its machine."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HostStatus", "Providers"]


class HostStatus(NamedTuple):
    """What a host says about itself."""

    loaded: tuple[str, ...]
    """Ids of the models in memory; the runtime may have unloaded one that was idle for long."""


class Providers(NamedTuple):
    """Execution providers beside the CPU's: what makes models run on a GPU or NPU."""

    registered: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    """Those for this machine that could not be had."""
