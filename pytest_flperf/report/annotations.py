"""GitHub Actions annotations: failed cases on the page of a job.

They are lines on standard output, ``::error title=…::…``.  Characters that the runner would interpret are escaped as in
its documentation and its toolkit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.gates.severity import failed_cases, missed_budgets
from pytest_flperf.report.sentences import case_name, reasons, value_of, without_verdict
from pytest_flperf.report.terminal.comparisons import reasons_of, rows_of
from pytest_flperf.report.verdict_words import sentence
from pytest_flperf.results.bounds import first_lines
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["annotation_lines"]

_MOST: Final = 10
"""GitHub shows ten errors and ten warnings of a step; where there are more, the tenth counts them."""
_TITLE: Final = 120
_MESSAGE_LINES: Final = 8
_LINE: Final = 400


def annotation_lines(run: Run) -> list[str]:
    """Annotation lines of a run: errors, worst first, then warnings.

    At most ten errors; a warning where nothing was measured, or a comparison is undecided.
    """
    errors: list[tuple[str, Sequence[str]]] = [
        ("flperf: budget of the run", [f"missed {each.expression} ({value_of(each)})"]) for each in missed_budgets(run)
    ]
    errors += [("flperf: error of pytest", [fault]) for fault in run.faults]
    hosts = len({case.host for case in run.cases}) > 1
    errors += [(case_name(case, host=hosts), _message(case)) for case in failed_cases(run.cases)]
    if len(errors) > _MOST:
        more = f"{len(errors) - _MOST + 1} more cases failed; the job's summary has all"
        errors = [*errors[: _MOST - 1], ("flperf", [more])]
    if not errors and run.status == "error":
        errors = [("flperf: error of pytest", reasons(run))]
    return [*(_annotation("error", title, said) for title, said in errors), *_warnings(run, lost=bool(errors))]


def _warnings(run: Run, *, lost: bool) -> Iterator[str]:
    if run.status == "not_measured" and not lost:
        why = first_lines(without_verdict(run.cases), _MESSAGE_LINES, "reasons")
        yield _annotation("warning", "flperf: not measured", [sentence(run), *why])
    undecided = [
        row for row in rows_of(run.cases) if row.comparison.verdict == "undecided" and not row.comparison.fails
    ]
    asked = [row for row in undecided if row.comparison.scope != "default"]
    if asked:
        count = f"{len(asked)} comparison{'s' * (len(asked) != 1)} could not be decided"
        yield _annotation("warning", "flperf: undecided", [count, *reasons_of(asked)])


def _message(case: CaseResult) -> Sequence[str]:
    lines = [line.strip() for line in case.message.splitlines()]
    return first_lines(lines, _MESSAGE_LINES, "lines") or [case.outcome]


def _annotation(level: str, title: str, lines: Sequence[str]) -> str:
    message = "%0A".join(_data(printable(line, _LINE)) for line in lines)
    return f"::{level} title={_property(printable(title, _TITLE))}::{message}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
