"""Terminal table of stored runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.history.clocks import FUTURE_SLACK
from pytest_flperf.history.environment import label_of
from pytest_flperf.report.terminal.tables import cut, render, width_of
from pytest_flperf.report.verdict_words import status_word

if TYPE_CHECKING:
    from pytest_flperf.history.store import StoredRun

__all__ = ["age_of", "history_table", "short_ids"]

_HEAD: Final = ("run", "age", "suite", "verdict", "passed", "host", "branch", "commit")
_LEFT: Final = (True, False, True, True, False, True, True, True)
_SHORTEST_ID: Final = 16
"""``20261121T101500Z``, which is the time; longer where runs began in the same second."""
_GIVE_WAY: Final = ("suite", "branch")
_NARROWEST: Final = 6
_FINGERPRINT: Final = 6
_OF_TESTS: Final = "tests"
"""Stands for the suites of a run that has none: its cases are those of tests."""
_ENDING: Final = re.compile(r"\.(?:yaml|yml|json|toml)\Z", re.IGNORECASE)
_COMMIT: Final = 7


def history_table(runs: Sequence[StoredRun], now: datetime, width: int) -> list[str]:
    """Table of stored runs, a row each, fitted to the width.

    Where it is too wide, ids are cut to their unique beginning first, then the names of suites and branches.

    Args:
        runs: The runs, in the order of the rows.
        now: The time at which ages are computed.
        width: Columns of the terminal.

    """
    rows = [_row(run, now) for run in runs]
    lines = render(_HEAD, rows, _LEFT)
    if max(map(width_of, lines)) > width:
        for row, short in zip(rows, short_ids([run.id for run in runs]), strict=True):
            row[0] = printable(short)
        lines = render(_HEAD, rows, _LEFT)
    for name in _GIVE_WAY:
        excess = max(map(width_of, lines)) - width
        column = _HEAD.index(name)
        if excess > 0:
            widest = max(width_of(row[column]) for row in rows)
            for row in rows:
                row[column] = cut(row[column], max(_NARROWEST, widest - excess))
            lines = render(_HEAD, rows, _LEFT)
    return [cut(line, width) for line in lines]


def _row(run: StoredRun, now: datetime) -> list[str]:
    suites = ", ".join(map(_suite_name, run.suites)) or _OF_TESTS
    verdict = status_word(run.status) + (", partial" if run.partial and run.status != "interrupted" else "")
    return [
        printable(run.id),
        age_of(run.started_at, now),
        printable(suites, 60),
        printable(verdict, 30),
        f"{run.cases_passed}/{run.cases}",
        run.fingerprint[:_FINGERPRINT] or "–",
        printable(run.git_branch or label_of(run.ci_job) or "–", 60),
        printable((run.git_commit or "–")[:_COMMIT]),
    ]


def _suite_name(ref: str) -> str:
    """A suite's name: its file's without folder and ending."""
    return _ENDING.sub("", ref.removeprefix("flperf:").rpartition("/")[2])


def short_ids(ids: Sequence[str]) -> list[str]:
    """The shortest unique beginning of each id."""
    short = []
    ordered = sorted(ids)
    beside: dict[str, list[str]] = {}
    for first, second in itertools.pairwise(ordered):
        beside.setdefault(first, []).append(second)
        beside.setdefault(second, []).append(first)
    for each in ids:
        length = max([_SHORTEST_ID, *(_common(each, other) + 1 for other in beside.get(each, ()))])
        short.append(each[:length])
    return short


def _common(first: str, second: str) -> int:
    """Length of the common beginning."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def age_of(started_at: str, now: datetime) -> str:
    """Age of a run: ``12 min``, ``3 h``, ``5 d``."""
    try:
        moment = datetime.fromisoformat(started_at)
        age = now - (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return "–"
    if age < -FUTURE_SLACK:
        return "future"
    if age < timedelta(minutes=1):
        return "now"
    for length, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if age >= 2 * length or unit == "min":
            return f"{age // length} {unit}"
    return "–"
