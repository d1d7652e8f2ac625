"""Page contents: plain records that the templates render."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "CardRow",
    "CaseSection",
    "Cell",
    "Compared",
    "Fact",
    "FailedCase",
    "Front",
    "HeatCell",
    "HeatMap",
    "LegendKey",
    "ModelCard",
    "Page",
    "Panel",
    "PanelGroup",
    "Panels",
    "Table",
    "Tone",
]

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
    folded: bool = False
    """Whether only its caption is seen until it is opened."""


@dataclass(frozen=True, slots=True)
class CardRow:
    """A row of a model's card."""

    label: str
    value: str
    unit: str = ""
    share: float | None = None
    """Length of its bar, in percent; None: it has none."""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model's card: its numbers over all scenarios."""

    name: str
    colour: str
    """Class of its colour."""
    rows: tuple[CardRow, ...]


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A cell of a heat map."""

    text: str
    times: str = ""
    """``best``, or how many times worse than the best of the row."""
    shade: int | None = None
    """0: the best, up to 4; None: not compared."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A metric of all scenarios, a column for each model."""

    caption: str
    models: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    dense: bool = False
    """Whether it has so many cells that their parts are not lined up."""
    relation: str = "times the best of the row"
    """What stands beside each value."""


@dataclass(frozen=True, slots=True)
class LegendKey:
    """A key of a legend: a model's name, colour and shape."""

    name: str
    classes: str
    colour: str
    shape: str
    """Data of a path within 12 × 12 units."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A small multiple: a drawing of one scenario or case."""

    caption: str
    more: str
    """Behind the caption: how many requests …"""
    drawing: Markup
    tone: Tone = ""
    """Of what is behind the caption."""


@dataclass(frozen=True, slots=True)
class PanelGroup:
    """Small multiples of one metric."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Panels:
    """A section of small multiples; where there are several groups, one is chosen."""

    groups: tuple[PanelGroup, ...]
    legend: tuple[LegendKey, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Front:
    """The section of quality and speed: the Pareto front as chart and table."""

    chart: Panels
    table: Table


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
    brief: str
    """The first line of the text, without the case's name."""
    lines: tuple[str, ...]
    """The verdict's text."""
    evidence: Table | None
    command: str
    plain: tuple[str, ...] = ()
    """All of the above as lines, where a page has many."""


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
    notes: tuple[str, ...]
    answer: str
    plain: tuple[str, ...] = ()
    """All of the above as lines, where a page has many cases."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The section of a run's comparisons."""

    sums: tuple[tuple[str, Tone], ...]
    table: Table
    chart: Markup | None
    chart_note: str
    sides: Panels | None
    """Distributions of both sides."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a run: its whole report."""

    title: str
    heading: str
    tone: Tone
    answer: str
    """What the run says, in one sentence."""
    sentence: str
    """What was judged."""
    reasons: tuple[str, ...]
    """Why it did not pass, but for failed cases."""
    causes: tuple[str, ...]
    """Causes of failure, worst first; empty with a single one."""
    doubts: tuple[str, ...]
    conditions: str
    """Suite, machine, clock, when and how long, in one line."""
    facts: tuple[Fact, ...]
    command: str
    failures: tuple[FailedCase, ...]
    results: Table
    cards: tuple[ModelCard, ...]
    cards_table: Table | None
    """In place of the cards, where there are many."""
    front: Front | None
    """Quality and speed of the models, where both are compared."""
    load_charts: Panels | None
    heat_maps: tuple[HeatMap, ...]
    open_loops: Table | None
    compared: Compared | None
    distributions: Panels | None
    history: Panels | None
    moments: Panels | None
    """Cases in time."""
    cases: tuple[CaseSection, ...]
    cases_note: str
    environment: tuple[Table, ...]
    definitions: tuple[Fact, ...] = field(default=())
