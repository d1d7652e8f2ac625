"""What is said of memory before a model is loaded."""

from __future__ import annotations

from pytest_flperf.backends.base import OnProgress
from pytest_flperf.telemetry.memory import shortage

__all__ = ["said_of_memory"]


def said_of_memory(size_mb: float | None, on_progress: OnProgress, device: str | None = None) -> tuple[str, ...]:
    """Say it, where a model will hardly fit into this machine's memory; a note for the result.

    Args:
        size_mb: Of its files; None: not known, and nothing is said.
        on_progress: Told before the load.
        device: Where it will run: a GPU or NPU may have memory of its own, of which nothing is known here.

    """
    if (device or "cpu").casefold().split()[0] != "cpu":
        return ()
    words = shortage(size_mb)
    if not words:
        return ()
    on_progress(words, None)
    return (words,)
