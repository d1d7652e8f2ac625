"""What is known of the requests of a case: distributions, counts, resources, failures, the clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from pytest_flperf.results.record import Interval, Reader, Record, interval_of

__all__ = ["ClockQuality", "Distribution", "Failure", "LagMs", "LoopMs", "PromptScore", "Requests", "ResourceUse"]


@dataclass(frozen=True, slots=True)
class Distribution(Record):
    """What is known of one metric over the requests of a case, in the metric's unit."""

    n: int
    """How many values; requests, except for ``itl_ms``, where it is gaps."""
    mean: float
    stdev: float | None
    """Of the sample (n − 1); None for a single value."""
    min: float
    p5: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    p50_ci95: Interval | None = None
    """95 % confidence interval of the median; None where so few values can't give one."""
    p95_ci95: Interval | None = None
    as_inf: int = 0
    """Failed requests that count as infinitely slow, where the scenario asks for that (``failures: as_inf``): those of
    the n that lie beyond ``max``, which like mean and stdev is of what was measured.  A percentile among them is
    infinite, in JSON null."""
    unsure: tuple[str, ...] = ()
    """Percentiles from fewer requests than they need: shown with a mark, never hidden, never silently trusted."""

    _readers: ClassVar[Mapping[str, Reader]] = {"p50_ci95": interval_of, "p95_ci95": interval_of, "unsure": tuple}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """As of any record; null percentiles are infinite where requests count as that."""
        if isinstance(record, Mapping) and record.get("as_inf"):
            beyond = {name: math.inf for name in _PERCENTILES if record.get(name, 0.0) is None}
            record = {**record, **beyond}
        return cls._read(record)

    def statistic(self, name: str) -> float | None:
        """``n``, ``mean``, ``p95`` …; raises KeyError for any other name."""
        if name not in _STATISTIC_FIELDS:
            raise KeyError(name)
        value: float | None = getattr(self, name)
        return value

    @property
    def cv(self) -> float | None:
        """Coefficient of variation, stdev / mean; None for a single value, and where the mean is 0."""
        return self.stdev / self.mean if self.stdev is not None and self.mean else None

    def interval(self, name: str) -> Interval | None:
        """The 95 % confidence interval of a statistic, where there is one."""
        return {"p50": self.p50_ci95, "p95": self.p95_ci95}.get(name)


_PERCENTILES: Final = ("p5", "p50", "p90", "p95", "p99")
_STATISTIC_FIELDS: Final = frozenset({"n", "mean", "stdev", "min", "p5", "p50", "p90", "p95", "p99", "max", "cv"})


@dataclass(frozen=True, slots=True)
class Requests(Record):
    """How the measured requests of a case ended."""

    total: int = 0
    ok: int = 0
    failed: int = 0
    timeouts: int = 0
    by_outcome: Mapping[str, int] = field(default_factory=dict)
    late_reads: int = 0
    """Requests whose TTFT is only an upper bound."""
    clock_steps: int = 0
    """Requests left out of timing because realtime moved."""
    outside: int = 0
    """Requests of ramp-up and cool-down; in no statistic but the rates, with what arrived in the steady window."""
    warmup: int = 0
    """Requests before the measured ones; in no statistic."""
    warmup_failed: int = 0
    retries: int = 0
    """Further tries of failed requests; in no statistic but ``tps_total`` and ``request_rate``."""
    recovered: int = 0
    """Failed requests of which a further try ended ok; they stay in the error rate."""

    _readers: ClassVar[Mapping[str, Reader]] = {"by_outcome": dict}


@dataclass(frozen=True, slots=True)
class ResourceUse(Record):
    """What a case took of one resource while its requests were measured, in the metric's unit."""

    n: int
    """Readings."""
    mean: float
    """Over time: each reading weighs as much as the time since the one before."""
    min: float
    max: float

    def statistic(self, name: str) -> float:
        """``n``, ``mean``, ``min`` or ``max``; raises KeyError for any other name."""
        if name not in _RESOURCE_FIELDS:
            raise KeyError(name)
        value: float = getattr(self, name)
        return value


_RESOURCE_FIELDS: Final = frozenset({"n", "mean", "min", "max"})


@dataclass(frozen=True, slots=True)
class Failure(Record):
    """Requests that failed alike, and the evidence of the first of them."""

    outcome: str
    count: int
    status: int | None = None
    detail: str = ""
    body_head: str = ""


@dataclass(frozen=True, slots=True)
class LagMs(Record):
    """From kernel arrival to Python's read, ms: how loaded the client was."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class LoopMs(Record):
    """How long the load process's loop was busy before it looked at its sockets again, ms."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class ClockQuality(Record):
    """Which clock stamped, and how late Python was."""

    source: str | None = None
    """``kernel``, ``user`` or ``mixed``; None where nothing was received."""
    lag_ms: LagMs | None = None
    """None with user stamps, where it can't be known."""
    lag_histogram: Mapping[str, int] = field(default_factory=dict)
    """Reads by round(16 × log2(lag in ns)): what merges the clocks of several cases, true to 2.2 %."""

    loop_ms: LoopMs | None = None
    """None where no load process sent the requests, or where it can't be known any more (it was killed meanwhile)."""
    loop_histogram: Mapping[str, int] = field(default_factory=dict)
    """Turns of the loop, as ``lag_histogram`` has reads."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "lag_ms": LagMs.from_dict,
        "lag_histogram": dict,
        "loop_ms": LoopMs.from_dict,
        "loop_histogram": dict,
    }


@dataclass(frozen=True, slots=True)
class PromptScore(Record):
    """How well one prompt of a case was answered."""

    prompt: str
    """Tells prompts apart, in all runs of the same texts."""
    n: int
    """Measured requests."""
    score: float
    """Their mean score, 0 to 1; of those that failed 0."""
    alike: bool = False
    """Whether all of them were answered alike, byte for byte."""

    def __post_init__(self) -> None:
        if not (self.n >= 1 and 0 <= self.score <= 1):
            raise ValueError(f"a prompt with {self.n} requests and a score of {self.score}")
