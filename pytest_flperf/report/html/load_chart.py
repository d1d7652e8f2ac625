"""Load chart: throughput over latency, a line per model, a point per load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.answers.sweeps import LoadPoint, Sweep, sweeps_of
from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.html.charts import (
    MULTIPLE,
    bottom_axis,
    colour_class,
    colour_of,
    drawing,
    gridlines,
    label,
    legend,
    line,
    mark,
    stroke,
)
from pytest_flperf.report.html.content import Panel, PanelGroup, Panels
from pytest_flperf.report.rivals import shown_models
from pytest_flperf.report.sentences import models_of
from pytest_flperf.results.records import CaseResult

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["load_charts"]

_MOST: Final = 6
_LEFT: Final = 46.0
_TOP: Final = 34.0
_HEIGHT: Final = 190.0
_RIGHT: Final = 16.0
_NEAR: Final = 16.0
"""Labels closer than this would cover each other."""
_FEWEST: Final = 2
_NOTE: Final = (
    "Tokens/s of all streams over the TTFT. The numbers at the points are the load. Full points met their budgets, "
    "hollow ones missed some. Higher is more throughput, further left a sooner first token."
)
_METRIC: Final = "ttft_ms"


@dataclass(frozen=True, slots=True)
class _Point:
    load: float
    ttft_ms: float
    tps: float
    met: bool


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    series: int
    points: tuple[_Point, ...]


@dataclass(frozen=True, slots=True)
class _Chart:
    scenario: str
    unit: str
    statistic: str
    curves: tuple[_Curve, ...]
    limit_ms: float | None


def load_charts(cases: Sequence[CaseResult]) -> Panels | None:
    """A chart for each scenario that was measured at several loads; None where none was."""
    models = models_of(cases)
    found = [chart for sweep in sweeps_of(cases) if (chart := _chart(sweep, models)) is not None]
    if not found:
        return None
    panels = tuple(
        Panel(f"{chart.scenario}: what each load gives", "", _drawn(f"load-{number}", chart))
        for number, chart in enumerate(found[:_MOST])
    )
    more = f" {_MOST} of {len(found)} sweeps are drawn." if len(found) > _MOST else ""
    return Panels((PanelGroup("", panels),), legend(models), _NOTE + more)


def _chart(sweep: Sweep, models: Sequence[str]) -> _Chart | None:
    """The chart of a sweep; None where no model has two points."""
    measured = [each.case for each in sweep.points if each.case.tps_total and _METRIC in each.case.metrics]
    statistic = "p50" if any("p95" in case.metrics[_METRIC].unsure for case in measured) else "p95"
    names = shown_models(models)
    curves = tuple(
        _Curve(names[model], models.index(model), points)
        for model, loads in sweep.by_model().items()
        if (points := tuple(point for each in loads if (point := _point(each, statistic)) is not None))
    )
    if not any(len(curve.points) >= _FEWEST for curve in curves):
        return None
    return _Chart(measured[0].scenario, sweep.unit, statistic, curves, _limit(measured, statistic))


def _point(found: LoadPoint, statistic: str) -> _Point | None:
    """The load's place in the chart; None where it was not measured."""
    case = found.case
    value = case.metrics[_METRIC].statistic(statistic) if _METRIC in case.metrics else None
    if not value or value <= 0 or not case.tps_total:
        return None
    return _Point(found.load, value, case.tps_total, case.outcome == "passed")


def _limit(cases: Iterable[CaseResult], statistic: str) -> float | None:
    limits = [
        verdict.limit
        for case in cases
        for verdict in case.budgets
        if (verdict.metric, verdict.statistic) == (_METRIC, statistic)
    ]
    return min(limits, default=None)


def _drawn(key: str, chart: _Chart) -> Markup:
    points = [each for curve in chart.curves for each in curve.points]
    limit = () if chart.limit_ms is None else (chart.limit_ms,)
    bottom = _TOP + _HEIGHT
    across = axis_of([*(each.ttft_ms for each in points), *limit], _LEFT, MULTIPLE - _LEFT - _RIGHT)
    up = axis_of([each.tps for each in points], bottom, -_HEIGHT, zero=True)
    title = f"TTFT {chart.statistic}, ms"
    parts = [*_frame(across, up, bottom, title, chart.unit), *_budget(across, bottom, chart.limit_ms)]
    for curve in chart.curves:
        parts += _curve(across, up, curve)
    desc = "; ".join(f"{curve.name}: {_words(curve, chart.unit)}" for curve in chart.curves)
    return drawing(key, MULTIPLE, bottom + 40, f"{chart.scenario}: tokens/s over TTFT {chart.statistic}", desc, parts)


def _frame(across: Axis, up: Axis, bottom: float, title: str, unit: str) -> list[str]:
    end, levels = across.start + across.length, [up.at(tick) for tick in up.ticks]
    return [
        label(0, 12, f"tokens/s; at the points: {unit}"),
        gridlines([across.at(tick) for tick in across.ticks], _TOP, bottom, levels, _LEFT, end),
        *(label(_LEFT - 5, y + 4, tick_text(tick), "end") for y, tick in zip(levels, up.ticks, strict=True)),
        *bottom_axis(across, bottom, title),
    ]


def _budget(across: Axis, bottom: float, limit_ms: float | None) -> list[str]:
    if limit_ms is None:
        return []
    x, end = across.at(limit_ms), across.start + across.length
    return [
        f'<rect x="{x:.6g}" y="{_TOP}" width="{max(end - x, 0):.6g}" height="{_HEIGHT}" fill="currentColor" '
        'fill-opacity=".06"/>',
        line(x, _TOP, x, bottom, 'stroke="currentColor" stroke-dasharray="4 3"'),
        label(x + 4, bottom - 6, "misses the budget"),
    ]


def _curve(across: Axis, up: Axis, curve: _Curve) -> list[str]:
    """A line through the points; full where the budgets were met."""
    colour, classes = colour_of(curve.series), colour_class(curve.series)
    places = [(across.at(each.ttft_ms), up.at(each.tps), each) for each in curve.points]
    path = "L".join(f"{x:.5g} {y:.5g}" for x, y, _ in places)
    parts = [f'<path {stroke(curve.series)} d="M{path}" stroke-width="2"/>']
    said: list[tuple[float, float]] = []
    for x, y, each in places:
        fill = f'class="{classes} met" fill="{colour}"' if each.met else f'class="{classes} hollow" fill="#fff"'
        parts.append(f'<path d="{mark(curve.series, x, y, 4.5)}" {fill} stroke="{colour}" stroke-width="2"/>')
        crowded = any(abs(x - left) < _NEAR and abs(y - 9 - top) < _NEAR for left, top in said)
        said.append((x, y + 18 if crowded else y - 9))
        parts.append(label(*said[-1], f"{each.load:.4g}", "middle", ' class="halo"'))
    return parts


def _words(curve: _Curve, unit: str) -> str:
    return ", ".join(
        f"{each.load:.4g} {unit} {each.tps:.4g} tokens/s at {each.ttft_ms:.4g} ms" for each in curve.points
    )
