"""Memory before and after something, and whether there is enough of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pytest_flperf.telemetry.processes import with_descendants

__all__ = ["MemoryBefore", "available_mb", "shortage"]

_MB: Final = 1 << 20
_ON_TOP: Final = 1.1
"""Of a model's files: weights are most of what it takes, buffers and a short context come on top."""


@dataclass(frozen=True, slots=True)
class MemoryBefore:
    """The resident memory of every process at one moment, in bytes."""

    rss_bytes: Mapping[int, int]

    @classmethod
    def now(cls) -> MemoryBefore:
        """Look at all processes that may be looked at."""
        import psutil

        found = {}
        for process in psutil.process_iter(["memory_info"]):
            memory = process.info["memory_info"]
            if memory is not None:
                found[process.pid] = memory.rss
        return cls(found)

    def before_and_after_mb(self, pids: Iterable[int]) -> tuple[float, float] | None:
        """What these processes and all that they started had then (nothing, where they weren't there) and have now.

        None where none of them may be looked at.
        """
        import psutil

        before = after = 0
        for pid in with_descendants(pids):
            try:
                now = psutil.Process(pid).memory_info().rss
            except psutil.Error:
                continue
            after += now
            before += self.rss_bytes.get(pid, 0)
        return (before / _MB, after / _MB) if after else None


def available_mb() -> float:
    """Memory that can be had without swapping, in units of 2²⁰ bytes."""
    import psutil

    available: int = psutil.virtual_memory().available
    return available / _MB


def shortage(size_mb: float | None) -> str:
    """In words that a model will hardly fit into this machine's memory; empty where it does, or nobody knows its size.

    Args:
        size_mb: Of its files.

    """
    if not size_mb:
        return ""
    there_mb, needed_mb = available_mb(), _ON_TOP * size_mb
    if needed_mb <= there_mb:
        return ""
    return (
        f"not enough memory: {there_mb:,.0f} MB are available, and the model takes about {needed_mb:,.0f} MB; it may "
        "be slow (swapping) or fail"
    )
