"""When a run says that its client was the bottleneck."""

from __future__ import annotations

import pytest

from pytest_flperf.results.records import ClockQuality, LagMs, Requests
from pytest_flperf.stats.descriptive.bottleneck import bottleneck


def clock(p99_ms: float | None) -> ClockQuality:
    """Reads that lag by so much."""
    return ClockQuality("kernel", LagMs(0.1, p99_ms, p99_ms + 1) if p99_ms is not None else None)


@pytest.mark.parametrize(
    ("late", "ok", "lag_ms"), [(0, 100, 0.5), (4, 10, 1.0), (5, 501, 19.9), (0, 0, None), (5, 1_000_000, None)]
)
def test_nothing_is_said_of_a_client_that_keeps_up(late: int, ok: int, lag_ms: float | None) -> None:
    """A few late reads, and reads on time, are no bottleneck; nor is what can't be known."""
    assert bottleneck(Requests(ok=ok, late_reads=late), clock(lag_ms)) == ()


@pytest.mark.parametrize(
    ("late", "ok", "lag_ms", "words"),
    [
        (5, 100, 0.5, "5 of 100 first tokens were read too late to say when they came; fewer streams"),
        (0, 100, 31.4, "answers were read 31 ms (p99) after they arrived; fewer streams"),
        (50, 100, 40.0, "40 ms (p99) after they arrived and 50 of 100 first tokens"),
    ],
)
def test_figures_and_what_to_do(late: int, ok: int, lag_ms: float, words: str) -> None:
    """One warning, with the figures behind it, and with twice the processes that there were."""
    (note,) = bottleneck(Requests(ok=ok, late_reads=late), clock(lag_ms), processes=2)
    assert words in note
    assert note.startswith("warning: this client may be the bottleneck: ")
    assert note.endswith("--flperf-load-processes=4 would help")
