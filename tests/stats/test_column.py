"""Columns of numbers: what a sorted list would say, without the list."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.descriptive import quantiles as column
from pytest_flperf.stats.descriptive.clock_quality import clock_quality
from pytest_flperf.stats.descriptive.quantiles import Column
from pytest_flperf.stats.descriptive.summary import distribution

INTS = st.lists(st.integers(-(2**53), 2**53) | st.integers(0, 5), max_size=120)
FLOATS = st.lists(st.floats() | st.sampled_from([0.0, 1.5, 5e-324, sys.float_info.max]), max_size=120)


@pytest.fixture(scope="module", autouse=True)
def _short_runs() -> Iterator[None]:
    """Runs of seven numbers, so that few make many runs, and every search goes on to the end."""
    with patch.object(column, "_RUN", 7), patch.object(column, "_FEW", 2):
        yield


def filled(values: Sequence[float]) -> Column:
    """A column of these, some added one by one."""
    made = Column(values[:20])
    for value in values[20:30]:
        made.append(value)
    made.extend(values[30:])
    return made


@given(INTS)
def test_ints_are_as_in_a_sorted_list(values: list[int]) -> None:
    """Each place from both ends, the length, and all of them."""
    found, ordered = filled(values), sorted(values)
    assert len(found) == len(ordered)
    assert [found[k] for k in range(len(ordered))] == ordered
    assert [found[k] for k in range(-len(ordered), 0)] == ordered
    assert sorted(found) == ordered


@given(FLOATS)
def test_floats_are_as_in_a_sorted_list(values: list[float]) -> None:
    """From the smallest to the largest that there are; what is not finite is left out."""
    found, ordered = filled(values), sorted(filter(math.isfinite, values))
    assert [found[k] for k in range(len(found))] == ordered


def test_no_such_place() -> None:
    """As a list does it."""
    for made in (Column(), Column([3, 1])):
        for k in (len(made), -len(made) - 1):
            with pytest.raises(IndexError):
                made[k]


def test_it_may_be_read_before_it_is_full() -> None:
    """What comes later is in it as well."""
    made = Column([5, 3])
    assert made[0] == 3
    made.append(1)
    assert [made[0], made[-1], len(made)] == [1, 5, 3]


@given(st.lists(st.floats(-1e9, 1e9), max_size=120))
def test_a_distribution_is_the_same(values: list[float]) -> None:
    """To the last bit, interval and marks included."""
    assert distribution(filled(values)) == distribution(values)


@given(st.lists(st.integers(0, 10**12), max_size=120), st.integers(0, 50))
def test_a_distribution_of_gaps_is_the_same(values: list[int], requests: int) -> None:
    """To the last bit, as ms of ns."""
    found = distribution(filled(values), scale=1e6, requests=requests, independent=False)
    assert found == distribution(values, scale=1e6, requests=requests, independent=False)


@given(st.lists(st.integers(-1000, 10**10), min_size=1, max_size=120))
def test_the_clock_is_the_same(lags_ns: list[int]) -> None:
    """Percentiles to the last bit, and each lag in its bucket."""
    found = clock_quality(["kernel"], filled(lags_ns))
    ordered = distribution(lags_ns, scale=1e6)
    assert ordered is not None
    assert found.lag_ms is not None
    assert (found.lag_ms.p50, found.lag_ms.p99, found.lag_ms.max) == pytest.approx(
        (ordered.p50, ordered.p99, ordered.max)
    )
    buckets = sorted(round(16 * math.log2(max(lag, 1))) for lag in lags_ns)
    assert found.lag_histogram == {str(bucket): buckets.count(bucket) for bucket in buckets}
    assert [int(bucket) for bucket in found.lag_histogram] == sorted(set(buckets))
