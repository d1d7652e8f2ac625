"""Scoring of answers, with limits on time and memory."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

from pytest_flperf._text import encodable
from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess, NoResult, Result, Stop
from pytest_flperf.quality.expectations import checks_of, is_known, is_plain, parts_by, texts_in
from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.tools.expected import CallScore
from pytest_flperf.quality.worker import CHECK, ROWS

__all__ = [
    "SCORING_LIMITS",
    "AnswerScorer",
    "NoResult",
    "PartedScore",
    "Score",
    "Scoring",
    "Stop",
    "go_on",
    "problems_of",
]

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

_KEPT: Final = 1_024
"""Expectations of rows that are kept as scorers."""

Score: TypeAlias = float | NoResult


class PartedScore(float):
    """A score with those of its checks."""

    __slots__ = ("calls", "parts")
    parts: tuple[tuple[str, float], ...]
    """Name and score of each check, in order."""
    calls: CallScore | None
    """What the answer's tool calls were; None where none are expected or unwanted."""

    @classmethod
    def of(cls, score: float, parts: tuple[tuple[str, float], ...], calls: CallScore | None = None) -> Self:
        """A score and its parts."""
        made = cls(score)
        made.parts = parts
        made.calls = calls
        return made


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

    def of(
        self,
        expected: Mapping[str, Any] | None,
        stop: Stop = go_on,
        *,
        refused: str = "",
        rows: ExpectedOf | None = None,
    ) -> AnswerScorer | None:
        """The scorer of one case's answers, or None.

        None where the case has no expectation that this version knows.

        Args:
            expected: What all answers shall be.
            stop: Returns why no more answers shall be scored; empty: go on.
            refused: Why none of them can be scored; empty: they can.
            rows: Gives the expectation of a request's row; None: there are no such rows.

        """
        if rows is None and not is_known(expected):
            return None  # also in a results file that somebody has changed
        return AnswerScorer(self._process, expected, stop, refused, rows)

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
    """Scores the answers of one case, by one expectation or each row's own."""

    def __init__(
        self,
        process: BoundedProcess,
        expected: Mapping[str, Any] | None,
        stop: Stop,
        refused: str = "",
        rows: ExpectedOf | None = None,
    ) -> None:
        """Score nothing yet; arguments as of :meth:`Scoring.of`."""
        self._process = process
        self._stop = stop
        self._refused = refused
        self._rows = rows
        self._for_all = _Scorer(expected) if is_known(expected) and expected is not None else None
        self._known: dict[str, _Scorer] = {}
        self._ended = 0
        self.not_scored: Counter[str] = Counter()
        """Answers without a score, by reason."""

    def scores(self, answers: Sequence[str], indices: Sequence[int] = ()) -> list[Score]:
        """A score from 0 to 1 for each answer, in order.

        Args:
            answers: Their texts.
            indices: Of their requests, where rows have expectations of their own.

        """
        if self._refused:
            self.not_scored[self._refused] += len(answers)
            return [NoResult(self._refused)] * len(answers)
        if self._rows is not None or self._for_all is None:
            return self._counted(self._by_rows(answers, indices))
        scorer = self._for_all
        if scorer.plain is not None and sum(map(len, answers)) * scorer.texts <= _PLAIN_CHARACTERS:
            plain = map(scorer.plain, answers)
            return list(plain if scorer.is_single else map(scorer.named, plain))  # type: ignore[arg-type]
        return self._counted(self._by_one(scorer, answers))

    def _counted(self, found: list[Score]) -> list[Score]:
        for each in found:
            if isinstance(each, NoResult):
                known = each.reason in self.not_scored or len(self.not_scored) < _REASONS
                self.not_scored[each.reason if known else _OTHER] += 1
        return found

    def _by_one(self, scorer: _Scorer, texts: Sequence[str]) -> list[Score]:
        """Scores of answers that all shall be the same, by the process."""
        found: list[Score] = []
        for some in _portions(texts, len):
            results = self._run(scorer.task, some)
            found += [each if isinstance(each, NoResult) else scorer.named(each) for each in results]
        return found

    def _by_rows(self, answers: Sequence[str], indices: Sequence[int]) -> list[Score]:
        """Scores of answers that shall be what their rows say."""
        found: list[Score] = [NoResult("")] * len(answers)
        left: list[tuple[int, _Scorer, str]] = []
        for place, (index, text) in enumerate(zip(indices, answers, strict=True)):
            scorer = self._of_row(index)
            if isinstance(scorer, NoResult):
                found[place] = scorer
            elif scorer.plain is not None and len(text) * scorer.texts <= _PLAIN_CHARACTERS // _MOST_AT_ONCE:
                found[place] = scorer.named(scorer.plain(text))
            else:
                left.append((place, scorer, text))
        for some in _portions(left, lambda each: len(each[2]) + len(each[1].task)):
            results = self._run(ROWS, [(scorer.task, text) for _, scorer, text in some])
            for (place, scorer, _), each in zip(some, results, strict=True):
                found[place] = each if isinstance(each, NoResult) else scorer.named(each)
        return found

    def _of_row(self, index: int) -> _Scorer | NoResult:
        row = self._rows(index) if self._rows is not None else None
        if row is not None and row.refused:
            return NoResult(row.refused)
        if row is None or row.expect is None:
            return self._for_all or NoResult("nothing is known of what was expected")
        task = _as_json(row.expect)
        if task not in self._known:
            if not is_known(row.expect):
                return NoResult("this version does not know this expectation")
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[task] = _Scorer(row.expect)
        return self._known[task]

    def _run(self, task: str, items: Sequence[Any]) -> list[Any]:
        """Results of the process, which may be shared with other scorers."""
        process, ended_before = self._process, self._process.ended - self._ended

        def why_stopped() -> str:
            ended = process.ended - ended_before
            if ended >= _MOST_ENDS:
                return f"{ended} earlier answers took more time or memory than one may take"
            return self._stop()

        found = process.run(task, items, why_stopped)
        self._ended = process.ended - ended_before
        return [NoResult(encodable(each.reason)) if isinstance(each, NoResult) else each for each in found]


class _Scorer:
    """One expectation, ready for use in this process or the other."""

    def __init__(self, expected: Mapping[str, Any]) -> None:
        checks = checks_of(expected)
        self.task = _as_json(expected)
        self.texts = sum(map(texts_in, checks))
        self.plain = _tried(expected) if all(map(is_plain, checks)) else None
        self._names = tuple(each.name for each in checks)
        self.is_single = len(checks) == 1

    def named(self, found: Any) -> float:
        """The score, with its parts where there are several."""
        if isinstance(found, list):
            count = len(self._names) + 1
            parts = () if self.is_single else tuple(zip(self._names, found[1:count], strict=True))
            calls = CallScore.of_numbers(found[0], found[count:]) if found[count:] else None
            return PartedScore.of(found[0], parts, calls)
        return float(found)


def _tried(expected: Mapping[str, Any]) -> Callable[[str], float | list[float]] | None:
    """Scorer for this process; None for values that somebody has changed in a file."""
    try:
        scorer = parts_by(expected)
        scorer("")
    except Exception:  # noqa: BLE001 - the other process tells what is wrong
        return None
    return scorer


_Item = TypeVar("_Item")


def _portions(items: Sequence[_Item], size_of: Callable[[_Item], int]) -> Iterator[Sequence[_Item]]:
    """The items in portions, so that each message is small."""
    begin = size = 0
    for end, item in enumerate(items):
        if end > begin and (end - begin >= _MOST_AT_ONCE or size + size_of(item) > _CHARACTERS_AT_ONCE):
            yield items[begin:end]
            begin, size = end, 0
        size += size_of(item)
    if begin < len(items):
        yield items[begin:]


def _as_json(expected: Mapping[str, Any]) -> str:
    """An expectation as JSON text, with YAML's dates as strings.

    An answer in JSON has dates as strings, too.
    """
    return json.dumps(expected, default=str)
