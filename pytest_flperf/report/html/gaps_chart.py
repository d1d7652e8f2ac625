"""Charts of the gaps between arrivals: single requests, and their median."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from pytest_flperf.report.figures import counted, number
from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.html.charts import MULTIPLE, bottom_axis, drawing, gridlines, label, stroke

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["gaps_chart"]

_LEFT: Final = 46.0
_RIGHT: Final = MULTIPLE - 14.0
_TOP: Final = 22.0
_HEIGHT: Final = 110.0
_BOTTOM: Final = _TOP + _HEIGHT
_TRACES: Final = 5
"""Single requests that are drawn."""
_POINTS: Final = 100
_DASH: Final = 2.0
_FEWEST: Final = 3
"""Requests from which a median is drawn."""


def gaps_chart(key: str, title: str, series: int, gaps: Sequence[Sequence[float]]) -> Markup:
    """The gap before each arrival: thin single requests, bold the median over the requests.

    The median goes as far as half of the requests do.  Of arrivals too close to be told apart, a single request shows
    the longest gap.

    Args:
        key: Prefix of the ids within the drawing; each drawing of a page needs its own.
        title: Title of the chart.
        series: Which colour the case's model has.
        gaps: Of each request, ms; at least one, none of them empty.

    """
    drawn = gaps[:_TRACES]
    middle = _median(gaps) if len(gaps) >= _FEWEST else []
    longest = max(map(len, [*drawn, middle]))
    size = -(-longest // _POINTS)
    traces = [_thinned(trace, size) for trace in drawn]
    across = axis_of([1.0, longest + 1.0], _LEFT, _RIGHT - _LEFT, ticks=5, zero=True, log=False)
    up = axis_of([value for trace in traces for _, value in trace], _BOTTOM, -_HEIGHT, zero=True)
    levels = [up.at(tick) for tick in up.ticks]
    parts = [
        label(0, 12, "gap before each arrival, ms"),
        gridlines([across.at(tick) for tick in across.ticks], _TOP, _BOTTOM, levels, _LEFT, _RIGHT),
        *(label(_LEFT - 5, y + 4, tick_text(tick), "end") for y, tick in zip(levels, up.ticks, strict=True)),
        *bottom_axis(across, _BOTTOM, "arrival"),
        f'<path {stroke(series)} d="{"".join(_path(trace, across, up) for trace in traces)}" stroke-opacity=".4"/>',
    ]
    desc = f"{counted(len(drawn), 'request')}, the longest gap {number(_longest(traces))} ms"
    if middle:
        kept = [(place, median(middle[place : place + size])) for place in range(0, len(middle), size)]
        parts.append(f'<path {stroke(series)} d="{_path(kept, across, up)}" stroke-width="2.2"/>')
        desc += f"; median over {len(gaps)} requests: {number(median(middle))} ms"
    return drawing(key, MULTIPLE, _BOTTOM + 40, title, desc, parts)


def _median(gaps: Sequence[Sequence[float]]) -> list[float]:
    """Median of each gap, as long as half of the requests have it."""
    lengths = sorted(map(len, gaps), reverse=True)
    return [median(each[place] for each in gaps if place < len(each)) for place in range(lengths[len(gaps) // 2])]


def _thinned(trace: Sequence[float], size: int) -> list[tuple[int, float]]:
    return [(place, max(trace[place : place + size])) for place in range(0, len(trace), size)]


def _longest(traces: Sequence[Sequence[tuple[int, float]]]) -> float:
    return max(value for trace in traces for _, value in trace)


def _path(points: Sequence[tuple[int, float]], across: Axis, up: Axis) -> str:
    """A line, of a single gap a dash; the gap before the second arrival comes first."""
    if len(points) == 1:
        ((place, value),) = points
        return f"M{across.at(place + 2) - _DASH:.1f} {up.at(value):.1f}h{2 * _DASH:g}"
    return "M" + "L".join(f"{across.at(place + 2):.1f} {up.at(value):.1f}" for place, value in points)
