"""The bound of a rate of failures, against the definition, and against scipy where it is installed."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.failure_bounds import requests_needed, upper_bound


@pytest.mark.parametrize("total", [1, 10, 299, 1_000_000])
def test_no_failure(total: int) -> None:
    """None of n: 1 - 0.05^(1/n), the rule of three for many."""
    bound = upper_bound(0, total)
    assert bound == pytest.approx(1 - 0.05 ** (1 / total), rel=1e-9)
    assert bound <= 3 / total


def test_all_failed() -> None:
    """Nothing less than everything is proven."""
    assert upper_bound(7, 7) == 1.0
    for failed, total in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="expected at least one"):
            upper_bound(failed, total)


@given(st.integers(1, 400), st.data())
def test_the_definition(total: int, data: st.DataObject) -> None:
    """At the bound, so few or fewer fail in one of twenty runs: the sum of the binomial distribution, term by term."""
    failed = data.draw(st.integers(0, total - 1))
    bound = upper_bound(failed, total)
    assert failed / total < bound < 1
    terms = (math.comb(total, k) * bound**k * (1 - bound) ** (total - k) for k in range(failed + 1))
    assert math.fsum(terms) == pytest.approx(0.05, rel=1e-6)


@given(st.integers(1, 200_000), st.data())
@example(1_000_000, None)
def test_against_scipy(total: int, data: st.DataObject | None) -> None:
    """The exact one-sided bound of scipy.stats.binomtest."""
    binomtest = pytest.importorskip("scipy.stats").binomtest
    failed = 333 if data is None else data.draw(st.integers(0, total))
    exact = binomtest(failed, total, alternative="less").proportion_ci(0.95, "exact").high
    assert upper_bound(failed, total) == pytest.approx(exact, rel=1e-7)


@given(st.floats(1e-5, 1))
@example(0.01)
@example(0.95)
def test_requests_that_prove_a_limit(limit: float) -> None:
    """So many without a failure keep the limit, one less doesn't."""
    count = requests_needed(limit)
    assert count is not None
    assert upper_bound(0, count) <= limit
    assume(count > 1)
    assert upper_bound(0, count - 1) > limit


def test_known_numbers_of_requests() -> None:
    """The figures that tables of the rule of three have; no number proves a rate of 0."""
    assert [requests_needed(limit) for limit in (0.05, 0.01, 0.001)] == [59, 299, 2995]
    assert requests_needed(0) is None
    assert requests_needed(5e-324) is None
