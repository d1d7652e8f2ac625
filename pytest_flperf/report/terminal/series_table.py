"""Terminal table of one number over the stored runs, with bars."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.report.figures import NOTHING, number, point
from pytest_flperf.report.terminal.stored_runs import age_of
from pytest_flperf.report.terminal.tables import cut, render, width_of

if TYPE_CHECKING:
    from pytest_flperf.history.series import SeriesPoint

__all__ = ["best_of", "series_table"]

_Key: TypeAlias = tuple[str, str, str, str]
_NAME: Final = 60
_COMMIT: Final = 7
_SHORTEST_BAR: Final = 10
_LONGEST_BAR: Final = 60
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_PASSED: Final = ("passed", "xpassed")
_OPTIONAL: Final = ("branch", "commit", "verdict")


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
    several = len({_key(each) for each in points}) > 1
    head = [
        "run",
        "age",
        *["case"] * several,
        "branch",
        "commit",
        "n",
        ", ".join(filter(None, (name, unit))),
        "verdict",
    ]
    left = [True, False, *[True] * several, True, True, False, False, True]
    rows = [_row(each, now, scale, several=several) for each in points]
    said = [
        place
        for place, title in enumerate(head)
        if title not in _OPTIONAL or any(row[place] not in ("", NOTHING) for row in rows)
    ]
    lines = render([head[at] for at in said], [[row[at] for at in said] for row in rows], [left[at] for at in said])
    if not bars:
        return [cut(line, width) for line in lines]
    widest = max(map(width_of, lines))
    room = max(_SHORTEST_BAR, min(_LONGEST_BAR, width - widest - 2))
    drawn = ["", "", *_bars([each.value for each in points], room)]
    return [f"{line}{' ' * (widest - width_of(line))}  {bar}".rstrip() for line, bar in zip(lines, drawn, strict=True)]


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


def _row(each: SeriesPoint, now: datetime, scale: float, *, several: bool) -> list[str]:
    case = f"{each.model} {_point(each.parameters)}".strip()
    return [
        printable(each.run),
        age_of(each.started_at, now),
        *[printable(case, _NAME)] * several,
        printable(each.branch or NOTHING, _NAME),
        printable((each.commit or NOTHING)[:_COMMIT]),
        str(each.n),
        number(math.inf if each.infinite else None if each.value is None else scale * each.value),
        "" if each.outcome in _PASSED else printable(each.outcome, _NAME),
    ]


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
