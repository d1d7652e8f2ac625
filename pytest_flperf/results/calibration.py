"""Calibration of the client: measured against true times, at one load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_flperf.results.load import Load
from pytest_flperf.results.serialize import Reader, Record

__all__ = ["Calibration"]


@dataclass(frozen=True, slots=True)
class Calibration(Record):
    """Calibration of the client against the reference server.

    The true times of the reference server are known.  Errors: measured − true.
    """

    load: Load
    """The load that was sent: for a ramp or a trace its busiest seconds, with their mean as ``rate``."""
    requests: int
    ttft_p50_ms: float
    """True, from the arrival of the request at the server to the send of the first token."""
    ttft_p99_ms: float
    ttft_p50_error_ms: float
    """Includes the way through loopback twice (15 to 60 µs)."""
    ttft_p99_error_ms: float
    gap_p99_error_ms: float
    """Of the mean gap per request."""
    cpu_us_per_token: float
    """Processor time of the load processes per streamed token."""
    late_reads: int = 0

    _readers: ClassVar[Mapping[str, Reader]] = {"load": Load.from_dict}
