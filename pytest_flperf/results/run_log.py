"""``run.jsonl``: what must be known beside the journal to make results of a run that nobody could finish.

Three kinds of lines: ``run`` when it begins, ``begun`` for each case before its first request, ``result`` for each case
that was judged.  They are appended as things happen, so that a kill at any moment loses none that was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_flperf.results.journal import Journal, JournalReader
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.validation import checked_case, checked_run

__all__ = ["RUN_LOG", "BegunCase", "Key", "LoggedRun", "RunLog", "read_run_log"]

RUN_LOG: Final = "run.jsonl"
_LARGEST_FILE: Final = 1 << 60
Key: TypeAlias = tuple[str, str]
"""Node id and host: what tells cases apart."""


class RunLog:
    """Writes the lines; without a folder, or where it can't be written, it writes none and nothing raises."""

    def __init__(self, folder: RunFolder | None) -> None:
        self._journal: Journal | None = folder.journal(RUN_LOG) if folder is not None else None

    def run(self, run: Run) -> None:
        """A run begins; its cases are left out."""
        self._append({"run": replace(run, cases=()).to_dict()})

    def begun(self, case: CaseResult, budgets: tuple[str, ...], journal_start: int) -> None:
        """A case begins.

        Args:
            case: What is known of it before its first request.
            budgets: What it will be judged by, as written.
            journal_start: The byte of the journal from which on its requests are.

        """
        self._append({"begun": case.to_dict(), "budgets": list(budgets), "journal_start": journal_start})

    def result(self, case: CaseResult) -> None:
        """A case was judged."""
        self._append({"result": case.to_dict()})

    def close(self) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()

    def _append(self, record: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(record)


@dataclass(frozen=True, slots=True)
class BegunCase:
    """A case as it was when it began."""

    case: CaseResult
    budgets: tuple[str, ...]
    journal_start: int


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run log, read."""

    run: Run | None = None
    """Without cases; None where the log doesn't say."""
    begun: Mapping[Key, BegunCase] = field(default_factory=dict)
    """Cases that began and were not judged since."""
    results: Mapping[Key, CaseResult] = field(default_factory=dict)


def read_run_log(path: Path) -> LoggedRun:
    """Read a log; what is none of its lines is passed over.  Raises OSError where the file can't be read."""
    run: Run | None = None
    begun: dict[Key, BegunCase] = {}
    results: dict[Key, CaseResult] = {}
    for record in JournalReader(path):
        try:
            if "run" in record:
                run = checked_run(record["run"])
            elif "begun" in record:
                case = checked_case(record["begun"])
                start, budgets = _start(record.get("journal_start")), tuple(map(str, record.get("budgets") or ()))
                begun[case.nodeid, case.host] = BegunCase(case, budgets, start)
            elif "result" in record:
                case = checked_case(record["result"])
                results[case.nodeid, case.host] = case
                begun.pop((case.nodeid, case.host), None)
        except (ValueError, TypeError):  # a line of a newer version, or a damaged one
            continue
    return LoggedRun(run, begun, results)


def _start(value: Any) -> int:
    """A byte of the journal; of what is none, its first: lines of other cases are passed over."""
    return value if type(value) is int and 0 <= value < _LARGEST_FILE else 0
