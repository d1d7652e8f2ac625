"""Quantiles of both sides of a comparison."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.comparison import Against
from pytest_flperf.results.sides import MOST_QUANTILES, Sides, drawn_metric

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=400)


@given(TIMES, TIMES)
def test_quantiles(ours: list[float], theirs: list[float]) -> None:
    """Ascending, no more than 99, each a value that was measured (to five digits); of few values all of them."""
    found = Sides.of_values(theirs, ours)
    assert found is not None
    for values, kept in ((ours, found.candidate), (theirs, found.baseline)):
        assert list(kept) == sorted(kept)
        assert len(kept) == min(len(values), MOST_QUANTILES)
        measured = {float(f"{value:.5g}") for value in values}
        assert set(kept) <= measured


@given(st.lists(st.floats(1, 1000), min_size=100, max_size=300))
def test_levels(values: list[float]) -> None:
    """The middle one of many is a median: at most half of the values are on either side of it."""
    found = Sides.of_values(values, values)
    assert found is not None
    middle = found.candidate[MOST_QUANTILES // 2]
    rounded = [float(f"{value:.5g}") for value in values]
    assert sum(value < middle for value in rounded) <= len(values) / 2
    assert sum(value > middle for value in rounded) <= len(values) / 2


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -1.0]])
def test_no_values(values: list[float]) -> None:
    """A side without a finite value gives nothing to draw."""
    assert Sides.of_values(values, [1.0]) is None
    assert Sides.of_values([1.0], values) is None


def test_which_metrics() -> None:
    """Times and speeds of requests; no rates of a case, no scores, nothing unknown."""
    names = ("ttft_ms", "gen_tps", "tps_total", "quality", "error_rate", "<b>")
    assert list(filter(drawn_metric, names)) == ["ttft_ms", "gen_tps"]


def test_files_of_earlier_versions() -> None:
    """A side without it is read, and has none; what is no list of numbers is refused."""
    record = Against("pairs", "l", sides={"ttft_ms": Sides((1.0,), (2.0,))}).to_dict()
    assert Against.from_dict(record).sides["ttft_ms"].candidate == (2.0,)
    del record["sides"]
    assert Against.from_dict(record).sides == {}
    with pytest.raises(ValueError, match="baseline"):
        Against.from_dict({**record, "sides": {"ttft_ms": {"baseline": [[]], "candidate": []}}})
