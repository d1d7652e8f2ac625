"""Comparisons in the HTML report: table, chart, and tables per case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.gates.format import (
    arrow,
    change,
    in_points,
    interval,
    limit_pct,
    name,
    of_medians,
    probability,
    raw,
    sides,
    word,
)
from pytest_flperf.report.figures import NOTHING
from pytest_flperf.report.html.content import Cell, Table, Tone
from pytest_flperf.report.html.content import Compared as ComparedSection
from pytest_flperf.report.html.interval_chart import Change, intervals
from pytest_flperf.report.html.sides_view import seriousness, sides_panels, tone_of
from pytest_flperf.report.sentences import models_of, when
from pytest_flperf.report.terminal.comparisons import (
    DIFFERS,
    Compared,
    figure_heads,
    figures,
    notes_of,
    relative,
    rows_of,
    sums,
)
from pytest_flperf.results.comparison import Against
from pytest_flperf.results.records import CaseResult

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["against_tables", "compared_section"]

_MANY_CASES: Final = 100
_TONES: Final[dict[str, Tone]] = {"red": "bad", "yellow": "doubt", "green": "good"}


@dataclass(frozen=True, slots=True)
class _Most:
    """How many comparisons a page draws, the most serious first."""

    rows: int
    """Of the table of all."""
    intervals: int
    sides: int


_MOST: Final = _Most(100, 60, 24)
_FEW: Final = _Most(30, 20, 6)
"""Of a page with many cases, which fill it."""


def compared_section(cases: Sequence[CaseResult], anchors: dict[int, str]) -> ComparedSection | None:
    """The section of a run's comparisons; None where nothing was compared.

    Args:
        cases: The cases of the run.
        anchors: The anchors of the sections of cases, by the index of the case.

    """
    if not any(case.against for case in cases):
        return None
    rows = rows_of(cases)
    most = _FEW if len(cases) > _MANY_CASES else _MOST
    chart, note = _chart(rows, most.intervals)
    links = {id(case): anchors.get(index, "") for index, case in enumerate(cases)}
    return ComparedSection(
        sums=tuple((text[0].upper() + text[1:], _TONES.get(colour, "")) for text, colour in sums(cases)),
        table=_table(rows, links, most.rows),
        chart=chart,
        chart_note=note,
        sides=sides_panels(rows, models_of(cases), most.sides),
        notes=tuple(notes_of(cases)),
    )


def _table(rows: Sequence[Compared], links: dict[int, str], most: int) -> Table:
    labels = len({row.against.label for row in rows}) > 1
    of_reference = relative(rows)
    heads = figure_heads(of_reference=of_reference)
    head = ("model", "scenario", "compared", *["with"] * labels, *heads, "verdict")
    shown = sorted(rows, key=seriousness)[:most] if len(rows) > most else rows
    cells = tuple(
        (
            Cell(row.case.model),
            Cell(row.scenario, link=links.get(id(row.case), "")),
            Cell(name(row.comparison)),
            *[Cell(row.against.label)] * labels,
            *(Cell(text or NOTHING, tight=True) for text in figures(row, of_reference=of_reference)),
            Cell(row.verdict, tone_of(row.comparison)),
        )
        for row in shown
    )
    note = "In capitals: fails the case. Unchanged error rates that no rule names are left out."
    if len(rows) > len(shown):
        note += f" {len(shown)} of {len(rows)} comparisons are here, the most serious; "
        note += "the others are with their cases and in results.json."
    return Table("Comparisons" if len(rows) > len(shown) else "All comparisons", head, cells, 3 + labels, note=note)


def _chart(rows: Sequence[Compared], most: int) -> tuple[Markup | None, str]:
    drawn = [row for row in rows if row.comparison.change_pct is not None and interval(row.comparison)]
    if not drawn:
        return None, ""
    chosen = sorted(drawn, key=lambda row: not row.comparison.fails)[:most]
    models = len({row.case.model for row in rows}) > 1
    changes = [
        Change(
            label=f"{name(row.comparison)} {row.scenario}{f' on {row.case.model}' * models}",
            change_pct=row.comparison.change_pct or 0.0,
            interval_pct=row.comparison.change_ci95_pct,
            limit_pct=limit_pct(row.comparison),
            tone=tone_of(row.comparison),
            word=word(row.comparison),
        )
        for row in chosen
    ]
    note = (
        "A dot is the estimated change, the line its 95 % interval, the dashed mark the limit; "
        "an arrow points beyond the edge."
    )
    if any(in_points(row.comparison) for row in chosen):
        note += " Shares and scores change by percentage points."
    if len(drawn) > len(chosen):
        note += f" {len(chosen)} of {len(drawn)} comparisons are drawn, those that fail first."
    return intervals("changes", "change of the number", changes), note


def against_tables(case: CaseResult) -> tuple[Table, ...]:
    """A table for each side that a case was compared with."""
    return tuple(_against(against) for against in case.against)


def _against(against: Against) -> Table:
    head = (
        "rule",
        "verdict",
        "baseline",
        "candidate",
        "change",
        "95 % interval, %",
        "how sure",
        "n",
        "method",
        "set by",
    )
    rows = []
    for each in against.comparisons:
        baseline, candidate = sides(each)
        sure = "; ".join(filter(None, (probability(each), raw(each), of_medians(each), each.reason)))
        data = f"{each.pairs} pairs" if each.pairs is not None else f"{each.n_baseline} and {each.n_candidate}"
        rows.append(
            (
                Cell(each.rule),
                Cell(word(each), tone_of(each)),
                Cell(baseline, tight=True),
                Cell(candidate, tight=True),
                Cell(f"{arrow(each)} {change(each)}".strip(), tight=True),
                Cell(interval(each) or NOTHING, tight=True),
                Cell(sure or NOTHING),
                Cell(data, tight=True),
                Cell(each.method or NOTHING),
                Cell(each.scope or "suite"),
            )
        )
    facts = [_how(against), *(f"{DIFFERS} {line}" for line in against.differs), *against.notes]
    return Table(f"Compared with {against.label}", head, tuple(rows), words=True, note="; ".join(filter(None, facts)))


def _how(against: Against) -> str:
    if against.kind == "pairs":
        most = f" of at most {against.max_pairs}" if against.max_pairs is not None else ""
        pairs = f"pairs of turns: {against.pairs}{most}, " if against.pairs is not None else ""
        return f"{pairs}measured interleaved"
    return f"run {against.run_id or 'unknown'}, {when(against.started_at)}" if against.started_at else ""
