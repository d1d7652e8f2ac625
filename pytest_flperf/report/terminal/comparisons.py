"""Comparisons in the terminal: a table, other differences, a summary line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.gates.format import (
    arrow,
    beyond_for_the_better,
    change,
    counted_words,
    goes_without_saying,
    interval,
    limit,
    measured,
    name,
    word,
)
from pytest_flperf.report.figures import NOTHING, number, point
from pytest_flperf.report.terminal.tables import Colour, Column, Line, fitted, wrapped
from pytest_flperf.results.comparison import DEFAULT_SCOPE, Against, Comparison
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.records import CaseResult

__all__ = [
    "DIFFERS",
    "Compared",
    "compared_lines",
    "figure_heads",
    "figures",
    "gated",
    "notes_of",
    "reasons_of",
    "relative",
    "rows_of",
    "sums",
    "tone",
]

_MOST_ROWS: Final = 40
"""With more rows than this, unchanged ones are left out, except with ``-v``."""
_MOST_LINES: Final = 8
_LINE: Final = 300
DIFFERS: Final = "≠"
_RELATIVE: Final = "changes with a value under 'as measured' are relative to the reference load"
NOTHING_GATES: Final = "nothing fails on it: give --flperf-fail-on"


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison, with its case and baseline."""

    case: CaseResult
    against: Against
    comparison: Comparison

    @property
    def scenario(self) -> str:
        """The scenario with its matrix point."""
        return f"{self.case.scenario} {point(self.case.parameters)}".strip()

    @property
    def verdict(self) -> str:
        """The verdict, marked where more than the numbers differs."""
        return word(self.comparison) + f" {DIFFERS}" * bool(self.against.differs)


def rows_of(cases: Iterable[CaseResult]) -> list[Compared]:
    """The comparisons of a run, without unchanged default error rates."""
    return [
        Compared(case, against, each)
        for case in cases
        for against in case.against
        for each in against.comparisons
        if not goes_without_saying(each)
    ]


def compared_lines(cases: Sequence[CaseResult], width: int, verbosity: int) -> list[Line]:
    """Table, differences, reasons and summary; empty where nothing was compared."""
    rows = rows_of(cases)
    if not any(case.against for case in cases):
        return []
    shown = rows if verbosity >= 1 or len(rows) <= _MOST_ROWS else [row for row in rows if _changed(row.comparison)]
    lines = [Line("")]
    if shown:
        texts = fitted(shown, _columns(shown), width)
        head = len(texts) - len(shown)
        lines += [Line(text, bold=True) for text in texts[:head]]
        lines += [Line(text, tone(row.comparison)) for text, row in zip(texts[head:], shown, strict=True)]
    if len(shown) < len(rows):
        lines.append(Line(f"… and {len(rows) - len(shown)} unchanged; -v: all"))
    if relative(shown):
        lines.append(Line(_RELATIVE))
    lines += [Line(f"{DIFFERS} {text}", "yellow") for text in _differences(cases)]
    lines += [Line(text) for reason in reasons_of(rows) for text in wrapped(reason, width)]
    return [*lines, *(Line(text, colour) for text, colour in sums(cases))]


def _changed(comparison: Comparison) -> bool:
    return comparison.verdict != "unchanged" or beyond_for_the_better(comparison)


def tone(comparison: Comparison) -> Colour:
    """Colour of a comparison: red only where it fails."""
    if comparison.fails:
        return "red"
    found: dict[str, Colour] = {"regressed": "yellow", "improved": "green", "undecided": "yellow"}
    return found.get(comparison.verdict, "")


def _columns(rows: Sequence[Compared]) -> list[Column[Compared]]:
    columns: list[Column[Compared]] = [
        Column("model", lambda row: row.case.model, goes=-1, name=True),
        Column("scenario", lambda row: row.scenario, name=True),
        Column("compared", lambda row: name(row.comparison), name=True),
        Column("baseline\n→ candidate", numbers, goes=2),
        Column("change", lambda row: _change(row.comparison)),
        Column("95 % interval", lambda row: interval(row.comparison), goes=-1),
        Column("limit", lambda row: limit(row.comparison), goes=9),
        Column("verdict", lambda row: row.verdict, name=True),
    ]
    if relative(rows):
        columns.insert(-2, Column("as\nmeasured", lambda row: measured(row.comparison), goes=8))
    if len({row.case.host for row in rows}) > 1:
        columns.insert(0, Column("host", lambda row: row.case.host, name=True))
    if len({row.case.suite for row in rows}) > 1:
        columns.insert(0, Column("suite", lambda row: row.case.suite, goes=7, name=True))
    if len({row.against.label for row in rows}) > 1:
        columns.insert(-1, Column("with", lambda row: row.against.label, goes=6, name=True))
    if len({row.case.model for row in rows}) == 1:
        del columns[[column.heading for column in columns].index("model")]
    return columns


def relative(rows: Iterable[Compared]) -> bool:
    """Whether some changes are relative to a reference load."""
    return any(row.comparison.raw_change_pct is not None for row in rows)


def figure_heads(*, of_reference: bool) -> list[str]:
    """Column headings of :func:`figures`."""
    return ["baseline → candidate", "change", "95 % interval, %", *["as measured"] * of_reference, "limit"]


def figures(row: Compared, *, of_reference: bool) -> list[str]:
    """Numbers of a row, for a page.

    Where some changes are relative, with the change as measured.
    """
    each = row.comparison
    moved = f"{arrow(each)} {change(each)}".strip()
    return [numbers(row), moved, interval(each), *[measured(each)] * of_reference, limit(each)]


def numbers(row: Compared) -> str:
    """The numbers of both sides, in the metric's unit: ``50.1 → 56.3``."""
    each = row.comparison
    return f"{_number(each, each.baseline)} → {_number(each, each.candidate)}"


def _number(comparison: Comparison, value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{number(100 * value)} %" if unit_of(comparison.metric) == "fraction" else number(value)


def _change(comparison: Comparison) -> str:
    return f"{arrow(comparison)} {change(comparison).replace('points', 'pts')}".strip()


def _differences(cases: Iterable[CaseResult]) -> list[str]:
    """Differences other than the numbers, each with its number of cases."""
    found = Counter(line for case in cases for against in case.against for line in against.differs)
    return _counted(found, "case")


def notes_of(cases: Sequence[CaseResult]) -> list[str]:
    """Notes on the table of a page: reference load, differences, reasons."""
    rows = rows_of(cases)
    said = [_RELATIVE] if relative(rows) else []
    return [*said, *(f"{DIFFERS} {text}" for text in _differences(cases)), *reasons_of(rows)]


def reasons_of(rows: Iterable[Compared]) -> list[str]:
    """Reasons for verdicts, each once and with its place.

    They say why a comparison is undecided, not called improved, or regressed whatever the latencies say.
    """
    places: dict[str, dict[str, None]] = {}
    found: Counter[str] = Counter()
    for row in rows:
        if row.comparison.reason:
            about = "" if row.against.missing else f"{row.comparison.verdict}: {name(row.comparison)}: "
            text = f"{about}{row.comparison.reason}"
            places.setdefault(text, {})[f"{row.scenario} on {row.case.model}"] = None
            found[text] += 1
    told = {f"{next(iter(places[text]))}: {text}" if len(places[text]) == 1 else text: n for text, n in found.items()}
    return _counted(Counter(told), "comparison")


def _counted(found: Counter[str], noun: str) -> list[str]:
    lines = [
        printable(text, _LINE) + (f" ({count} {noun}s)" if count > 1 else "")
        for text, count in found.most_common(_MOST_LINES)
    ]
    more = len(found) - _MOST_LINES
    return [*lines, f"… and {more} more, shown with each case: in a report, or with -v"] if more > 0 else lines


def gated(cases: Iterable[CaseResult]) -> bool:
    """Whether a comparison could have failed a case."""
    return any(
        each.fails or each.scope != DEFAULT_SCOPE
        for case in cases
        for against in case.against
        for each in against.comparisons
    )


def sums(cases: Sequence[CaseResult]) -> list[tuple[str, Colour]]:
    """Summary line and colour for each baseline.

    Such as ``compared with LABEL: 2 regressed, 1 improved …``.
    """
    labels: dict[str, list[Comparison]] = {}
    for case in cases:
        for against in case.against:
            labels.setdefault(against.label, [])
    for row in rows_of(cases):
        labels[row.against.label].append(row.comparison)
    ungated = "" if gated(cases) else f"; {NOTHING_GATES}"
    lines: list[tuple[str, Colour]] = []
    for label, comparisons in labels.items():
        colours = {tone(each) for each in comparisons if each.verdict != "undecided"}
        colour: Colour = next((each for each in ("red", "yellow", "green") if each in colours), "")
        lines.append((f"compared with {printable(label, 100)}: {counted_words(comparisons)}{ungated}", colour))
    return lines
