"""Worker of the process in which own scorers run.

Apart from that of our own checks: what a person's module does when it is imported must not reach these.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from pytest_flperf.bounded.worker import ImpossibleError, Work
from pytest_flperf.quality.expectations import EXPECTED, SCORER, parts_by
from pytest_flperf.quality.options import CheckOptions, Score
from pytest_flperf.quality.scorers.answers import AnswerScore, AnswerToScore, read_score
from pytest_flperf.quality.scorers.functions import Function, function_named
from pytest_flperf.quality.tools.answered import SentCall, opened

__all__ = ["prepare", "task_of"]

_EXPECTATIONS: Final = 1_024
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def task_of(paths: Sequence[str], scorers: Sequence[str], *, check: bool = False) -> str:
    """Task for :func:`prepare`.

    Args:
        paths: Folders in which modules are looked for, after those of the interpreter.
        scorers: Names of all functions that its items need.
        check: Whether its items are names to be checked; else they are answers to be scored.

    """
    return json.dumps([list(paths), list(scorers), check])


def prepare(task: str) -> Work:
    """Return the work of a task; raises what makes it impossible.

    Modules are imported here, in the time that a task has beyond that of its items.
    """
    paths, names, check = json.loads(task)
    _silence()
    for name in _THREADS:  # libraries that calculate start one per core, each with memory of its own
        os.environ.setdefault(name, "1")
    # Behind the interpreter's own: a json.py beside a suite must not become the json of this process.
    sys.path += [path for path in paths if path not in sys.path]
    if check:
        problems = {name: _problem_of(name) for name in names}
        return problems.__getitem__
    functions = {name: function_named(name) for name in names}
    made = lru_cache(_EXPECTATIONS)(lambda expected: _Scored(expected, functions))

    def score(item: Any) -> str:
        expected, answer, context = item
        return made(expected)(answer, context)

    return score


def _problem_of(name: str) -> str:
    try:
        function_named(name)
    except ImpossibleError as error:
        return str(error)
    return ""


def _silence() -> None:
    """Let scorers read and print nothing: pipes and log are ours, and what they print may be without end."""
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - a device, not a path of anybody's
        for stream in range(3):
            os.dup2(nothing.fileno(), stream)


class _Scored:
    """One expectation with its own scorers."""

    def __init__(self, expected: str, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._answer = AnswerToScore("")
        self._told: list[AnswerScore] = []
        self._parts: Callable[[str], float | list[float]] = parts_by(json.loads(expected), self._own)

    def _own(self, value: Any, options: CheckOptions) -> Score:
        del options
        function, expected = self._functions[value[SCORER]], value.get(EXPECTED)

        def score(text: str) -> float:
            del text
            found = read_score(function(replace(self._answer, expected=expected)))
            self._told.append(found)
            return found.score

        return score

    def __call__(self, answer: str, context: str) -> str:
        """The score of an answer and those of its parts, as JSON."""
        sent, known = opened(answer), json.loads(context)
        calls = tuple(SentCall(*each) for each in sent.calls)
        self._answer = replace(AnswerToScore(sent.text, calls=calls), **{**known, "messages": tuple(known["messages"])})
        self._told = []
        found = self._parts(answer)
        told = [[dict(each.parts), each.reason] for each in self._told]
        return json.dumps([found if isinstance(found, list) else [found], told])
