"""Interval chart of comparisons: changes with 95 % intervals and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.report.html.axes import Axis, change_axis, tick_text
from pytest_flperf.report.html.charts import drawing, label, line, row_name
from pytest_flperf.results.serialize import Interval

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Change", "intervals"]

_WIDTH: Final = 760
_LABELS: Final = 250
_WORDS: Final = 150
_ROW: Final = 20
_MOST_PCT: Final = 100.0
"""Larger changes are drawn as an arrow at the edge, with the number next to it."""
_COLOURS: Final = {"bad": "#b3161f", "good": "#0a6b3d", "doubt": "#8a5200", "": "#5b6470"}


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the chart: the change of one number."""

    label: str
    change_pct: float
    interval_pct: Interval | None
    limit_pct: float | None
    """From which change on it is a regression."""
    tone: str
    word: str


def intervals(key: str, title: str, rows: Sequence[Change]) -> Markup:
    """Interval chart: a row per comparison, with change, interval and limit.

    A dot is at the change, a line over its interval, an upright mark at the limit.  A change or an end beyond ±100 % is
    an arrow at the edge.

    Args:
        key: Prefix of the ids within the drawing; each drawing of a page needs its own.
        title: Title of the chart.
        rows: In the order in which they are shown.

    """
    ends = [end for row in rows for end in (row.change_pct, *(row.interval_pct or ()), row.limit_pct or 0.0)]
    axis = change_axis(ends, _LABELS, _WIDTH - _LABELS - _WORDS, most=_MOST_PCT)
    bottom = 8.0 + _ROW * len(rows) + 4
    parts = []
    for tick in axis.ticks:
        x = axis.at(tick)
        strong = "1" if abs(tick) < 1e-9 else ".22"
        parts.append(line(x, 6, x, bottom, f'stroke="currentColor" stroke-opacity="{strong}"'))
        parts.append(label(x, bottom + 15, _tick(tick), "middle"))
    parts.append(label(axis.start + axis.length / 2, bottom + 32, f"{title}, %", "middle"))
    for index, row in enumerate(rows):
        parts += _row(axis, 8.0 + _ROW * index + _ROW / 2, row)
    desc = f"{len(rows)} comparisons; the tables hold all numbers"
    return drawing(key, _WIDTH, bottom + 40, title, desc, parts)


def _tick(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{'+' * (value > 0)}{tick_text(value)}"


def _arrow(x: float, y: float, way: int) -> str:
    """An arrow head at the edge: 1 right, -1 left."""
    return f'<path d="M{x - 7 * way:.6g} {y - 5:.6g}L{x:.6g} {y:.6g}L{x - 7 * way:.6g} {y + 5:.6g}Z"/>'


def _row(axis: Axis, y: float, row: Change) -> list[str]:
    colour = _COLOURS.get(row.tone, _COLOURS[""])
    x = axis.at(row.change_pct)
    parts = [row_name(y + 4, row.label, cells=36)]
    parts.append(f'<g class="{row.tone or "soft"}" color="{colour}" fill="currentColor">')
    beyond = abs(row.change_pct) > _MOST_PCT
    if row.interval_pct is not None:
        left, right = (axis.at(end) for end in row.interval_pct)
        parts.append(line(left, y, right, y, 'stroke="currentColor" stroke-width="2"'))
        for end, at in zip(row.interval_pct, (left, right), strict=True):
            if abs(end) <= _MOST_PCT:
                parts.append(line(at, y - 4, at, y + 4, 'stroke="currentColor" stroke-width="2"'))
            elif not beyond:
                parts.append(_arrow(at, y, 1 if end > 0 else -1))
    parts.append(_arrow(x, y, 1) if beyond else f'<circle cx="{x:.6g}" cy="{y:.6g}" r="4"/>')
    said = f"{row.change_pct:+.0f} % {row.word}" if beyond else row.word
    parts.append(label(axis.start + axis.length + 8, y + 4, said))
    parts.append("</g>")
    if row.limit_pct is not None:
        at = axis.at(row.limit_pct)
        parts.append(line(at, y - 8, at, y + 8, 'stroke="currentColor" stroke-width="2" stroke-dasharray="3 2"'))
    return parts
