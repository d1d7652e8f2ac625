"""Percentiles in which failed requests count as infinitely slow."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.records import Distribution
from pytest_flperf.stats.descriptive.failed_requests import with_failures
from pytest_flperf.stats.descriptive.summary import distribution

TIMES = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=300)
PERCENTILES = {"p5": 0.05, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@given(TIMES, st.integers(0, 50))
def test_percentiles_are_of_all_and_moments_of_what_was_measured(values: list[float], failed: int) -> None:
    """A percentile is infinite exactly where its upper neighbour is a failed request."""
    found, plain = with_failures(values, failed), distribution(values)
    assert found is not None
    assert plain is not None
    assert (found.mean, found.stdev, found.min, found.max) == (plain.mean, plain.stdev, plain.min, plain.max)
    assert (found.n, found.as_inf) == (len(values) + failed, failed)
    for name, share in PERCENTILES.items():
        value = found.statistic(name)
        place = (found.n - 1) * share
        assert value is not None
        assert math.isinf(value) == (math.ceil(place) >= len(values))
        assert value >= (plain.statistic(name) or 0.0) - 1e-9
    assert found.p50_ci95 is None or math.isfinite(found.p50_ci95[1])


@given(TIMES, st.integers(0, 50))
def test_a_file_holds_them(values: list[float], failed: int) -> None:
    """JSON has no infinity: null among failed requests is read as one."""
    found = with_failures(values, failed)
    assert found is not None
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Distribution.from_dict(json.loads(text)) == found


def test_nothing_measured() -> None:
    """Failed requests alone make no distribution: nothing can be met by it."""
    assert with_failures([], 3) is None
    assert with_failures([1.0, 2.0], 0) == distribution([1.0, 2.0])
