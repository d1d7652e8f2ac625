"""Scoring of answers, with limits on time and memory."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from pytest_flperf._text import encodable
from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess, NoResult, Result, Stop
from pytest_flperf.quality.expectations import EXPECTATIONS, PLAIN, score_by
from pytest_flperf.quality.worker import CHECK

__all__ = ["SCORING_LIMITS", "AnswerScorer", "NoResult", "Score", "Scoring", "Stop", "go_on", "problems_of"]

SCORING_LIMITS: Final = Limits(time_s=2.0, memory_mb=512)
"""Limits for each answer."""
_MOST_ENDS: Final = 10
"""Answers of a case that may reach the limits; the rest is then not scored."""
_PLAIN_CHARACTERS: Final = 1 << 20
"""Text that is compared within a millisecond; longer text goes to the process, too."""
_MOST_AT_ONCE: Final = 512
_CHARACTERS_AT_ONCE: Final = 1 << 20
_REASONS: Final = 5
_OTHER: Final = "other reasons"
_NOT_CHECKED: Final = "not checked"
_MODULE: Final = "pytest_flperf.quality.worker"

Score: TypeAlias = float | NoResult


def go_on() -> str:
    """A stop function that never stops."""
    return ""


def problems_of(expectations: Iterable[Mapping[str, Any]]) -> Sequence[str]:
    """Problem of each pattern or schema; empty if none.

    The words follow ``which``.

    After one that exceeds the limits the rest is not checked, and has no problem here.
    """
    return _problems(tuple(map(_as_json, expectations)))


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

    def __init__(self, limits: Limits = SCORING_LIMITS) -> None:
        """Start nothing yet."""
        self._process = BoundedProcess(_MODULE, limits)

    def of(self, expected: Mapping[str, Any] | None, stop: Stop = go_on, *, refused: str = "") -> AnswerScorer | None:
        """The scorer of one case's answers, or None.

        None where the case has no expectation that this version knows.

        ``refused``: why none of them can be scored; empty: they can.
        """
        if not isinstance(expected, Mapping) or len(expected) != 1 or next(iter(expected)) not in EXPECTATIONS:
            return None  # also in a results file that somebody has changed
        return AnswerScorer(self._process, expected, stop, refused)

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AnswerScorer:
    """Scores the answers of one case by one expectation."""

    def __init__(self, process: BoundedProcess, expected: Mapping[str, Any], stop: Stop, refused: str = "") -> None:
        """Score nothing yet.

        ``stop``: why no more answers shall be scored; empty: go on. ``refused``: as of :meth:`Scoring.of`.
        """
        ((kind, value),) = expected.items()
        self._process = process
        self._task = _as_json(expected)
        self._stop = stop
        self._refused = refused
        texts = value if isinstance(value, list) else [value]
        self._texts = len(texts)
        is_plain = kind in PLAIN and texts and all(isinstance(each, str) for each in texts)
        self._plain = score_by(expected) if is_plain else None
        self._ended = 0
        self.not_scored: Counter[str] = Counter()
        """Answers without a score, by reason."""

    def scores(self, answers: Sequence[str]) -> list[Score]:
        """A score from 0 to 1 for each answer, in order."""
        if self._refused:
            self.not_scored[self._refused] += len(answers)
            return [NoResult(self._refused)] * len(answers)
        if self._plain is not None and sum(map(len, answers)) * self._texts <= _PLAIN_CHARACTERS:
            return list(map(self._plain, answers))
        found: list[Score] = []
        for some in _portions(answers):
            found += self._process_scores(some)
        for each in found:
            if isinstance(each, NoResult):
                known = each.reason in self.not_scored or len(self.not_scored) < _REASONS
                self.not_scored[each.reason if known else _OTHER] += 1
        return found

    def _process_scores(self, answers: Sequence[str]) -> list[Score]:
        process, ended_before = self._process, self._process.ended - self._ended  # shared with other scorers

        def why_stopped() -> str:
            ended = process.ended - ended_before
            if ended >= _MOST_ENDS:
                return f"{ended} answers before it took more time or memory than there is for one"
            return self._stop()

        found = process.run(self._task, answers, why_stopped)
        self._ended = process.ended - ended_before
        return [NoResult(encodable(each.reason)) if isinstance(each, NoResult) else float(each) for each in found]


def _portions(answers: Sequence[str]) -> Iterable[Sequence[str]]:
    """The answers in portions, so that each message is small."""
    begin = size = 0
    for end, answer in enumerate(answers):
        if end > begin and (end - begin >= _MOST_AT_ONCE or size + len(answer) > _CHARACTERS_AT_ONCE):
            yield answers[begin:end]
            begin, size = end, 0
        size += len(answer)
    if begin < len(answers):
        yield answers[begin:]


def _as_json(expected: Mapping[str, Any]) -> str:
    """An expectation as JSON text, with YAML's dates as strings.

    An answer in JSON has dates as strings, too.
    """
    return json.dumps(expected, default=str)
