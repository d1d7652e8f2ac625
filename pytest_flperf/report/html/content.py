"""Page contents: plain records that the templates render."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["CaseSection", "Cell", "Compared", "Fact", "FailedCase", "Page", "Table", "Tone"]

Tone: TypeAlias = Literal["", "good", "bad", "doubt"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: a text, with tone and link."""

    text: str
    tone: Tone = ""
    link: str = ""
    """Anchor within the page, without ``#``."""
    wide: bool = False
    """Whether it holds a text that may take several lines, kept as they are."""
    tight: bool = False
    """Whether it stays in one line."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; every row has a cell for each column."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    names: int = 1
    """How many columns at the left name the row; the others hold numbers, or texts where ``words`` says so."""
    words: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact: a term and its text."""

    term: str
    text: str


@dataclass(frozen=True, slots=True)
class FailedCase:
    """A failed case: its message, evidence, and command to rerun it."""

    anchor: str
    """The anchor of its section; empty without one."""
    heading: str
    outcome: str
    lines: tuple[str, ...]
    """The verdict's text."""
    evidence: Table | None
    command: str


@dataclass(frozen=True, slots=True)
class CaseSection:
    """The section of one case: facts, tables, charts and notes."""

    anchor: str
    heading: str
    outcome: str
    tone: Tone
    brief: str
    """Its most important numbers in one line."""
    open: bool
    command: str
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    charts: tuple[Markup, ...]
    charts_note: str
    notes: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Compared:
    """The section of a run's comparisons."""

    sums: tuple[tuple[str, Tone], ...]
    table: Table
    chart: Markup | None
    chart_note: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a run: its whole report."""

    title: str
    heading: str
    tone: Tone
    sentence: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    facts: tuple[Fact, ...]
    failures: tuple[FailedCase, ...]
    results: Table
    comparison: tuple[Table, ...]
    compared: Compared | None
    charts: tuple[tuple[str, Markup], ...]
    """Heading and drawing."""
    charts_note: str
    cases: tuple[CaseSection, ...]
    cases_note: str
    environment: tuple[Table, ...]
    definitions: tuple[Fact, ...] = field(default=())
