"""Axes and drawings."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_doubles import HOSTILE, measured

from pytest_flperf.report.html.axes import axis_of
from pytest_flperf.report.html.charts import Bar, Group, Strip, bars, ecdf, strips

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20)


@given(VALUES, st.booleans())
def test_axis_has_room_for_everything(values: list[float], zero: bool) -> None:
    """Whatever the values: ascending marks, few of them, and every value has a place on the axis."""
    axis = axis_of(values, 100, 500, zero=zero)
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert 1 <= len(axis.ticks) <= 12
    for value in values:
        if not math.isnan(value):
            assert 99.999 <= axis.at(value) <= 600.001


@pytest.mark.parametrize(
    ("values", "length", "zero", "ticks"),
    [
        ([0, 4193], 100, True, (0, 2000, 4000, 6000)),
        ([3.4, 8.3], 100, False, (2, 4, 6, 8, 10)),
        ([7, 7], 100, False, None),
        ([2.8, 1724], 300, False, (10, 100, 1000)),
        ([2.8, 1724], 500, False, (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)),
        ([0.0], 100, True, None),
        ([1, 25], 300, False, (1, 2, 5, 10, 20, 50)),
        ([1, 25], 100, False, (1, 10)),
    ],
)
def test_marks(values: list[float], length: float, zero: bool, ticks: tuple[float, ...] | None) -> None:
    """Marks are round; far values make a logarithmic axis, with 1, 2 and 5 of each decade where they fit."""
    axis = axis_of(values, 0, length, zero=zero)
    if ticks is not None:
        assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= min(values) <= max(values) <= axis.high


def test_bars_are_as_long_as_their_values() -> None:
    """Length is in proportion from zero; a missing value is a word."""
    rows = (Bar("m", 0, 50.0), Bar("n", 1, 100.0), Bar("o", 2, None, "nothing measured"))
    drawn = str(bars("k", "Throughput", "tokens/s", [Group("short", rows)]))
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([0-9.]+)"', drawn)]
    assert widths[1] == pytest.approx(2 * widths[0], rel=1e-3)
    assert "nothing measured" in drawn
    assert "Throughput, tokens/s" in drawn


def test_strips() -> None:
    """Sixty dots at most; a case without values is said."""
    many = tuple(float(value) for value in range(1, 5001))
    rows = (Strip("m", 0, measured(list(many)), many), Strip("n", 1, None))
    drawn = str(strips("k", "TTFT", "ms", [Group("short", rows)]))
    assert drawn.count("h.01") == 60
    assert "nothing measured" in drawn
    assert "TTFT, ms, logarithmic" in drawn


def test_distribution_without_single_values() -> None:
    """The summary alone gives a dashed line through its percentiles."""
    found = measured([float(value) for value in range(1, 12)])
    assert 'stroke-dasharray="4 3"' in ecdf("k", "TTFT", "ms", found)
    assert 'stroke-dasharray="4 3"' not in ecdf("k", "TTFT", "ms", found, [1.0, 2.0, 11.0])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    """A name is text in a drawing, too, and short."""
    text = HOSTILE[name]
    drawn = str(bars("k", text, text, [Group(text, (Bar(text, 0, 1.0), Bar(text, 1, None, text)))]))
    assert set(re.findall(r"</?([a-zA-Z!]+)", drawn)) <= {"svg", "title", "desc", "path", "text", "rect"}
    assert drawn.isprintable()
    assert len(drawn) < 20_000
