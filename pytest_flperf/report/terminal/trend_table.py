"""Terminal table of trends: a row per case with its change and a sparkline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.history.series import is_like
from pytest_flperf.report.terminal.stored_runs import age_of
from pytest_flperf.report.terminal.tables import Column, fitted
from pytest_flperf.report.trend_words import UNLIKE, change_words, is_passed, least_range, model_words, value_words

if TYPE_CHECKING:
    from pytest_flperf.history.series import SeriesPoint
    from pytest_flperf.history.trends import Trend

__all__ = ["sparkline", "trend_table"]

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_INFINITE: Final = "∞"
_MISSING: Final = "·"
_UNLIKE: Final = "×"
_SPARKS: Final = ((140, 40), (100, 24), (0, 14))
"""Longest sparkline by the width of the terminal."""


def trend_table(
    trends: Sequence[Trend], words: Sequence[str], now: datetime, width: int, *, in_points: bool = False
) -> list[str]:
    """A row per case, fitted to the width.

    Args:
        trends: The rows.
        words: Of each: ``slower``, or nothing.
        now: The time at which ages are computed.
        width: Columns of the terminal.
        in_points: Whether changes are told in percentage points.

    """
    longest = next(cells for least, cells in _SPARKS if width >= least)
    first = [trend.last for trend in trends]
    rows = list(zip(trends, words, strict=True))
    columns: list[Column[tuple[Trend, str]]] = [
        Column("scenario", lambda row: row[0].last.scenario, name=True),
        Column("model", lambda row: model_words(row[0].last), name=True),
        *_where_several(first, "suite", 9),
        *_where_several(first, "host", 10),
        Column("runs", lambda row: str(len(row[0].points)), 8),
        *([Column(UNLIKE, lambda row: str(row[0].unlike or ""))] if any(trend.unlike for trend in trends) else []),
        Column("age", lambda row: age_of(row[0].last.started_at, now), 7),
        Column("from", lambda row: value_words(row[0].start), 4),
        Column("last", lambda row: value_words(row[0].last)),
        Column("change", lambda row: change_words(row[0], in_points=in_points), 3),
        *([Column("verdict", _verdict, name=True)] if any(map(_verdict, rows)) else []),
        Column("trend", lambda row: sparkline(row[0].points, longest, row[0].last).ljust(longest), 2),
    ]
    return [line.rstrip() for line in fitted(rows, columns, width)]


def _where_several(last: Sequence[SeriesPoint], name: str, goes: int) -> list[Column[tuple[Trend, str]]]:
    if len({getattr(each, name) for each in last}) < 2:
        return []
    return [Column(name, lambda row: printable(str(getattr(row[0].last, name)), 60), goes, name=True)]


def _verdict(row: tuple[Trend, str]) -> str:
    """The word, and the outcome of the newest run where the case did not pass."""
    trend, word = row
    newest = trend.points[-1]
    return ", ".join(filter(None, (word, "" if is_passed(newest) else printable(newest.outcome, 20))))


def sparkline(points: Sequence[SeriesPoint], cells: int, newest: SeriesPoint | None = None) -> str:
    """Blocks from the lowest to the highest value, ``·`` where none was measured.

    Its scale is never narrower than :func:`least_range`.  Of more points than cells each cell has the median of its
    share.  A point that can't be compared with ``newest`` is ``×`` and takes no part.
    """
    unlike = [newest is not None and not is_like(point, newest) for point in points]
    marked = list(zip(points, unlike, strict=True))
    shares = [marked[len(points) * cell // cells : len(points) * (cell + 1) // cells] for cell in range(cells)]
    groups = shares if len(points) > cells else [[each] for each in marked]
    values = [
        [point.value for point, is_other in group if point.value is not None and not is_other] for group in groups
    ]
    known = [statistics.median(group) for group in values if group]
    if not known:
        return "".join(map(_without_value, groups))
    scale = (*known, *least_range(known))
    low, span = min(scale), max(scale) - min(scale)
    return "".join(
        _block(statistics.median(found), low, span) if found else _without_value(group)
        for found, group in zip(values, groups, strict=True)
    )


def _block(value: float, low: float, span: float) -> str:
    share = (value - low) / span if span else 0.5
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _without_value(group: Sequence[tuple[SeriesPoint, bool]]) -> str:
    if any(point.infinite and not is_other for point, is_other in group):
        return _INFINITE
    return _UNLIKE if any(is_other for _, is_other in group) else _MISSING
