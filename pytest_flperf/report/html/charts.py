"""Charts as inline SVG: no scripts, readable without styles, accessible.

Each has a title and a description for screen readers.  Colours are attributes, so that a chart is readable where a
page's style is blocked; the page's style refines them.  All text goes through ``label_text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.report.figures import number
from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.terminal.tables import cut
from pytest_flperf.results.records import Distribution

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "Bar",
    "Group",
    "Strip",
    "bars",
    "colour_class",
    "colour_of",
    "drawing",
    "ecdf",
    "label",
    "label_text",
    "line",
    "row_name",
    "strips",
]

_COLOURS: Final = ("#2f6fd0", "#c2570c", "#0d8a6a", "#a33fb5", "#8a6d00", "#c2335a", "#0b7285", "#6b4fd8")
_GREY: Final = "#6b7480"
"""Of further series: their names tell them apart."""
_WIDTH: Final = 760
_LABELS: Final = 190
_ROW: Final = 20
_POINTS: Final = 60
_STEPS: Final = 120
_LABEL_CELLS: Final = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: one value of a series, such as a model's."""

    label: str
    series: int
    value: float | None
    note: str = ""
    """Shown in place of a missing value."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A strip: the range and distribution of a case's values."""

    label: str
    series: int
    summary: Distribution | None
    values: tuple[float, ...] = ()
    """Single values in ascending order; empty: only the summary is known."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of rows, such as a scenario's."""

    label: str
    rows: tuple[Bar | Strip, ...]


def label_text(text: str) -> Markup:
    """A text, bounded and escaped."""
    from markupsafe import escape

    return escape(printable(text, 200))


def drawing(
    key: str, width: float, height: float, title: str, desc: str, parts: Sequence[str], *, standalone: bool = False
) -> Markup:
    """An SVG image of these parts, with title and description.

    Each part must come from a function of this module, or hold numbers alone.  ``key`` is the prefix of its ids.
    ``standalone``: for a file of its own.
    """
    from markupsafe import Markup

    xmlns = ' xmlns="http://www.w3.org/2000/svg"' if standalone else ""
    # The parts hold only numbers, and texts that went through label_text.
    return Markup(  # noqa: S704
        f'<svg{xmlns} viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-labelledby="{key}-t {key}-d" font-size="12" fill="currentColor">'
        f'<title id="{key}-t">{label_text(title)}</title><desc id="{key}-d">{label_text(desc)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def label(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    """An escaped text; ``more`` are attributes."""
    return f'<text x="{x:.6g}" y="{y:.6g}" text-anchor="{anchor}"{more}>{label_text(text)}</text>'


def row_name(y: float, text: str, more: str = "", cells: int = _LABEL_CELLS) -> str:
    """A row's name at the left, shortened; a tooltip has it whole."""
    short = cut(printable(text, 200), cells)
    whole = "" if short == text else f"<title>{label_text(text)}</title>"
    return f'<text x="0" y="{y:.6g}"{more}>{label_text(short)}{whole}</text>'


def line(x1: float, y1: float, x2: float, y2: float, more: str) -> str:
    """A straight line; ``more`` are attributes."""
    return f'<path d="M{x1:.6g} {y1:.6g}L{x2:.6g} {y2:.6g}" fill="none" {more}/>'


_FAINT: Final = 'stroke="currentColor" stroke-opacity=".22"'


def _grid(axis: Axis, top: float, bottom: float, heading: str) -> list[str]:
    """Grid lines, tick labels and heading of a horizontal axis."""
    parts = []
    for tick in axis.ticks:
        x = axis.at(tick)
        parts.append(line(x, top, x, bottom, _FAINT))
        parts.append(label(x, bottom + 15, tick_text(tick), "middle"))
    return [*parts, label(axis.start + axis.length / 2, bottom + 32, heading, "middle")]


def colour_class(series: int) -> str:
    """Class of a series, for the page's style."""
    return f"s{series}" if series < len(_COLOURS) else "sx"


def colour_of(series: int) -> str:
    """Colour of a series, where the page's style is blocked."""
    return _COLOURS[series] if series < len(_COLOURS) else _GREY


def _series(series: int) -> str:
    return f'class="{colour_class(series)}"'


def _rows(groups: Sequence[Group]) -> tuple[list[tuple[float, Bar | Strip]], list[str], float]:
    """Rows with their vertical position, their names, and the total height."""
    single = all(len(group.rows) == 1 for group in groups)
    placed: list[tuple[float, Bar | Strip]] = []
    names: list[str] = []
    y = 8.0
    for group in groups:
        if not single:
            names.append(row_name(y + 13, group.label, ' font-weight="600"'))
            y += _ROW
        for row in group.rows:
            names.append(row_name(y + 14, group.label if single else row.label))
            placed.append((y + _ROW / 2, row))
            y += _ROW
        y += 0 if single else 8
    return placed, names, y + 4


def bars(key: str, title: str, unit: str, groups: Sequence[Group]) -> Markup:
    """Bar chart: a bar for each value, from zero, with its number.

    Args:
        key: Prefix of the ids within the drawing; each drawing of a page needs its own.
        title: Title of the chart.
        unit: Unit of the values.
        groups: Rows of :class:`Bar`.

    """
    placed, parts, bottom = _rows(groups)
    values = [row.value for _, row in placed if isinstance(row, Bar) and row.value is not None]
    axis = axis_of(values, _LABELS, _WIDTH - _LABELS - 70, zero=True)
    parts += _grid(axis, 6, bottom, f"{title}, {unit}")
    for y, row in placed:
        assert isinstance(row, Bar)
        if row.value is None:
            parts.append(label(_LABELS + 4, y + 4, row.note))
            continue
        end = axis.at(row.value)
        parts.append(
            f'<rect {_series(row.series)} x="{_LABELS}" y="{y - 7:.6g}" width="{max(end - _LABELS, 1):.5g}" '
            f'height="14" fill="{colour_of(row.series)}"/>'
        )
        parts.append(label(end + 5, y + 4, number(row.value)))
    largest = f", the largest {number(max(values))} {unit}" if values else ""
    return drawing(key, _WIDTH, bottom + 40, title, f"{len(placed)} bars{largest}; the tables hold all numbers", parts)


def strips(key: str, title: str, unit: str, groups: Sequence[Group]) -> Markup:
    """Strip chart: a row per case with range, p5 to p95, median.

    A line goes from the smallest to the largest value, a mark is at the median, and a bar goes from p5 to p95 where
    there are enough requests for these.  Single
    values are dots, at most 60 per row (evenly by rank, the ends included).  Arguments are those of :func:`bars`, with
    rows of :class:`Strip`.
    """
    placed, parts, bottom = _rows(groups)
    ends = [
        end
        for _, row in placed
        if isinstance(row, Strip) and row.summary is not None
        for end in (row.summary.min, row.summary.max)
    ]
    axis = axis_of(ends, _LABELS, _WIDTH - _LABELS - 20, zero=False)
    parts += _grid(axis, 6, bottom, f"{title}, {unit}{', logarithmic' if axis.log else ''}")
    for y, row in placed:
        assert isinstance(row, Strip)
        parts += _strip(axis, y, row)
    between = f" from {number(min(ends))} to {number(max(ends))} {unit}" if ends else ""
    return drawing(key, _WIDTH, bottom + 40, title, f"{len(placed)} cases{between}; the tables hold all numbers", parts)


def _strip(axis: Axis, y: float, row: Strip) -> list[str]:
    found = row.summary
    if found is None:
        return [label(axis.start + 4, y + 4, "nothing measured")]
    colour = f'{_series(row.series)} stroke="{colour_of(row.series)}"'
    middle = axis.at(found.p50)
    parts = [line(axis.at(found.min), y, axis.at(found.max), y, colour)]
    if not {"p5", "p95"} & set(found.unsure):
        left, right = axis.at(found.p5), axis.at(found.p95)
        parts.append(
            f'<rect {_series(row.series)} x="{left:.6g}" y="{y - 6:.6g}" width="{max(right - left, 1):.5g}" '
            f'height="12" fill="{colour_of(row.series)}" fill-opacity=".28"/>'
        )
    if row.values:
        dots = "".join(f"M{axis.at(value):.5g} {y:.5g}h.01" for value in _spread(row.values, _POINTS))
        parts.append(f'<path d="{dots}" {colour} stroke-width="4" stroke-linecap="round" fill="none"/>')
    parts.append(line(middle, y - 8, middle, y + 8, 'stroke="currentColor" stroke-width="2"'))
    return parts


def _spread(values: Sequence[float], most: int) -> Sequence[float]:
    """At most ``most`` of ascending values, evenly by rank, ends included."""
    if len(values) <= most:
        return values
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def ecdf(key: str, title: str, unit: str, found: Distribution, values: Sequence[float] = ()) -> Markup:
    """ECDF: the share of requests up to each value.

    A step per request, at most 120 of them; without single values, a dashed line through the percentiles of the
    summary.  Arguments are those of :func:`bars`.
    """
    left, top, width, height = 38.0, 10.0, 250.0, 110.0
    bottom = top + height
    axis = axis_of((found.min, found.max), left, width, ticks=3, log=None)
    parts = _grid(axis, top, bottom, f"{title}, {unit}{', logarithmic' if axis.log else ''}")
    for share, text in ((0.0, "0 %"), (0.5, "50 %"), (0.95, "95 %")):
        y = bottom - share * height
        parts += [line(left, y, left + width, y, _FAINT), label(left - 5, y + 4, text, "end")]
    for value, share in ((found.p50, 0.5), (found.p95, 0.95)):
        x = axis.at(value)
        drop = 'stroke="currentColor" stroke-opacity=".6" stroke-dasharray="2 3"'
        parts.append(line(x, bottom, x, bottom - share * height, drop))
    path, dash = (
        (_steps(axis, bottom, height, values), "") if values else (_through(axis, bottom, height, found), "4 3")
    )
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    parts.append(f'<path class="s0" d="{path}" fill="none" stroke="{_COLOURS[0]}" stroke-width="2"{dashes}/>')
    desc = (
        f"n {found.n}: from {number(found.min)} to {number(found.max)} {unit}, half of them up to "
        f"{number(found.p50)}, 95 % up to {number(found.p95)}"
    )
    return drawing(key, left + width + 14, bottom + 40, title, desc, parts)


def _steps(axis: Axis, bottom: float, height: float, values: Sequence[float]) -> str:
    count = len(values)
    ranks = range(count) if count <= _STEPS else [round(i * (count - 1) / (_STEPS - 1)) for i in range(_STEPS)]
    path = f"M{axis.start:.5g} {bottom:.5g}"
    for rank in ranks:
        path += f"H{axis.at(values[rank]):.5g}V{bottom - (rank + 1) / count * height:.5g}"
    return path + f"H{axis.start + axis.length:.5g}"


def _through(axis: Axis, bottom: float, height: float, found: Distribution) -> str:
    known = (
        (found.min, 0.0), (found.p5, 0.05), (found.p50, 0.5), (found.p90, 0.9), (found.p95, 0.95), (found.p99, 0.99),
        (found.max, 1.0),
    )  # fmt: skip
    return "M" + "L".join(f"{axis.at(value):.5g} {bottom - share * height:.5g}" for value, share in known)
