"""Pareto chart: quality over the time of whole answers, a point per model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.report.answer_sentence import answer_of
from pytest_flperf.report.figures import NOTHING, counted, number
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
)
from pytest_flperf.report.html.content import Cell, Front, Panel, PanelGroup, Panels, Table
from pytest_flperf.report.html.label_places import Box, placed
from pytest_flperf.report.quality_words import share, share_and_interval
from pytest_flperf.report.rivals import shown_models
from pytest_flperf.report.sentences import models_of
from pytest_flperf.report.terminal.tables import cut, width_of
from pytest_flperf.results.answer import FrontPoint
from pytest_flperf.results.records import Run
from pytest_flperf.results.serialize import Interval

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["pareto_front"]

_LEFT: Final = 40.0
_TOP: Final = 26.0
_HEIGHT: Final = 220.0
_RIGHT: Final = 16.0
_RADIUS: Final = 5.0
_NAME_CELLS: Final = 20
_CELL_WIDTH: Final = 6.6
"""Of a letter of 12 px."""
_LINE: Final = 13.0
_WHISKER: Final = 2.0
_FAR: Final = 20.0
"""Distance of a label from which on a line leads to it."""
_NOTE: Final = (
    "Further left is faster, higher is more often right. Full: on the Pareto front. Hollow: another model is faster "
    "and more often right, both beyond doubt; what is not decided stays on the front. Lines at the points are 95 % "
    "intervals of each model alone. Where two overlap, the models can still be told apart, as they are compared prompt "
    "by prompt. Dashes join the best estimates."
)


@dataclass(frozen=True, slots=True)
class _Point:
    """A model's point, in the units of the drawing."""

    name: str
    series: int
    x: float
    y: float
    across: tuple[float, float]
    """Ends of the interval of its time."""
    up: tuple[float, float]
    """Ends of the interval of its quality, the upper one first."""
    on_front: bool

    @property
    def boxes(self) -> tuple[Box, ...]:
        """What no label may cover: the mark and both intervals."""
        reach = _RADIUS + 2
        return (
            Box(self.x - reach, self.y - reach, self.x + reach, self.y + reach),
            Box(self.across[0], self.y - _WHISKER, self.across[1], self.y + _WHISKER),
            Box(self.x - _WHISKER, self.up[0], self.x + _WHISKER, self.up[1]),
        )


def pareto_front(run: Run) -> Front | None:
    """Quality and speed of the models of a run, as chart and table; None where not both are compared."""
    found = answer_of(run)
    models = models_of(run.cases)
    points = [each for each in found.front if each.model in models]
    if len(points) < 2:
        return None
    names = shown_models(models)
    compared = next((each.compared for each in found.rankings if each.goal == "quality"), 0)
    over = f"over {counted(compared, 'prompt')}" if compared else ""
    shown = {each.model: names[each.model] for each in points}
    picture = _picture(points, shown, {model: models.index(model) for model in shown})
    panel = Panel("Quality over the time of whole answers", over, picture)
    return Front(Panels((PanelGroup("", (panel,)),), legend(models), _NOTE), _table(points, shown))


def _table(points: Sequence[FrontPoint], names: dict[str, str]) -> Table:
    rows = tuple(
        (
            Cell(names[each.model]),
            Cell(quality),
            Cell(interval or NOTHING, tight=True),
            Cell(number(each.e2e_ms)),
            Cell(_times(each.e2e_ms_ci) or NOTHING, tight=True),
            Cell(_standing(each, names)),
        )
        for each in points
        for quality, interval in (share_and_interval(each.quality, each.quality_ci),)
    )
    head = ("model", "quality", "95 % interval", "whole answer, ms", "95 % interval", "Pareto front")
    return Table("Quality and speed", head, rows)


def _times(interval: Interval | None) -> str:
    return "" if interval is None else f"[{number(interval[0])}, {number(interval[1])}]"


def _standing(point: FrontPoint, names: dict[str, str]) -> str:
    others = [names.get(model, model) for model in point.dominated_by]
    if not others:
        return "on it"
    verb = "is" if len(others) == 1 else "are"
    return f"{' and '.join(others[:2])}{' …' * (len(others) > 2)} {verb} better at both"


def _picture(points: Sequence[FrontPoint], names: dict[str, str], series: dict[str, int]) -> Markup:
    bottom = _TOP + _HEIGHT
    times = [time for each in points for time in (each.e2e_ms, *(each.e2e_ms_ci or ()))]
    shares = [100 * value for each in points for value in (each.quality, *(each.quality_ci or ()))]
    across = axis_of(times, _LEFT, MULTIPLE - _LEFT - _RIGHT)
    up = axis_of([*shares, 100.0, min(*shares, 99.0)], bottom, -_HEIGHT)
    drawn = [_point(each, names[each.model], series[each.model], across, up) for each in points]
    parts = [*_frame(across, up, bottom), *_best_estimates(points, across, up)]
    parts += _labels(drawn, Box(_LEFT, _TOP - 4, MULTIPLE, bottom))
    parts += [part for each in drawn for part in _mark(each)]
    told = "The table below says the same: " + "; ".join(_told(each, names[each.model]) for each in points)
    return drawing("front", MULTIPLE, bottom + 40, "Quality over the time of whole answers", told, parts)


def _told(point: FrontPoint, name: str) -> str:
    front = "off" if point.dominated_by else "on"
    return f"{printable(name, 40)} {share(point.quality)}, {number(point.e2e_ms)} ms, {front} the front"


def _point(found: FrontPoint, name: str, series: int, across: Axis, up: Axis) -> _Point:
    times = found.e2e_ms_ci or (found.e2e_ms, found.e2e_ms)
    shares = found.quality_ci or (found.quality, found.quality)
    return _Point(
        name,
        series,
        across.at(found.e2e_ms),
        up.at(100 * found.quality),
        (across.at(times[0]), across.at(times[1])),
        (up.at(100 * shares[1]), up.at(100 * shares[0])),
        not found.dominated_by,
    )


def _frame(across: Axis, up: Axis, bottom: float) -> list[str]:
    end, levels = across.start + across.length, [up.at(tick) for tick in up.ticks]
    return [
        label(0, 12, f"quality, %{up.scale}"),
        gridlines([across.at(tick) for tick in across.ticks], _TOP, bottom, levels, _LEFT, end),
        *(label(_LEFT - 5, y + 4, tick_text(tick), "end") for y, tick in zip(levels, up.ticks, strict=True)),
        *bottom_axis(across, bottom, "whole answer p50, ms"),
    ]


def _best_estimates(points: Iterable[FrontPoint], across: Axis, up: Axis) -> list[str]:
    """Steps through the models of which none is better at both, by the estimates."""
    best: list[FrontPoint] = []
    for each in sorted(points, key=lambda each: (each.e2e_ms, -each.quality)):
        if not best or each.quality > best[-1].quality:
            best.append(each)
    places = [(across.at(each.e2e_ms), up.at(100 * each.quality)) for each in best]
    if len(places) < 2:
        return []
    steps = "".join(f"H{x:.5g}V{y:.5g}" for x, y in places[1:])
    x, y = places[0]
    attributes = 'fill="none" stroke="currentColor" stroke-opacity=".5" stroke-dasharray="3 4"'
    return [f'<path d="M{x:.5g} {y:.5g}{steps}" {attributes}/>']


def _mark(point: _Point) -> list[str]:
    colour, classes = colour_of(point.series), colour_class(point.series)
    whisker = f'class="{classes}" stroke="{colour}" stroke-opacity=".7" stroke-width="1.5"'
    filled = f'class="{classes} met" fill="{colour}"' if point.on_front else f'class="{classes} hollow" fill="#fff"'
    shape = mark(point.series, point.x, point.y, _RADIUS)
    return [
        line(point.across[0], point.y, point.across[1], point.y, whisker),
        line(point.x, point.up[0], point.x, point.up[1], whisker),
        f'<path d="{shape}" {filled} stroke="{colour}" stroke-width="2"/>',
    ]


def _labels(points: Sequence[_Point], frame: Box) -> list[str]:
    """Names beside the points, as many as fit; the legend and the table have all."""
    names = [cut(printable(each.name, 200), _NAME_CELLS) for each in points]
    sizes = [(_CELL_WIDTH * width_of(name), _LINE) for name in names]
    boxes = placed([(each.x, each.y) for each in points], sizes, [box for each in points for box in each.boxes], frame)
    parts = []
    for point, name, box in zip(points, names, boxes, strict=True):
        if box is not None:
            parts += _leader(point, box)
            parts.append(label(box.left, box.bottom - 3, name, more=' class="halo"'))
    return parts


def _leader(point: _Point, box: Box) -> list[str]:
    """A thin line from a point to a label that stands far from it."""
    x, y = min(max(point.x, box.left), box.right), min(max(point.y, box.top), box.bottom)
    far = abs(x - point.x) + abs(y - point.y) > _FAR
    return [line(point.x, point.y, x, y, 'stroke="currentColor" stroke-opacity=".45"')] if far else []
