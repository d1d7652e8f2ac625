"""Load: how the requests of a case or calibration were sent."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_flperf.results.serialize import Record

__all__ = ["Load"]


@dataclass(frozen=True, slots=True)
class Load(Record):
    """Load: how the requests were sent.

    Fields that a shape doesn't use are None.
    """

    shape: str = "closed"
    concurrency: int = 1
    """Streams of a closed loop; in an open loop, those of its warm-up."""
    iterations: int | None = None
    """Measured requests in all, as planned; None where only the duration ends the load."""
    warmup: int | None = None
    stream: bool = True
    rate: float | None = None
    """Requests per second as planned; in a ramp, at its begin."""
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
