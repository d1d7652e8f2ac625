"""Scoring of answers, with limits on time and memory."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from pytest_flperf._text import encodable
from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess, NoResult, Result, Stop
from pytest_flperf.quality.answer_scorer import AnswerScorer, as_json
from pytest_flperf.quality.expectations import is_known
from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.scorers.context import OwnScoring
from pytest_flperf.quality.scorers.process import OWN_LIMITS, OwnProcess
from pytest_flperf.quality.scores import PartedScore, Score
from pytest_flperf.quality.worker import CHECK

__all__ = [
    "SCORING_LIMITS",
    "AnswerScorer",
    "NoResult",
    "OwnScoring",
    "PartedScore",
    "Score",
    "Scoring",
    "Stop",
    "go_on",
    "problems_of",
]

SCORING_LIMITS: Final = Limits(time_s=2.0, memory_mb=512)
"""Limits for each answer."""
_NOT_CHECKED: Final = "not checked"
_MODULE: Final = "pytest_flperf.quality.worker"


def go_on() -> str:
    """A stop function that never stops."""
    return ""


def problems_of(expectations: Iterable[Mapping[str, Any]]) -> Sequence[str]:
    """Problem of each pattern or schema; empty if none.

    The words follow ``which``.

    After one that exceeds the limits the rest is not checked, and has no problem here.
    """
    return _problems(tuple(map(as_json, expectations)))


@functools.lru_cache(16)
def _problems(expectations: tuple[str, ...]) -> Sequence[str]:
    """Problems of expectations as JSON, cached.

    A test may run with the same ones again and again.
    """
    with BoundedProcess(_MODULE, SCORING_LIMITS) as process:
        found = process.run(CHECK, expectations, lambda: _NOT_CHECKED if process.ended else "")
    return tuple(map(_problem, found))


def _problem(found: Result) -> str:
    if not isinstance(found, NoResult):
        return str(found)
    if found.reason == _NOT_CHECKED:
        return ""
    hint = "; simplify it" if found.reason in (SCORING_LIMITS.too_slow, SCORING_LIMITS.too_large) else ""
    return f"can't be checked: {encodable(found.reason)}{hint}"


class Scoring:
    """The process that scores answers, started on first use."""

    def __init__(self, limits: Limits = SCORING_LIMITS, own_limits: Limits = OWN_LIMITS) -> None:
        """Start nothing yet; ``own_limits`` hold for scorers of one's own."""
        self._process = BoundedProcess(_MODULE, limits)
        self._own_limits = own_limits
        self._own: dict[str, OwnProcess] = {}

    def of(
        self,
        expected: Mapping[str, Any] | None,
        stop: Stop = go_on,
        *,
        refused: str = "",
        rows: ExpectedOf | None = None,
        own: OwnScoring | None = None,
    ) -> AnswerScorer | None:
        """The scorer of one case's answers, or None.

        None where the case has no expectation that this version knows, and no hook may score it.

        Args:
            expected: What all answers shall be.
            stop: Returns why no more answers shall be scored; empty: go on.
            refused: Why none of them can be scored; empty: they can.
            rows: Gives the expectation of a request's row; None: there are no such rows.
            own: Lets scorers of one's own and the hook run; None: a stored run runs nobody's code.

        """
        if rows is None and not is_known(expected) and (own is None or own.hook is None):
            return None  # also in a results file that somebody has changed
        own_process = None
        if own is not None:
            own_process = self._own.setdefault(own.folder, OwnProcess(own.folder, self._own_limits))
        return AnswerScorer(self._process, expected, stop, refused, rows, own, own_process)

    def close(self) -> None:
        """End the processes; safe to call twice."""
        self._process.close()
        for each in self._own.values():
            each.process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
