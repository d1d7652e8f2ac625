"""Load cost: time and memory of making a model ready."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_flperf.backends.base import Backend, OnProgress, Served
from pytest_flperf.backends.readiness import Watched
from pytest_flperf.telemetry.memory import MemoryBefore

__all__ = ["LoadCost", "ensure_with_cost"]


@dataclass(frozen=True, slots=True)
class LoadCost:
    """Memory of a model's serving processes, in units of 2²⁰ bytes.

    None where it can't be known.
    """

    rss_before_mb: float | None = None
    rss_after_mb: float | None = None

    @property
    def model_rss_mb(self) -> float | None:
        """Memory that the load added."""
        if self.rss_before_mb is None or self.rss_after_mb is None:
            return None
        return self.rss_after_mb - self.rss_before_mb


def ensure_with_cost(backend: Backend, model: str, on_progress: OnProgress) -> tuple[Served, LoadCost]:
    """Make a model ready, and measure the memory its load adds.

    Backends announce a load (``loading NAME``) right before it; that is when memory is looked at first.

    Raises:
        BackendError: The model could not be made ready.

    """
    before: list[MemoryBefore] = []

    def told(what: str, percent: float | None) -> None:
        if what.startswith("loading"):
            before[:] = [MemoryBefore.now()]
        on_progress(what, percent)

    served = backend.ensure(model, Watched.like(on_progress, told))
    if served.load_s is None or not before:
        return served, LoadCost()
    found = before[0].before_and_after_mb(backend.processes(model).pids)
    return served, LoadCost(*found) if found is not None else LoadCost()
