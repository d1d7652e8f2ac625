"""Plain tables for a terminal, measured in cells, not in characters."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from pytest_flperf._text import printable

__all__ = [
    "WIDEST_NAME",
    "Colour",
    "Column",
    "Line",
    "cut",
    "cut_inside",
    "cut_names",
    "fitted",
    "render",
    "width_of",
    "wrapped",
]

Row = TypeVar("Row")
Colour: TypeAlias = Literal["", "red", "green", "yellow"]
WIDEST_NAME: Final = 40
_NARROWEST_NAME: Final = 12
_BEFORE_NAMES: Final = 8
"""Columns with this number or a higher one are dropped before any name is shortened."""
_HEAD_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output, with its colour and weight."""

    text: str
    colour: Colour = ""
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A table column: its heading, its cells, and when it is dropped.

    ``goes``: on a narrow terminal the highest number is dropped first; 0: never; -1: only when names are as short as
    possible.
    """

    heading: str
    cell: Callable[[Row], str]
    goes: int = 0
    name: bool = False
    """Whether it holds a name, which is aligned left and may be shortened."""
    left: bool = False
    """Whether it is aligned left without being a name."""


def fitted(rows: Sequence[Row], columns: Sequence[Column[Row]], width: int) -> list[str]:
    """Lines of a table, headings first, fitted to ``width`` cells.

    Columns are dropped in order of importance, and names are shortened.
    """
    columns = list(columns)
    longest = WIDEST_NAME
    while True:
        lines = _rendered(rows, columns, longest)
        if max(map(width_of, lines)) <= width:
            return lines
        first = max((column for column in columns if column.goes > 0), key=lambda column: column.goes, default=None)
        last = next((column for column in columns if column.goes < 0), None)
        if first is not None and first.goes >= _BEFORE_NAMES:
            columns.remove(first)
        elif longest > _NARROWEST_NAME * 2:
            longest -= 2
        elif first is not None:
            columns.remove(first)
        elif longest > _NARROWEST_NAME:
            longest -= 2
        elif last is not None:
            columns.remove(last)
        else:
            return [cut(line, width) for line in lines]


def _rendered(rows: Sequence[Row], columns: Sequence[Column[Row]], longest: int) -> list[str]:
    cells = []
    for column in columns:
        texts = [column.cell(row) for row in rows]
        cells.append(cut_names([printable(text) for text in texts], longest) if column.name else texts)
    return render(
        [column.heading for column in columns],
        list(zip(*cells, strict=True)),
        [column.name or column.left for column in columns],
    )


def wrapped(text: str, width: int) -> list[str]:
    """A sentence wrapped at ``width``, later lines indented."""
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def width_of(text: str) -> int:
    """Width of a printable text in terminal cells.

    Most East Asian characters take two, accents none.
    """
    from wcwidth import wcswidth

    return int(wcswidth(text))


def cut(text: str, longest: int) -> str:
    """The text in at most ``longest`` cells, with ``…`` where cut."""
    if width_of(text) <= longest:
        return text
    while text and width_of(text) > longest - 1:
        text = text[:-1]
    return text + "…"


def cut_names(names: Sequence[str], longest: int) -> list[str]:
    """Names in at most ``longest`` cells each, see :func:`cut_inside`."""
    return [cut_inside(name, longest) for name in names]


def cut_inside(name: str, longest: int) -> str:
    """The name in at most ``longest`` cells, cut inside: its end tells builds and points of a matrix apart."""
    if width_of(name) <= longest:
        return name
    end = name
    while width_of(end) > longest // 2:
        end = end[1:]
    return cut(name, longest - width_of(end)) + end


def render(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """Lines of a table: headings, a rule, rows.

    Headings have one line or two; ``left`` says which columns are aligned left.
    """
    from tabulate import tabulate

    heads = [("\n" + heading).rsplit("\n", 2)[-2:] for heading in headings]
    skipped = 0 if any(head[0] for head in heads) else 1
    # Headings as rows, because tabulate makes every column two wider than its heading.
    lines = tabulate(
        [[head[0] for head in heads], [head[1] for head in heads], *rows],
        tablefmt="plain",
        colalign=["left" if is_left else "right" for is_left in left],
        disable_numparse=True,
    ).splitlines()
    rule = "-" * max(map(width_of, lines))
    return [*lines[skipped:_HEAD_LINES], rule, *lines[_HEAD_LINES:]]
