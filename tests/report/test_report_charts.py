"""Axes and drawings."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_doubles import HOSTILE, measured

from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.html.charts import bottom_axis, colour_class, mark
from pytest_flperf.report.html.ecdf_chart import LEFT, LENGTH, Curve, Limit, ecdf

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20)


@given(VALUES, st.booleans())
def test_axis_has_room_for_everything(values: list[float], zero: bool) -> None:
    """Whatever the values: ascending marks, few of them, and every value has a place on the axis."""
    axis = axis_of(values, 100, 500, zero=zero)
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert 1 <= len(axis.ticks) <= 36
    assert 1 <= len(axis.labelled) <= 16
    for value in values:
        if not math.isnan(value):
            assert 99.999 <= axis.at(value) <= 600.001


@pytest.mark.parametrize(
    ("values", "length", "zero", "ticks"),
    [
        ([0, 4193], 100, True, (0, 2000, 4000, 6000)),
        ([3.4, 8.3], 100, False, (2, 4, 6, 8, 10)),
        ([7, 7], 100, False, None),
        ([2.8, 1724], 100, False, (10, 100, 1000)),
        ([2.8, 1724], 500, False, (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)),
        ([0.0], 100, True, None),
        ([1, 25], 300, False, (1, 2, 5, 10, 20, 50)),
        ([1, 25], 70, False, (1, 10)),
    ],
)
def test_marks(values: list[float], length: float, zero: bool, ticks: tuple[float, ...] | None) -> None:
    """Marks are round; far values make a logarithmic axis, with 1, 2 and 5 of each decade where they fit."""
    axis = axis_of(values, 0, length, zero=zero)
    if ticks is not None:
        assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= min(values) <= max(values) <= axis.high


@given(VALUES, st.floats(60, 700))
def test_labels_do_not_overlap(values: list[float], length: float) -> None:
    """Whatever the values: at least one tick has a label, and none covers another."""
    axis = axis_of(values, 0, length)
    assert set(axis.labelled) <= set(axis.ticks)
    assert axis.labelled
    places = [(axis.at(tick), 3.5 * len(tick_text(tick))) for tick in axis.labelled]
    for (left, half), (right, other) in itertools.pairwise(places):
        assert left + half < right - other


def test_labels_of_decades_come_first() -> None:
    """Where not all fit, 1, 10, 100 have theirs, then 5, then 2; grid lines stay at 1, 2 and 5."""
    axis = axis_of([1, 1900], 0, 300)
    assert axis.ticks == pytest.approx((1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000))
    assert {1, 10, 100, 1000} <= set(axis.labelled) < set(axis.ticks)


def test_an_axis_says_where_it_begins() -> None:
    """Nothing to say from zero; a number where it begins elsewhere; its kind where it is logarithmic."""
    assert axis_of([0, 7], 0, 100).scale == ""
    assert axis_of([105, 190], 0, 100).scale == ", axis begins at 100"
    assert axis_of([1, 900], 0, 100).scale == ", log scale"


@given(VALUES)
def test_labels_stay_in_the_drawing(values: list[float]) -> None:
    """The label at the end of an axis, too, however long."""
    axis = axis_of(values, LEFT, LENGTH, ticks=5)
    for text in bottom_axis(axis, 100, "")[:-1]:
        found = re.search(r'x="([0-9.]+)" y="115" text-anchor="(middle|end)">([^<]*)<', text)
        assert found is not None
        room = 3.5 if found[2] == "middle" else 0
        assert float(found[1]) + room * len(found[3]) <= 360


def test_no_two_models_look_the_same() -> None:
    """Sixteen models: each has another pair of colour and shape."""
    looks = {(colour_class(series), mark(series, 6, 6)) for series in range(16)}
    assert len(looks) == 16


def drawn(*curves: Curve, limits: tuple[Limit, ...] = (), axis: Axis | None = None) -> str:
    """An ECDF."""
    axis = axis or axis_of([end for curve in curves for end in (curve.found.min, curve.found.max)], LEFT, LENGTH)
    return str(ecdf("k", "short: TTFT", "TTFT, ms", "ms", axis, curves, limits))


def path_of(svg: str, series: str = "s0") -> str:
    """The data of a curve's path."""
    found = re.search(rf'class="{series}"[^>]*d="([^"]*)"', svg)
    assert found is not None
    return found[1]


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=300))
def test_steps_rise_to_one(values: list[float]) -> None:
    """A curve goes right and up only, from 0 to 100 %, whatever the values, in no more steps than the axis shows."""
    values.sort()
    path = path_of(drawn(Curve("m", 0, measured(values), values)))
    rights, ups = ([float(end) for end in re.findall(rf"{way}([0-9.]+)", path)] for way in "HV")
    assert rights == sorted(rights)
    assert ups == sorted(ups, reverse=True)
    assert ups[-1] == pytest.approx(10.0)
    assert len(rights) <= LENGTH / 0.5


def test_failed_requests_that_count_as_infinite() -> None:
    """Two of ten are never answered: the curve ends at 80 %."""
    values = [float(value) for value in range(1, 9)]
    found = replace(measured(values), n=10, as_inf=2, p90=math.inf, p95=math.inf, p99=math.inf)
    path = path_of(drawn(Curve("m", 0, found, values)))
    lowest = min(float(y) for y in re.findall(r"V([0-9.]+)", path))
    assert lowest == pytest.approx(126 - 0.8 * 116, abs=0.1)
    assert "inf" not in drawn(Curve("m", 0, found))


def test_distribution_without_single_values() -> None:
    """The summary alone gives a dotted line, through none of the percentiles from too few requests."""
    found = measured([float(value) for value in range(1, 12)])
    alone = drawn(Curve("m", 0, found))
    assert 'stroke-dasharray="2 2"' in alone
    assert 'stroke-dasharray="2 2"' not in drawn(Curve("m", 0, found, [1.0, 2.0, 11.0]))
    sure = replace(found, unsure=("p5", "p90", "p95", "p99"))
    assert path_of(drawn(Curve("m", 0, sure))).count("L") == path_of(alone).count("L") - 4
    assert "95 %" not in drawn(Curve("m", 0, sure))


def test_budgets_in_a_distribution() -> None:
    """A limit is a line with its words; one beyond the axis is an arrow at its end."""
    curve = Curve("m", 0, measured([10.0, 20.0, 30.0]), [10.0, 20.0, 30.0])
    svg = drawn(curve, limits=(Limit(25.0, "p95 ≤ 25 ms", 0.95), Limit(900.0, "p99 ≤ 900 ms", 0.99)))
    assert "p95 ≤ 25 ms<" in svg
    assert "p99 ≤ 900 ms →" in svg


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    """A name is text in a drawing, too, and short."""
    text = HOSTILE[name]
    curve = Curve(text, 0, measured([1.0, 2.0]), (1.0, 2.0))
    axis = axis_of([1, 2], LEFT, LENGTH)
    svg = str(ecdf("k", text, text, text, axis, [curve], (Limit(1.5, text, 0.5),)))
    assert set(re.findall(r"</?([a-zA-Z!]+)", svg)) <= {"svg", "title", "desc", "path", "text"}
    assert svg.isprintable()
    assert len(svg) < 20_000
