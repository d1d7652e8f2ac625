"""Capacity: result of a search for the highest load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_flperf.results.serialize import Reader, Record, many

__all__ = ["Search", "SearchStep", "load_unit", "step_label"]


def load_unit(over: str) -> str:
    """Unit of a load: ``streams`` of a closed loop, ``requests/s`` of an open one."""
    return "streams" if over == "concurrency" else "requests/s"


def step_label(over: str, load: float) -> str:
    """Suffix of a case's node id at one load of its search.

    It is used in the journal and in the samples.
    """
    return f"[{over} {load:.4g}]"


@dataclass(frozen=True, slots=True)
class SearchStep(Record):
    """One step of a search: a load and its outcome."""

    load: float
    """Streams, or requests per second."""
    met: bool
    """Whether it met every budget."""
    missed: str = ""
    """The first budget that it missed, or what else went wrong."""
    requests: int = 0
    """Measured ones."""
    request_rate: float | None = None
    """Requests that ended ok per second."""
    tps_total: float | None = None
    """Output tokens of all of them per second."""
    ttft_p95_ms: float | None = None
    e2e_p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Search(Record):
    """Search for the highest load: its steps and its result."""

    over: str
    """``concurrency`` or ``rate``."""
    highest: float | None
    """Highest load that met every budget; None where not even the lowest did."""
    bounded: bool
    """Whether a higher load missed a budget; otherwise ``highest`` is only the highest that was tried."""
    saturation: float | None = None
    """Lowest load that gave 95 % of the highest throughput; None where no higher one was tried."""
    steps: tuple[SearchStep, ...] = ()
    """In the order in which they were looked at."""
    conditions: tuple[str, ...] = ()
    """Limits in parentheses of a budget, which replace the case's own limits on the same numbers; empty: only the
    case's own."""

    _readers: ClassVar[Mapping[str, Reader]] = {"steps": many(SearchStep.from_dict), "conditions": tuple}

    @property
    def played(self) -> str:
        """Label of the load behind the case's own figures; empty without one.

        As :func:`step_label` writes it.
        """
        load = self.highest if self.highest is not None else self.steps[0].load if self.steps else None
        return "" if load is None else step_label(self.over, load)

    @property
    def unit(self) -> str:
        """Unit of the load: ``streams`` or ``requests/s``."""
        return load_unit(self.over)
