"""Charts as inline SVG: no scripts, readable without styles, accessible.

Each has a title and a description for screen readers.  Colours are attributes, so that a chart is readable where a
page's style is blocked; the page's style refines them.  All text goes through ``label_text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.report.html.axes import Axis, tick_text
from pytest_flperf.report.html.content import LegendKey
from pytest_flperf.report.rivals import shown_models
from pytest_flperf.report.terminal.tables import cut

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "FAINT",
    "MULTIPLE",
    "bottom_axis",
    "colour_class",
    "colour_of",
    "drawing",
    "gridlines",
    "label",
    "label_text",
    "legend",
    "line",
    "mark",
    "row_name",
    "stroke",
]

MULTIPLE: Final = 360
"""Width of a small multiple: as wide as a phone, so that its text is 12 px high there."""
FAINT: Final = 'stroke="currentColor" stroke-opacity=".22"'
"""Stroke of grid lines."""
_COLOURS: Final = ("#2f6fd0", "#c2570c", "#0d8a6a", "#a33fb5", "#8a6d00", "#c2335a", "#0b7285", "#6b4fd8")
_GREY: Final = "#6b7480"
"""Of further series: shapes and names tell them apart."""
_LABEL_CELLS: Final = 26
_DIGIT: Final = 7.0
_OVERHANG: Final = 11.0
"""How far a label may go beyond the end of an axis."""


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
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.5g}" y="{y:.5g}"{place}{more}>{label_text(text)}</text>'


def row_name(y: float, text: str, more: str = "", cells: int = _LABEL_CELLS) -> str:
    """A row's name at the left, shortened; a tooltip has it whole."""
    short = cut(printable(text, 200), cells)
    whole = "" if short == text else f"<title>{label_text(text)}</title>"
    return f'<text x="0" y="{y:.6g}"{more}>{label_text(short)}{whole}</text>'


def line(x1: float, y1: float, x2: float, y2: float, more: str) -> str:
    """A straight line; ``more`` are attributes."""
    return f'<path d="M{x1:.6g} {y1:.6g}L{x2:.6g} {y2:.6g}" fill="none" {more}/>'


def gridlines(
    across: Sequence[float], top: float, bottom: float, up: Sequence[float], left: float, right: float
) -> str:
    """Upright lines at ``across`` and level ones at ``up``, as one path."""
    upright = "".join(f"M{x:.5g} {top:.5g}V{bottom:.5g}" for x in across)
    level = "".join(f"M{left:.5g} {y:.5g}H{right:.5g}" for y in up)
    return f'<path d="{upright}{level}" fill="none" {FAINT}/>'


def bottom_axis(axis: Axis, bottom: float, heading: str) -> list[str]:
    """Labels and heading of a horizontal axis; the heading says where it does not begin at zero."""
    right = axis.start + axis.length + _OVERHANG
    labels = []
    for tick in axis.labelled:
        x, text = axis.at(tick), tick_text(tick)
        beyond = x + _DIGIT * len(text) / 2 > right
        labels.append(label(right if beyond else x, bottom + 15, text, "end" if beyond else "middle"))
    return [*labels, label(axis.start + axis.length / 2, bottom + 32, f"{heading}{axis.scale}", "middle")]


def colour_class(series: int) -> str:
    """Class of a series, for the page's style."""
    return f"s{series}" if series < len(_COLOURS) else "sx"


def colour_of(series: int) -> str:
    """Colour of a series, where the page's style is blocked."""
    return _COLOURS[series] if series < len(_COLOURS) else _GREY


def stroke(series: int) -> str:
    """Attributes of a line of a series: class, colour, and no filling."""
    return f'class="{colour_class(series)}" fill="none" stroke="{colour_of(series)}"'


_SHAPES: Final[tuple[tuple[tuple[float, float], ...], ...]] = (
    (),
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.2), (1.2, 1), (-1.2, 1)),
    ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
    ((0, 1.2), (1.2, -1), (-1.2, -1)),
    ((-0.45, -1.2), (0.45, -1.2), (0.45, -0.45), (1.2, -0.45), (1.2, 0.45), (0.45, 0.45), (0.45, 1.2), (-0.45, 1.2),
     (-0.45, 0.45), (-1.2, 0.45), (-1.2, -0.45), (-0.45, -0.45)),
    ((-1.2, -1), (1.2, 1), (1.2, -1), (-1.2, 1)),
    ((-1, -1.2), (1.2, 0), (-1, 1.2)),
)  # fmt: skip
"""Corners of the shapes, in units of the radius: circle, square, triangles, diamond, cross, bow tie."""


def mark(series: int, x: float, y: float, radius: float = 4.0) -> str:
    """Shape of a series around a point (circle, square …), as path data.

    Series beyond the colours begin with the first shape again, in grey.
    """
    corners = _SHAPES[series % len(_SHAPES)]
    if not corners:
        half = f"a{radius:g} {radius:g} 0 1 0"
        return f"M{x - radius:.4g} {y:.4g}{half} {2 * radius:g} 0{half} {-2 * radius:g} 0"
    return "M" + "L".join(f"{x + radius * dx:.4g} {y + radius * dy:.4g}" for dx, dy in corners) + "Z"


def legend(models: Sequence[str]) -> tuple[LegendKey, ...]:
    """Colour and shape of each model; empty with a single one, which needs none."""
    names = shown_models(models)
    if len(names) < 2:
        return ()
    return tuple(
        LegendKey(name, colour_class(series), colour_of(series), mark(series, 6, 6))
        for series, name in enumerate(names.values())
    )
