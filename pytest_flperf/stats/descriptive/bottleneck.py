"""Client bottleneck: whether the client limited what was measured."""

from __future__ import annotations

from typing import Final

from pytest_flperf.results.notes import warning
from pytest_flperf.results.records import ClockQuality, Requests

__all__ = ["bottleneck"]

_LATE_SHARE: Final = 0.01
_LATE_READS: Final = 5
_LAG_MS: Final = 20.0
"""Of the 99th percentile: some 40 times what a client has on an idle machine with 256 streams."""


def bottleneck(requests: Requests, clock: ClockQuality, processes: int = 1) -> tuple[str, ...]:
    """Warning where the client read answers too late; else nothing.

    It has figures where reads lag behind arrivals, or where first tokens were read too late.

    Args:
        requests: How they ended.
        clock: How late they were read; with user stamps it can't be known.
        processes: Load processes that sent them.

    """
    found = []
    lag = clock.lag_ms
    if lag is not None and lag.p99 > _LAG_MS:
        found.append(f"answers were read {lag.p99:.0f} ms (p99) after they arrived")
    if requests.late_reads >= _LATE_READS and requests.late_reads > _LATE_SHARE * requests.ok:
        found.append(f"{requests.late_reads} of {requests.ok} first tokens were read too late to say when they came")
    if not found:
        return ()
    advice = f"fewer streams, a less busy machine or --flperf-load-processes={2 * processes} would help"
    return (warning(f"this client may be the bottleneck: {' and '.join(found)}; {advice}"),)
