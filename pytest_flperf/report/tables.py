"""Plain tables for a terminal: as narrow as their cells, cut by cells of the terminal and not by characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["cut", "render", "width_of"]

_HEAD_LINES: Final = 2


def width_of(text: str) -> int:
    """Cells of a terminal that a printable text takes: two for most of East Asia's characters, none for accents."""
    from wcwidth import wcswidth

    return int(wcswidth(text))


def cut(text: str, longest: int) -> str:
    """The text in ``longest`` cells at most, with ``…`` where something was left out."""
    if width_of(text) <= longest:
        return text
    while text and width_of(text) > longest - 1:
        text = text[:-1]
    return text + "…"


def render(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """The lines of a table: headings (of one line or two), a rule, rows; ``left`` says which columns stand left."""
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
