"""Quantiles of Student's t, against published tables, and against scipy where it is installed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.student import prediction_bound, t_quantile


@pytest.mark.parametrize(
    ("p", "freedom", "value"),
    [(0.99, 1, 31.821), (0.99, 2, 6.965), (0.99, 3, 4.541), (0.95, 4, 2.132), (0.99, 9, 2.821), (0.975, 30, 2.042)],
)
def test_the_table(p: float, freedom: int, value: float) -> None:
    """As in every textbook, to three places."""
    assert t_quantile(p, freedom) == pytest.approx(value, abs=5e-4)


@given(st.floats(0.5, 0.9999), st.integers(1, 300))
def test_against_scipy(p: float, freedom: int) -> None:
    """The same as scipy.stats.t.ppf."""
    exact = pytest.importorskip("scipy.stats").t.ppf(p, freedom)
    assert t_quantile(p, freedom) == pytest.approx(exact, rel=1e-6, abs=1e-9)


def test_prediction_bound() -> None:
    """By hand: mean 10, stdev 1, three values; and never below the mean."""
    assert prediction_bound([9, 10, 11]) == pytest.approx(10 + 6.9646 * math.sqrt(4 / 3), abs=1e-3)
    assert prediction_bound([5.0, 5.0, 5.0]) == 5.0


@pytest.mark.parametrize(("p", "freedom"), [(0.4, 3), (1, 3), (0.9, 0)])
def test_refused(p: float, freedom: int) -> None:
    """What has no quantile here is refused, and so is a bound from one value."""
    with pytest.raises(ValueError, match="found p"):
        t_quantile(p, freedom)
    with pytest.raises(ValueError, match="at least two"):
        prediction_bound([1.0])
