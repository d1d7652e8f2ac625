"""Annotations of GitHub Actions: lines on standard output by which a failed case stands on the page of the job.

``::error title=…::…``, with what the runner would read escaped as its documentation and its toolkit do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_flperf.gates.text import printable
from pytest_flperf.report.compared import reasons_of, rows_of
from pytest_flperf.report.words import case_name
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["annotation_lines"]

_MOST: Final = 9
"""GitHub shows ten errors and ten warnings of a step; the tenth says how many there are."""
_TITLE: Final = 120
_MESSAGE_LINES: Final = 8
_LINE: Final = 400


def annotation_lines(run: Run) -> list[str]:
    """An error for each case that failed, a warning for what a gate could not decide; each one line."""
    bad = [case for case in run.cases if case.outcome in ("failed", "error")]
    lines = [_annotation("error", case_name(case), _message(case)) for case in bad[:_MOST]]
    if len(bad) > _MOST:
        lines.append(
            _annotation("error", "flperf", [f"{len(bad) - _MOST} more cases failed; the job's summary has all"])
        )
    for verdict in run.budgets:
        if not verdict.met:
            lines.append(_annotation("error", "flperf: budget of the run", [f"missed {verdict.expression}"]))
    undecided = [
        row for row in rows_of(run.cases) if row.comparison.verdict == "undecided" and not row.comparison.fails
    ]
    asked = [row for row in undecided if row.comparison.scope != "default"]
    if asked:
        count = f"{len(asked)} comparison{'s' * (len(asked) != 1)} could not be decided"
        lines.append(_annotation("warning", "flperf: undecided", [count, *reasons_of(asked)]))
    return lines


def _message(case: CaseResult) -> Sequence[str]:
    lines = [line.strip() for line in case.message.splitlines()]
    return lines[:_MESSAGE_LINES] or [case.outcome]


def _annotation(level: str, title: str, lines: Sequence[str]) -> str:
    message = "%0A".join(_data(printable(line, _LINE)) for line in lines)
    return f"::{level} title={_property(printable(title, _TITLE))}::{message}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
