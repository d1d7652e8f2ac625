"""Tables and facts as lines of text, where a page has too many for elements of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.report.html.content import CaseSection, FailedCase, Table
from pytest_flperf.results.bounds import first_lines
from pytest_flperf.results.notes import labelled

__all__ = ["plain_failure", "plain_section"]

_CELL: Final = 400
_LINES: Final = 12
"""Lines of a cell that takes several."""


_LEFT_OUT: Final = ("mean", "stdev", "p5", "p90", "method", "set by")
"""Columns that a page of many cases does without; results.json has them."""


def plain_section(section: CaseSection) -> CaseSection:
    """The section with all that it holds as lines of text."""
    lines = [line for table in section.tables for line in _table(table)]
    lines += [f"{fact.term}: {fact.text}" for fact in section.facts]
    lines += [each[0].upper() + each[1:] for each in map(labelled, section.notes)]
    lines += ["Run it again:", f"  {section.command}"]
    return replace(section, plain=tuple(lines), facts=(), tables=(), notes=(), answer="", command="")


def plain_failure(failure: FailedCase) -> FailedCase:
    """A failed case with its evidence and command as lines of text."""
    evidence = [] if failure.evidence is None else _table(failure.evidence)
    lines = (*failure.lines, *evidence, "Run it again:", f"  {failure.command}")
    return replace(failure, plain=lines, lines=(), evidence=None, command="")


def _table(table: Table) -> list[str]:
    """A table of numbers in columns; one of words as a line per cell that says something."""
    rows = _of_words(table) if table.words else _in_columns(table)
    return [table.caption, *(f"  {row}".rstrip() for row in rows), *([f"  {table.note}"] if table.note else [])]


def _of_words(table: Table) -> Iterator[str]:
    for row in table.rows:
        first, *others = zip(table.head, row, strict=True)
        yield f"{first[0]} {printable(first[1].text, _CELL)}".strip()
        for name, cell in others:
            lines = first_lines(cell.text.splitlines(), _LINES, "lines")
            if lines and lines != ["–"] and name not in _LEFT_OUT:
                yield f"  {name}: {printable(lines[0], _CELL)}"
                yield from (f"    {printable(line, _CELL)}" for line in lines[1:])


def _in_columns(table: Table) -> Iterator[str]:
    kept = [place for place, name in enumerate(table.head) if name not in _LEFT_OUT]
    rows = [[name for name in table.head if name not in _LEFT_OUT]]
    rows += [[printable(row[place].text, _CELL) for place in kept] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            text.ljust(width) if place < table.names else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
