"""Terminal table of one number over the stored runs, with bars."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.history.series import is_like
from pytest_flperf.report.figures import NOTHING, number, point
from pytest_flperf.report.terminal.stored_runs import age_of, short_ids
from pytest_flperf.report.terminal.tables import Column, fitted, width_of, wrapped
from pytest_flperf.report.trend_words import UNLIKE, UNLIKE_WORDS

if TYPE_CHECKING:
    from pytest_flperf.history.series import SeriesPoint

__all__ = ["best_of", "series_table"]

_Key: TypeAlias = tuple[str, str, str, str]
_NAME: Final = 60
_COMMIT: Final = 7
_WIDE: Final = 1_000
_BAR: Final = "bar, from 0"
_SHORTEST_BAR: Final = len(_BAR)
_GAP: Final = 2
_LONGEST_BAR: Final = 60
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_PASSED: Final = ("passed", "xpassed")


@dataclass(frozen=True, slots=True)
class _Row:
    """A point as it is shown."""

    point: SeriesPoint
    run: str
    like: bool
    """Whether it can be compared with the newest of its case."""


def series_table(
    points: Sequence[SeriesPoint], name: str, unit: str, now: datetime, width: int, *, bars: bool, scale: float = 1.0
) -> list[str]:
    """A row per case, oldest run first, and with ``bars`` a bar from zero.

    Columns that say nothing are left out, so that the numbers fit.

    Args:
        points: Of :meth:`~pytest_flperf.history.series.SeriesQueries.series`.
        name: Of the number: ``ttft_ms.p50``.
        unit: Of the numbers that are shown; empty: none.
        scale: What the numbers are multiplied with: shares are shown in percent.
        now: The time at which ages are computed.
        width: Columns of the terminal.
        bars: Whether the numbers are drawn.

    """
    short = dict(zip(ids := list(dict.fromkeys(each.run for each in points)), short_ids(ids), strict=True))
    newest = {_key(each): each for each in points}
    rows = [_Row(each, each.run, is_like(each, newest[_key(each)])) for each in points]
    columns = _columns(rows, ", ".join(filter(None, (name, unit))), now, scale)
    room = width - _SHORTEST_BAR - _GAP if bars else width
    lines = fitted(rows, columns, _WIDE)
    if max(map(width_of, lines)) > room:
        lines = fitted([replace(row, run=short[row.point.run]) for row in rows], columns, room)
    if bars:
        lines = _with_bars(lines, [each.value for each in points], width)
    told = [] if all(row.like for row in rows) else wrapped(f"{UNLIKE}: {UNLIKE_WORDS}", width)
    return [*(line.rstrip() for line in lines), *told]


def _with_bars(lines: Sequence[str], values: Sequence[float | None], width: int) -> list[str]:
    """The table with a column of bars, as long as there is room."""
    widest = max(map(width_of, lines))
    room = min(_LONGEST_BAR, width - widest - _GAP)
    drawn = [_BAR, "-" * room, *_bars(values, room)]
    padded = [f"{line}{' ' * (widest + _GAP - width_of(line))}" for line in lines]
    padded[1] = "-" * (widest + _GAP)
    return [f"{line}{bar}" for line, bar in zip(padded, drawn, strict=True)]


def _columns(rows: Sequence[_Row], number_name: str, now: datetime, scale: float) -> list[Column[_Row]]:
    """Columns that say something; the number is never dropped."""
    several = len({_key(row.point) for row in rows}) > 1
    columns: list[Column[_Row]] = [
        Column("run", lambda row: printable(row.run), left=True),
        Column("age", lambda row: age_of(row.point.started_at, now), 6),
    ]
    if several:
        columns.append(Column("case", _case, -1, name=True))
    if any(row.point.branch for row in rows):
        columns.append(Column("branch", lambda row: printable(row.point.branch or NOTHING, _NAME), 5, name=True))
    if any(row.point.commit for row in rows):
        columns.append(Column("commit", lambda row: printable((row.point.commit or NOTHING)[:_COMMIT]), 4))
    columns += [
        Column("n", lambda row: str(row.point.n), 3),
        Column(number_name, lambda row: number(_shown(row.point, scale))),
    ]
    if not all(row.like for row in rows):
        columns.append(Column(UNLIKE, lambda row: "" if row.like else UNLIKE))
    if any(row.point.outcome not in _PASSED for row in rows):
        columns.append(Column("verdict", _verdict, name=True))
    return columns


def best_of(points: Sequence[SeriesPoint], *, higher_is_better: bool) -> list[SeriesPoint]:
    """The best point of each case among those that passed, in the order of the cases."""
    cases: dict[_Key, list[tuple[float, SeriesPoint]]] = {}
    for each in points:
        if each.value is not None and each.outcome in _PASSED:
            cases.setdefault(_key(each), []).append((each.value, each))
    better = max if higher_is_better else min
    return [better(found, key=lambda pair: pair[0])[1] for found in cases.values()]


def _key(each: SeriesPoint) -> _Key:
    return each.suite, each.model, each.parameters, each.host


def _case(row: _Row) -> str:
    return f"{row.point.model} {_point(row.point.parameters)}".strip()


def _shown(each: SeriesPoint, scale: float) -> float | None:
    return math.inf if each.infinite else None if each.value is None else scale * each.value


def _verdict(row: _Row) -> str:
    return "" if row.point.outcome in _PASSED else printable(row.point.outcome, _NAME)


def _point(parameters: str) -> str:
    try:
        found = json.loads(parameters)
    except ValueError:
        return ""
    return point(found) if isinstance(found, dict) else ""


def _bars(values: Sequence[float | None], room: int) -> list[str]:
    """Bars of eighths of a character, the largest value as long as there is room."""
    largest = max((value for value in values if value is not None and value > 0), default=0.0)
    bars = []
    for value in values:
        eighths = round(8 * room * value / largest) if value is not None and value > 0 and largest else 0
        whole, part = divmod(eighths, 8)
        bars.append("█" * whole + _BLOCKS[part].strip())
    return bars
