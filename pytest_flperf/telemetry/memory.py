"""Memory before and after loading a model, and memory shortage."""

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
    """Resident memory of every process at one moment, in bytes."""

    rss_bytes: Mapping[int, int]

    @classmethod
    def now(cls) -> MemoryBefore:
        """Read all processes that may be read."""
        import psutil

        found = {}
        for process in psutil.process_iter(["memory_info"]):
            memory = process.info["memory_info"]
            if memory is not None:
                found[process.pid] = memory.rss
        return cls(found)

    def before_and_after_mb(self, pids: Iterable[int]) -> tuple[float, float] | None:
        """Memory of these processes with all descendants, then and now.

        0 for the time before, where they did not run yet.  None where none of them may be read.
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
    """Memory available without swapping, in units of 2²⁰ bytes."""
    import psutil

    available: int = psutil.virtual_memory().available
    return available / _MB


def shortage(size_mb: float | None) -> str:
    """Warning that a model will hardly fit into memory.

    Empty where it fits, or where the machine's memory is unknown.

    Args:
        size_mb: Of its files.

    """
    if not size_mb:
        return ""
    there_mb, needed_mb = available_mb(), _ON_TOP * size_mb
    if needed_mb <= there_mb:
        return ""
    return (
        f"not enough memory: {there_mb:,.0f} MB are available, but the model takes about {needed_mb:,.0f} MB; it may "
        "be slow (swapping) or fail"
    )
