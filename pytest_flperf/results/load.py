"""How the requests of a case, or of a calibration, were sent."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_flperf.results.record import Record

__all__ = ["Load"]


@dataclass(frozen=True, slots=True)
class Load(Record):
    """How the requests were sent.  What a shape has no use for is null."""

    shape: str = "closed"
    concurrency: int = 1
    """Streams of a closed loop; of an open one those of its warm-up."""
    iterations: int | None = None
    """Measured requests in all, as planned; null where only the duration ended them."""
    warmup: int | None = None
    stream: bool = True
    rate: float | None = None
    """Requests per second as planned; of a ramp at its begin."""
    rate_to: float | None = None
    burstiness: float | None = None
    burst_size: int | None = None
    max_in_flight: int | None = None
    think_time_s: float | None = None
    duration_s: float | None = None
    ramp_up_s: float | None = None
    cool_down_s: float | None = None
    processes: int = 1
    """Load processes that the streams were spread over."""
