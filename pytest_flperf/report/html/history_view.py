"""History in the HTML report: the last runs of each scenario, this one marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.history.earlier_runs import EarlierRuns, headline
from pytest_flperf.report.figures import counted, number
from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.html.charts import MULTIPLE, drawing, gridlines, label, legend, line, mark, stroke
from pytest_flperf.report.html.content import Panel, PanelGroup, Panels
from pytest_flperf.report.html.distributions_view import MOST_PANELS, limits_of
from pytest_flperf.report.html.ecdf_chart import Limit
from pytest_flperf.report.html.models_view import Groups
from pytest_flperf.report.rivals import shown_models
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["history_panels"]

_RUNS: Final = 20
_LEFT: Final = 46.0
_RIGHT: Final = MULTIPLE - 14.0
_TOP: Final = 26.0
_HEIGHT: Final = 100.0
_BOTTOM: Final = _TOP + _HEIGHT
_LARGE: Final = 5.0
_SMALL: Final = 2.2
"""Radius of the marks: of this run, and of earlier ones."""
_MARKED: Final = 60
"""Cases up to which earlier runs have marks; more would make the page large."""
_DATE: Final = len("2026-11-29")
_NEAR: Final = 3.0
"""The axis makes room for a limit up to so many times beyond the values."""
_FROM_ZERO: Final = 2.0
"""Largest ÷ smallest value from which the axis begins at zero."""
_FAILED: Final = ("failed", "error")
_WHAT: Final = (
    "Medians of the last runs of the same suites, on a machine of this kind and under the same conditions; the last "
    "one, with a large mark, is this run. A cross: the case failed. Each chart has an axis of its own."
)


@dataclass(frozen=True, slots=True)
class _Point:
    started_at: str
    value: float
    failed: bool


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    series: int
    earlier: tuple[_Point, ...]
    now: float
    failed: bool
    """Whether it failed now."""


@dataclass(frozen=True, slots=True)
class _Chart:
    scenario: str
    metric: str
    lines: tuple[_Line, ...]
    limits: tuple[Limit, ...]
    marks: bool
    """Whether earlier runs have marks, too."""

    @property
    def dates(self) -> list[str]:
        """When the earlier runs began, oldest first."""
        return sorted({point.started_at for each in self.lines for point in each.earlier})[-(_RUNS - 1) :]


def history_panels(groups: Groups, earlier: EarlierRuns, models: Sequence[str]) -> Panels | None:
    """A chart per scenario, models overlaid; None where no case has an earlier run.

    Args:
        groups: The cases by scenario and model.
        earlier: The earlier runs of cases, by node id.
        models: All models of the run; their order gives them their colours and shapes.

    """
    marks = sum(map(len, groups.values())) <= _MARKED
    charts = [
        chart
        for scenario, by_model in groups.items()
        if (chart := _chart(scenario, by_model, earlier, models, marks=marks)) is not None
    ]
    if not charts:
        return None
    panels = tuple(
        Panel(chart.scenario, counted(len(chart.dates) + 1, "run"), _drawn(f"history-{place}", chart))
        for place, chart in enumerate(charts[:MOST_PANELS])
    )
    more = f" {MOST_PANELS} of {len(charts)} scenarios are drawn." if len(charts) > MOST_PANELS else ""
    return Panels((PanelGroup("", panels),), legend(models), _WHAT + more)


def _chart(
    scenario: str, by_model: Mapping[str, CaseResult], earlier: EarlierRuns, models: Sequence[str], *, marks: bool
) -> _Chart | None:
    """The chart of a scenario, by the metric of its first case with an earlier run."""
    names = shown_models(models)
    metric, lines, cases = "", [], []
    for model, case in by_model.items():
        found = headline(case)
        before = earlier.get(case.nodeid, ())
        if found is None or not before or metric not in ("", found[0]):
            continue
        metric = found[0]
        points = tuple(_Point(each.started_at, each.value, each.outcome in _FAILED) for each in before)
        lines.append(_Line(names[model], models.index(model), points, found[1].p50, case.outcome in _FAILED))
        cases.append(case)
    if not lines:
        return None
    limits = tuple(each for each in limits_of(metric, cases) if each.words.startswith("p50"))
    return _Chart(scenario, metric, tuple(lines), limits, marks)


def _drawn(key: str, chart: _Chart) -> Markup:
    title, unit = METRICS[chart.metric].title, METRICS[chart.metric].unit
    dates = chart.dates
    up, step = _axis(chart), (_RIGHT - _LEFT - 2 * _LARGE) / max(len(dates), 1)
    across = {date: _LEFT + _LARGE + step * place for place, date in enumerate(dates)}
    now_x = _LEFT + _LARGE + step * len(dates)
    levels = [up.at(tick) for tick in up.ticks]
    parts = [
        label(0, 12, f"{title} p50, {unit}{up.scale}"),
        gridlines((), _TOP, _BOTTOM, levels, _LEFT, _RIGHT),
        *(label(_LEFT - 5, y + 4, tick_text(tick), "end") for y, tick in zip(levels, up.ticks, strict=True)),
        label(_LEFT, _BOTTOM + 16, dates[0][:_DATE]),
        label(_RIGHT, _BOTTOM + 16, "this run", "end"),
        *(_limit(up, limit) for limit in chart.limits),
        *(_line(each, across, now_x, up, marks=chart.marks) for each in chart.lines),
        *_crosses(chart.lines, across, now_x, up),
    ]
    desc = "; ".join(_words(each, unit) for each in chart.lines)
    return drawing(key, MULTIPLE, _BOTTOM + 24, f"{chart.scenario}: {title} p50 over the last runs", desc, parts)


def _axis(chart: _Chart) -> Axis:
    values = [value for each in chart.lines for value in (each.now, *(point.value for point in each.earlier))]
    low, high = min(values), max(values)
    near = [limit.value for limit in chart.limits if low / _NEAR <= limit.value <= high * _NEAR]
    return axis_of([*values, *near], _BOTTOM, -_HEIGHT, zero=high > _FROM_ZERO * low, log=False)


def _limit(up: Axis, limit: Limit) -> str:
    if not up.low <= limit.value <= up.high:
        return ""
    y = up.at(limit.value)
    drawn = line(_LEFT, y, _RIGHT, y, 'class="bad" stroke="currentColor" stroke-width="1.5" stroke-dasharray="4 3"')
    return drawn + label(_LEFT + 3, y - 4, limit.words, more=' class="bad halo"')


def _line(each: _Line, across: Mapping[str, float], now_x: float, up: Axis, *, marks: bool) -> str:
    """A line through the runs, this one with a large mark; one path for all of it."""
    places = [(across[point.started_at], up.at(point.value)) for point in each.earlier if point.started_at in across]
    now = (now_x, up.at(each.now))
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (*places, now))
    small = "".join(mark(each.series, x, y, _SMALL) for x, y in places) if marks else ""
    return f'<path {stroke(each.series)} d="{path}{small}{mark(each.series, *now, _LARGE)}" stroke-width="1.6"/>'


def _crosses(lines: Sequence[_Line], across: Mapping[str, float], now_x: float, up: Axis) -> list[str]:
    failed = [
        (across[point.started_at], up.at(point.value))
        for each in lines
        for point in each.earlier
        if point.failed and point.started_at in across
    ]
    failed += [(now_x, up.at(each.now)) for each in lines if each.failed]
    if not failed:
        return []
    path = "".join(f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" for x, y in failed)
    return [f'<path class="bad" d="{path}" fill="none" stroke="currentColor" stroke-width="2"/>']


def _words(each: _Line, unit: str) -> str:
    values = [point.value for point in each.earlier]
    ends = f"from {number(min(values))} to {number(max(values))}"
    return f"{each.name}: {number(each.now)} {unit} in this run, {ends} in {counted(len(values), 'earlier run')}"
