"""Processes of own scorers: one for each folder of suites."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess, NoResult, Result, Stop
from pytest_flperf.quality.scorers.answers import AnswerScore
from pytest_flperf.quality.scorers.worker import task_of

__all__ = ["OWN_LIMITS", "OwnProcess", "scorer_problems", "told_parts"]

OWN_LIMITS: Final = Limits(time_s=2.0, memory_mb=1024)
"""Limits for each answer; libraries that a scorer imports take memory, too."""
_MODULE: Final = "pytest_flperf.quality.scorers.worker"
_NOT_CHECKED: Final = "not checked"


class OwnProcess:
    """The process that runs the own scorers of the suites of one folder; started on first use."""

    def __init__(self, folder: str, limits: Limits = OWN_LIMITS) -> None:
        """Start nothing yet; ``folder`` empty: there is no suite."""
        self._folder = folder
        self.process = BoundedProcess(_MODULE, limits)

    def task(self, scorers: Sequence[str]) -> str:
        """Task of answers that these functions score."""
        return task_of(_paths(self._folder), scorers)

    def problems(self, scorers: Sequence[str], stop: Stop) -> list[Result]:
        """Problem of each function, or why it isn't known; imported one by one, so that the right one is blamed."""
        tasks = ((task_of(_paths(self._folder), [name], check=True), name) for name in scorers)
        return [found for task, name in tasks for found in self.process.run(task, [name], stop)]


def scorer_problems(folder: str, scorers: Sequence[str]) -> list[str]:
    """Problem of each function; empty if none.  They are imported in a process of their own, and not called.

    The words follow ``which``.
    """
    own = OwnProcess(folder)
    with own.process as process:
        found = own.problems(scorers, lambda: _NOT_CHECKED if process.ended else "")
    return [_words(each) for each in found]


def _words(found: Result) -> str:
    if not isinstance(found, NoResult):
        return str(found)
    return "" if found.reason == _NOT_CHECKED else f"can't be imported: {found.reason}"


def _paths(folder: str) -> list[str]:
    """Folders of modules: the suite's, the current one, and those of this process, where pytest adds some."""
    found = [folder, str(Path.cwd()), *(path for path in sys.path if path)]
    return [path for path in dict.fromkeys(found) if path]


def told_parts(told: Any) -> tuple[list[float], list[AnswerScore]]:
    """What the process said of one answer: scores as of ``parts_by``, and the parts of each own scorer."""
    scores, own = json.loads(told)
    return scores, [AnswerScore(0.0, parts, reason) for parts, reason in own]
