"""What a search for the highest load found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_flperf.results.record import Reader, Record, many

__all__ = ["Search", "SearchStep", "step_label"]


def step_label(over: str, load: float) -> str:
    """What stands behind a case's node id in journal and samples at a load of its search."""
    return f"[{over} {load:.4g}]"


@dataclass(frozen=True, slots=True)
class SearchStep(Record):
    """One load that was tried."""

    load: float
    """Streams, or requests per second."""
    met: bool
    """Whether it met every budget."""
    missed: str = ""
    """The first budget that it didn't, or what else went wrong."""
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
    """The loads that were tried, and what they say."""

    over: str
    """``concurrency`` or ``rate``."""
    highest: float | None
    """Highest load that met every budget; None where not even the lowest did."""
    bounded: bool
    """Whether a higher load missed one; else ``highest`` is only the highest that was tried."""
    saturation: float | None = None
    """Lowest load that gave 95 % of the highest throughput; None where no higher one was tried."""
    steps: tuple[SearchStep, ...] = ()
    """In the order in which they were looked at."""
    conditions: tuple[str, ...] = ()
    """Limits that a budget asked for in parentheses, in place of the case's own on the same numbers; none: only the
    case's own."""

    _readers: ClassVar[Mapping[str, Reader]] = {"steps": many(SearchStep.from_dict), "conditions": tuple}

    @property
    def played(self) -> str:
        """The load that the case's own figures are of, as :func:`step_label` writes it; empty where none was tried."""
        load = self.highest if self.highest is not None else self.steps[0].load if self.steps else None
        return "" if load is None else step_label(self.over, load)

    @property
    def unit(self) -> str:
        """``streams`` or ``requests/s``."""
        return "streams" if self.over == "concurrency" else "requests/s"
