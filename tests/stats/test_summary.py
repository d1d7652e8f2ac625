"""Moments, percentiles and intervals."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.metric_statistics import STATISTICS
from pytest_flperf.stats.descriptive.summary import distribution, quantile, quantile_interval

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200)


@given(VALUES, st.floats(0, 1))
def test_quantile_is_numpys(values: list[float], p: float) -> None:
    """Every quantile is what numpy's default gives, to the last few bits."""
    found = quantile(sorted(values), p)
    assert found == pytest.approx(float(np.quantile(values, p)), rel=1e-12, abs=1e-6)
    assert min(values) <= found <= max(values)


@given(VALUES)
def test_distribution_agrees_with_numpy(values: list[float]) -> None:
    """Moments and percentiles are numpy's, and percentiles never cross."""
    found = distribution(values)
    assert found is not None
    assert (found.n, found.min, found.max) == (len(values), min(values), max(values))
    assert found.mean == pytest.approx(float(np.mean(values)), rel=1e-9, abs=1e-5)
    if len(values) == 1:
        assert found.stdev is None
    else:
        assert found.stdev == pytest.approx(float(np.std(values, ddof=1)), rel=1e-6, abs=1e-4)
    ladder = [found.min, found.p5, found.p50, found.p90, found.p95, found.p99, found.max]
    assert all(low <= high for low, high in pairwise(ladder))
    for interval, middle in ((found.p50_ci95, found.p50), (found.p95_ci95, found.p95)):
        assert interval is None or interval[0] <= middle <= interval[1]


def test_nothing_gives_no_distribution() -> None:
    """No value, or none that is finite, is None and not a row of zeros."""
    assert distribution([]) is None
    assert distribution([math.nan, math.inf]) is None
    found = distribution([1.0, math.nan, 3.0])
    assert found is not None
    assert (found.n, found.mean) == (2, 2.0)


def test_scale_divides_everything() -> None:
    """Nanoseconds come out as milliseconds in every figure."""
    numbers = [3_000_000, 1_000_000, 2_000_000, 4_000_000, 5_000_000, 6_000_000, 7_000_000]
    found = distribution(numbers, scale=1e6)
    plain = distribution([value / 1e6 for value in numbers])
    assert found is not None
    assert plain is not None
    assert found.p50_ci95 == plain.p50_ci95 == (1.0, 7.0)
    for name in STATISTICS:
        assert found.statistic(name) == pytest.approx(plain.statistic(name))


@pytest.mark.parametrize(
    ("n", "unsure"),
    [
        (1, ("p5", "p50", "p90", "p95", "p99")),
        (10, ("p5", "p50", "p90", "p95", "p99")),
        (11, ("p5", "p90", "p95", "p99")),
        (64, ("p5", "p95", "p99")),
        (129, ("p5", "p95", "p99")),
        (130, ("p99",)),
        (661, ("p99",)),
        (662, ()),
    ],
)
def test_percentiles_from_too_few_requests_are_marked(n: int, unsure: tuple[str, ...]) -> None:
    """The bounds of measuring.md, on both sides of each."""
    found = distribution(range(n))
    assert found is not None
    assert found.unsure == unsure


def test_pooled_values_are_marked_by_requests() -> None:
    """A thousand gaps of three requests are no thousand requests, and give no interval."""
    found = distribution(range(1000), requests=3, independent=False)
    assert found is not None
    assert "p50" in found.unsure
    assert found.p50_ci95 is None
    assert found.p95_ci95 is None


@pytest.mark.parametrize(("p", "fewest"), [(0.5, 6), (0.95, 59)])
def test_interval_needs_enough_values(p: float, fewest: int) -> None:
    """Below the fewest values that can give 95 %, there is no interval; from there on there is."""
    assert quantile_interval(range(fewest - 1), p) is None
    assert quantile_interval(range(fewest), p) is not None


@pytest.mark.parametrize(("n", "ranks"), [(6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (50, (18, 33)), (100, (40, 61))])
def test_median_interval_matches_published_ranks(n: int, ranks: tuple[int, int]) -> None:
    """The ranks of the textbook tables for a median's 95 % interval (Conover; Campbell and Gardner 1988)."""
    assert quantile_interval(range(1, n + 1), 0.5) == ranks


def exact_coverage(n: int, p: float) -> float:
    """The chance that the interval holds the quantile of a continuous distribution, from the binomial itself."""
    found = quantile_interval(range(1, n + 1), p)
    assert found is not None
    low, high = map(int, found)
    return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(low, high))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.95])
def test_interval_keeps_its_word_exactly(p: float) -> None:
    """For every n up to 400 the exact coverage is 95 % at least, and not far above where n is large."""
    for n in range(60, 400):
        coverage = exact_coverage(n, p)
        assert coverage >= 0.95 - 1e-12, n
        assert coverage < 0.995, n


def test_interval_covers_in_simulation() -> None:
    """On skewed values with a known median and p95 the intervals hold them in 95 % of 2,000 tries or more."""
    chance = random.Random(20261121)
    hits = {0.5: 0, 0.95: 0}
    tries = 2000
    for _ in range(tries):
        ordered = sorted(chance.expovariate(1.0) for _ in range(80))
        for p in hits:
            interval = quantile_interval(ordered, p)
            assert interval is not None
            hits[p] += interval[0] <= -math.log(1 - p) <= interval[1]
    # 2,000 tries of a chance of 95 % stay above 93.7 % in 99.7 of 100 cases.
    assert all(count / tries > 0.937 for count in hits.values()), hits


def test_interval_of_a_million_values() -> None:
    """Large n needs no approximation: the ranks are those of the normal limit, to within one."""
    n = 1_000_000
    found = quantile_interval(range(1, n + 1), 0.95)
    assert found is not None
    spread = 1.959964 * math.sqrt(n * 0.95 * 0.05)
    assert found[0] == pytest.approx(n * 0.95 - spread, abs=2)
    assert found[1] == pytest.approx(n * 0.95 + spread, abs=2)
