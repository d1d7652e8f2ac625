"""ECDF charts: the share of requests up to each value, a step per request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.report.figures import number
from pytest_flperf.report.html.axes import Axis
from pytest_flperf.report.html.charts import (
    MULTIPLE,
    bottom_axis,
    drawing,
    gridlines,
    label,
    line,
    mark,
    stroke,
)
from pytest_flperf.results.measured import Distribution

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["FINEST", "LEFT", "LENGTH", "Curve", "Limit", "ecdf"]

LEFT: Final = 42.0
"""Where the horizontal axis begins."""
LENGTH: Final = MULTIPLE - LEFT - 12
"""Length of the horizontal axis."""
_TOP: Final = 10.0
_HEIGHT: Final = 116.0
_BOTTOM: Final = _TOP + _HEIGHT
_LINE: Final = 14.0
_DIGIT: Final = 7.0
FINEST: Final = 0.5
"""Steps closer to each other than this are drawn as one."""
_SHARES: Final = ((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %"))
_PERCENTILES: Final = (("p5", 0.05), ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve: the requests of one model, or of one side of a comparison."""

    name: str
    series: int
    """Which colour and shape it has."""
    found: Distribution
    values: Sequence[float] = ()
    """Single values in ascending order; empty: only the summary is known."""
    faint: bool = False
    """Whether it is what the others are compared with: grey and dashed."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit to draw: that of a budget."""

    value: float
    words: str
    """As written at its line: ``p95 ≤ 100``."""
    share: float
    """Share of the requests that it is about; the line goes up to there."""


def ecdf(
    key: str,
    title: str,
    heading: str,
    unit: str,
    axis: Axis,
    curves: Sequence[Curve],
    limits: Sequence[Limit] = (),
    finest: float = FINEST,
) -> Markup:
    """ECDFs of some series, overlaid.

    A step per request; without single values, a line through the percentiles of the summary that had enough requests.
    The shape of a series is at its median.

    Args:
        key: Prefix of the ids within the drawing; each drawing of a page needs its own.
        title: Title of the chart.
        heading: What the values are, below the axis.
        unit: Their unit.
        axis: From :data:`LEFT` on, :data:`LENGTH` long; may be shared with other charts.
        curves: What is drawn.
        limits: Budgets.
        finest: Steps closer to each other than this are drawn as one, in units of the drawing.

    """
    shares = [_BOTTOM - share * _HEIGHT for share, _ in _SHARES]
    across = [axis.at(tick) for tick in axis.ticks]
    parts = [gridlines(across, _TOP, _BOTTOM, shares, LEFT, LEFT + LENGTH)]
    parts += [label(LEFT - 5, y + 4, text, "end") for y, (_, text) in zip(shares, _SHARES, strict=True)]
    parts += bottom_axis(axis, _BOTTOM, heading)
    parts += [_curve(axis, curve, finest) for curve in sorted(curves, key=lambda curve: not curve.faint)]
    for place, limit in enumerate(limits):
        parts += _limit(axis, limit, _BOTTOM - 5 - _LINE * place)
    desc = "; ".join(f"{curve.name}: {_words(curve.found, unit)}" for curve in curves)
    return drawing(key, MULTIPLE, _BOTTOM + 40, title, desc, parts)


def _words(found: Distribution, unit: str) -> str:
    sure = [name for name in ("p50", "p95") if name not in found.unsure]
    shares = {"p50": "half of them", "p95": "95 % of them"}
    ends = f"n {found.n}, from {number(found.min)} to {number(found.max)} {unit}"
    return ", ".join([ends, *(f"{shares[name]} up to {number(found.statistic(name))}" for name in sure)])


def _limit(axis: Axis, limit: Limit, y: float) -> list[str]:
    x, top = axis.at(limit.value), _BOTTOM - limit.share * _HEIGHT
    beyond = "→" if limit.value > axis.high else "←" if limit.value < axis.low else ""
    words = f"{limit.words} {beyond}".strip()
    before = x + _DIGIT * len(words) > MULTIPLE
    return [
        line(x, _BOTTOM, x, top, 'class="bad" stroke="currentColor" stroke-width="1.5" stroke-dasharray="4 3"'),
        label(x - 4 if before else x + 4, y, words, "end" if before else "start", ' class="bad halo"'),
    ]


def _curve(axis: Axis, curve: Curve, finest: float) -> str:
    """The line of a curve, with its mark at the median."""
    found = curve.found
    path = _steps(axis, curve.values, found.as_inf, finest) if curve.values else _through(axis, found)
    if math.isfinite(found.p50) and not curve.faint:
        path += mark(curve.series, axis.at(found.p50), _BOTTOM - 0.5 * _HEIGHT)
    dash = ' stroke-dasharray="5 3"' if curve.faint else "" if curve.values else ' stroke-dasharray="2 2"'
    look = 'fill="none" stroke="currentColor" stroke-opacity=".65"' if curve.faint else stroke(curve.series)
    return f'<path {look} d="{path}" stroke-width="1.8"{dash}/>'


def _steps(axis: Axis, values: Sequence[float], as_inf: int, finest: float) -> str:
    """A step per value; requests that count as infinite keep it below 100 %."""
    count = len(values) + as_inf
    path, drawn_x = f"M{axis.at(values[0]):.1f} {_BOTTOM:.4g}", -math.inf
    for rank, value in enumerate(values):
        x = axis.at(value)
        if x - drawn_x >= finest:
            path += f"H{x:.1f}" if rank else ""
            drawn_x = x
        if rank + 1 == len(values) or axis.at(values[rank + 1]) - drawn_x >= finest:
            path += f"V{_BOTTOM - (rank + 1) / count * _HEIGHT:.1f}"
    return path


def _through(axis: Axis, found: Distribution) -> str:
    known = [(found.min, 0.0)]
    known += [(getattr(found, name), share) for name, share in _PERCENTILES if name not in found.unsure]
    if not found.as_inf:
        known.append((found.max, 1.0))
    places = ((axis.at(value), _BOTTOM - share * _HEIGHT) for value, share in known if math.isfinite(value))
    return "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in places)
