"""Trend charts: a panel per case, its number over the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.history.series import is_like
from pytest_flperf.history.trends import newest_runs
from pytest_flperf.report.figures import NOTHING, counted
from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.html.charts import colour_class, colour_of, drawing, label, label_text, line, row_name
from pytest_flperf.report.trend_words import (
    PERCENT,
    UNLIKE,
    UNLIKE_WORDS,
    change_words,
    is_passed,
    least_range,
    model_words,
    value_words,
)

if TYPE_CHECKING:
    from markupsafe import Markup

    from pytest_flperf.history.series import SeriesPoint
    from pytest_flperf.history.trends import Trend

__all__ = ["LEGEND", "TrendChart", "trend_panels", "trend_svg"]

LEGEND: Final = (
    "Dashed: where it began. Empty circle: the case did not pass. Faint circle: not comparable with the newest. Each "
    "scale is its own and does not begin at zero."
)
_MOST: Final = 100
_WIDTH: Final = 360.0
_GAP: Final = 24.0
_COLUMNS: Final = 2
_LEFT: Final = 54.0
_RIGHT: Final = 12.0
_TOP: Final = 44.0
_PLOT: Final = 96.0
_HEIGHT: Final = 184.0
_HEAD: Final = 64.0
_NAME_CELLS: Final = 50
_DATE: Final = len("2026-11-21")
_MINUTE: Final = len("2026-11-21T10:15")
_ROOM_FOR_DATES: Final = 150.0
_BOLD: Final = ' font-weight="600"'
_FAINT: Final = 'stroke="currentColor" stroke-opacity=".22"'
_TONES: Final = {"slower": "bad", "worse": "bad", "faster": "good", "better": "good"}
_TONE_COLOURS: Final = {"bad": "#b3161f", "good": "#0a6b3d", "": "currentColor"}
_STYLE: Final = (
    "<style>svg{color:#1c2024;background:#fff;font-family:system-ui,sans-serif}@media (prefers-color-scheme:dark){"
    "svg{color:#e6e9ed;background:#15181c}path.s0,circle.s0{stroke:#6aa2ff}circle.s0.met{fill:#6aa2ff}"
    "text.bad{color:#ff8a8a}text.good{color:#5fd195}}</style>"
)


@dataclass(frozen=True, slots=True)
class TrendChart:
    """What the panels show."""

    title: str
    """``ttft_ms.p50, ms: lower is better``."""
    unit: str
    trends: Sequence[Trend]
    words: Sequence[str]
    """Of each trend: ``slower``, or nothing."""

    @property
    def in_points(self) -> bool:
        """Whether changes are told in percentage points."""
        return self.unit == PERCENT

    @property
    def left_out(self) -> int:
        """How many of them are not drawn."""
        return max(len(self.trends) - _MOST, 0)


def trend_panels(chart: TrendChart) -> tuple[Markup, ...]:
    """A drawing per case, 100 at most."""
    runs = _places(chart)
    return tuple(
        drawing(f"trend-{number}", _WIDTH, _HEIGHT, _title(trend), _words(chart, trend, word), parts)
        for number, (trend, word) in enumerate(_shown(chart))
        for parts in [_panel(trend, word, runs, 0.0, 0.0, in_points=chart.in_points)]
    )


def trend_svg(chart: TrendChart) -> str:
    """A whole SVG file: all panels in two columns, light or dark as the viewer is."""
    runs = _places(chart)
    parts = [label(_GAP, 26, chart.title, more=' font-size="15" font-weight="600"'), label(_GAP, 46, LEGEND)]
    shown = _shown(chart)
    for number, (trend, word) in enumerate(shown):
        row, column = divmod(number, _COLUMNS)
        x, y = _GAP + column * (_WIDTH + _GAP), _HEAD + row * _HEIGHT
        parts += _panel(trend, word, runs, x, y, in_points=chart.in_points)
    height = _HEAD + _HEIGHT * -(-len(shown) // _COLUMNS)
    if chart.left_out:
        parts.append(label(_GAP, height + 14, f"{chart.left_out} more cases: --scenario or --model chooses"))
        height += 28
    width = _GAP + _COLUMNS * (_WIDTH + _GAP)  # the legend needs it, for one panel as well
    desc = "; ".join(f"{_title(trend)}: {_words(chart, trend, word)}" for trend, word in shown[:3])
    return str(drawing("trend", width, height, chart.title, desc, [_STYLE, *parts], standalone=True)) + "\n"


def _shown(chart: TrendChart) -> list[tuple[Trend, str]]:
    return list(zip(chart.trends, chart.words, strict=True))[:_MOST]


def _places(chart: TrendChart) -> dict[str, int]:
    """The place of each run, the same in all panels."""
    points = sorted((point for trend in chart.trends for point in trend.points), key=lambda point: point.started_at)
    return {run: place for place, run in enumerate(newest_runs(points))}


def _title(trend: Trend) -> str:
    return f"{trend.last.scenario} on {model_words(trend.last)}"


def _words(chart: TrendChart, trend: Trend, word: str) -> str:
    said = f"{counted(len(trend.points), 'run')}, last {value_words(trend.last)} {chart.unit}".rstrip()
    if trend.start is not None and trend.start != trend.last:
        change = change_words(trend, in_points=chart.in_points)
        said += f", from {value_words(trend.start)}: {change}{f', {word}' if word else ''}"
    return said


def _panel(trend: Trend, word: str, runs: dict[str, int], x: float, y: float, *, in_points: bool) -> list[str]:
    """The parts of a panel at a place of the drawing."""
    bottom = y + _TOP + _PLOT
    values = [each.value for each in (*trend.points, trend.start) if each is not None and each.value is not None]
    up = axis_of([*values, *least_range(values)], bottom, -_PLOT, ticks=3)
    start, end = x + _LEFT, x + _WIDTH - _RIGHT
    parts = [f'<g transform="translate({x:.6g} 0)">', row_name(y + 14, _title(trend), _BOLD, _NAME_CELLS), "</g>"]
    parts += _said(trend, word, x, y + 31, in_points=in_points)
    for tick in up.ticks:
        at = up.at(tick)
        parts += [line(start, at, end, at, _FAINT), label(start - 6, at + 4, tick_text(tick), "end")]
    if trend.start is not None and trend.start.value is not None:
        at = up.at(trend.start.value)
        parts.append(line(start, at, end, at, 'stroke="currentColor" stroke-opacity=".6" stroke-dasharray="4 3"'))
    step = (end - start) / max(len(runs) - 1, 1)
    places = [(start + step * runs[each.run], each) for each in trend.points]
    return [*parts, *_curve(places, up, trend.last), *_dates(places, bottom + 18)]


def _said(trend: Trend, word: str, x: float, y: float, *, in_points: bool) -> list[str]:
    """Last value and change, with the word in its colour."""
    last = value_words(trend.last)
    change = change_words(trend, in_points=in_points)
    known = f"{change} from" if change != UNLIKE else "not comparable with"
    said = f"{last}, {known} {value_words(trend.start)}" if change != NOTHING else last
    tone = _TONES.get(word, "")
    newest = trend.points[-1]
    more = ", ".join(filter(None, (word, "" if is_passed(newest) else newest.outcome)))
    parts = [label(x, y, said)]
    if more:
        shown = f' color="{_TONE_COLOURS[tone]}" class="{tone or "soft"}" font-weight="600"'
        parts.append(label(x + _WIDTH - _RIGHT, y, more, "end", shown))
    return parts


def _curve(places: Sequence[tuple[float, SeriesPoint]], up: Axis, newest: SeriesPoint) -> list[str]:
    """A line through the values, broken where one is missing; a circle is full where the case passed.

    What can't be compared with the newest stands apart: faint, and no line leads there.
    """
    path, pen_down = "", False
    marks = []
    colour, classes = colour_of(0), colour_class(0)
    for x, point in places:
        if point.value is None:
            pen_down = False
            if point.infinite:
                marks.append(label(x, up.start + up.length - 4, "∞", "middle"))
            continue
        y, like = up.at(point.value), is_like(point, newest)
        if like:
            path += f"{'L' if pen_down else 'M'}{x:.5g} {y:.5g}"
        pen_down = like
        fill = f'class="{classes} met" fill="{colour}"' if is_passed(point) else f'class="{classes}" fill="none"'
        other = "" if like else f"; {UNLIKE_WORDS}"
        tip = label_text(f"{point.run}, {point.started_at[:_MINUTE]}: {value_words(point)}, {point.outcome}{other}")
        faint = "" if like else ' opacity=".4"'
        marks.append(
            f'<circle cx="{x:.5g}" cy="{y:.5g}" r="3.5" {fill} stroke="{colour}" stroke-width="2"{faint}>'
            f"<title>{tip}</title></circle>"
        )
    line_of = f'<path class="{classes}" d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>' if path else ""
    return [line_of, *marks]


def _dates(places: Sequence[tuple[float, SeriesPoint]], y: float) -> list[str]:
    """The dates of the first and the last run; one alone where both are of a day, or near to each other."""
    (start, first), (end, last) = places[0], places[-1]
    newest = label(end, y, last.started_at[:_DATE], "start" if first is last else "end")
    if first.started_at[:_DATE] == last.started_at[:_DATE] or end - start < _ROOM_FOR_DATES:
        return [newest]
    return [label(start, y, first.started_at[:_DATE]), newest]
