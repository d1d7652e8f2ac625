"""Scorer of one case's answers: hook, own scorers, checks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pytest_flperf._text import encodable
from pytest_flperf.bounded.process import BoundedProcess, NoResult, Stop
from pytest_flperf.quality.expectations import SCORER, checks_of, is_known, is_plain, parts_by, scorers_in, texts_in
from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.scorers.answers import AnswerScore
from pytest_flperf.quality.scorers.context import OwnScoring, ScoreKey
from pytest_flperf.quality.scorers.hook_calls import HookCalls
from pytest_flperf.quality.scorers.process import OwnProcess, told_parts
from pytest_flperf.quality.scores import PartedScore, Score
from pytest_flperf.quality.tools.expected import CallScore
from pytest_flperf.quality.worker import ROWS

__all__ = ["AnswerScorer", "as_json"]

_MOST_ENDS: Final = 10
"""Answers of a case that may reach the limits; the rest is then not scored."""
_ENDS_OF_OWN: Final = 3
"""The same with own scorers, which may wait for long before they are ended."""
_PLAIN_CHARACTERS: Final = 1 << 20
"""Text that is compared within a millisecond; longer text goes to the process, too."""
_MOST_AT_ONCE: Final = 512
_CHARACTERS_AT_ONCE: Final = 1 << 20
_REASONS: Final = 5
_OTHER: Final = "other reasons"
_KEPT: Final = 1_024
"""Expectations of rows that are kept as scorers."""
_DIGEST_BYTES: Final = 12
_NOT_AGAIN: Final = "a scorer of one's own runs only while its suite is measured"
_UNCLAIMED: Final = "pytest_flperf_score took other answers of the case, but not this one"


class AnswerScorer:
    """Scores the answers of one case: by the hook, else by one expectation or each row's own."""

    def __init__(
        self,
        process: BoundedProcess,
        expected: Mapping[str, Any] | None,
        stop: Stop,
        refused: str = "",
        rows: ExpectedOf | None = None,
        own: OwnScoring | None = None,
        own_process: OwnProcess | None = None,
    ) -> None:
        """Score nothing yet; arguments as of :meth:`Scoring.of`."""
        self._process = process
        self._stop = stop
        self._refused = refused
        self._rows = rows
        self._own = own
        self._own_process = own_process
        self._hook = HookCalls(own.hook) if own is not None and own.hook is not None else None
        self._for_all = _Scorer(expected) if is_known(expected) and expected is not None else None
        self._expects = rows is not None or self._for_all is not None
        self._known: dict[str, _Scorer] = {}
        self._ended: dict[BoundedProcess, int] = {}
        self._not_scored: Counter[str] = Counter()
        self._taken = self._unclaimed = 0

    @property
    def not_scored(self) -> Counter[str]:
        """Answers without a score, by reason."""
        mixed = {_UNCLAIMED: self._unclaimed} if self._taken and self._unclaimed else {}
        return self._not_scored + Counter(mixed)

    @property
    def scores_case(self) -> bool:
        """Whether the case is scored: something is expected of its answers, or the hook took some."""
        return self._expects or bool(self._refused) or self._taken > 0

    def scores(self, answers: Sequence[str], indices: Sequence[int] = ()) -> list[Score]:
        """A score from 0 to 1 for each answer, in order.

        Args:
            answers: Their texts.
            indices: Of their requests, where rows, prompts or a hook matter.

        """
        if self._refused:
            self._not_scored[self._refused] += len(answers)
            return [NoResult(self._refused)] * len(answers)
        if self._hook is not None:
            return self._counted(self._by_hook(answers, indices))
        scorer = self._for_all if self._rows is None else None
        short = scorer is not None and sum(map(len, answers)) * scorer.texts <= _PLAIN_CHARACTERS
        if scorer is not None and scorer.plain is not None and short:
            plain = map(scorer.plain, answers)
            return list(plain if scorer.is_single else map(scorer.named, plain))  # type: ignore[arg-type]
        return self._counted(self._by_expectation(answers, indices))

    def _counted(self, found: list[Score]) -> list[Score]:
        for each in found:
            if isinstance(each, NoResult):
                known = each.reason in self._not_scored or len(self._not_scored) < _REASONS
                self._not_scored[each.reason if known else _OTHER] += 1
        return found

    def _by_hook(self, answers: Sequence[str], indices: Sequence[int]) -> list[Score]:
        """Scores of the hook, and of the expectation for answers that it doesn't take."""
        own, hook = self._own, self._hook
        assert own is not None
        assert hook is not None
        known = own.known()
        keys = [("hook", index, _digest(text)) for index, text in zip(indices, answers, strict=True)]
        new = [place for place, key in enumerate(keys) if key not in known]
        given = [own.answer(indices[place], answers[place], self._expected_of(indices[place])) for place in new]
        for place, told in zip(new, hook.scores(given, self._stop), strict=True):
            known[keys[place]] = _masked(_of_hook(told), own.masked)
        found: list[Score] = [known[key] for key in keys]
        self._taken += sum(each is not None for each in found)
        left = [place for place, each in enumerate(found) if each is None]
        if not self._expects:
            self._unclaimed += len(left)
            return found
        others = self._by_expectation([answers[place] for place in left], [indices[place] for place in left])
        for place, each in zip(left, others, strict=True):
            found[place] = each
        return found

    def _expected_of(self, index: int) -> Mapping[str, Any] | None:
        row = self._rows(index) if self._rows is not None else None
        if row is not None and row.expect is not None:
            return row.expect
        return None if self._for_all is None else self._for_all.expected

    def _by_expectation(self, answers: Sequence[str], indices: Sequence[int]) -> list[Score]:
        if self._rows is None and self._for_all is not None and not self._for_all.own:
            return self._by_one(self._for_all, answers)
        return self._by_rows(answers, indices)

    def _by_one(self, scorer: _Scorer, texts: Sequence[str]) -> list[Score]:
        """Scores of answers that all shall be the same, by the process."""
        found: list[Score] = []
        for some in _portions(texts, len):
            results = self._run(self._process, scorer.task, some)
            found += [each if isinstance(each, NoResult) else scorer.named(each) for each in results]
        return found

    def _by_rows(self, answers: Sequence[str], indices: Sequence[int]) -> list[Score]:
        """Scores of answers that shall be what their rows say."""
        found: list[Score] = [NoResult("")] * len(answers)
        left: list[_Left] = []
        for place, (index, text) in enumerate(zip(indices, answers, strict=True)):
            scorer = self._of_row(index)
            if isinstance(scorer, NoResult):
                found[place] = scorer
            elif scorer.plain is not None and len(text) * scorer.texts <= _PLAIN_CHARACTERS // _MOST_AT_ONCE:
                found[place] = scorer.named(scorer.plain(text))
            else:
                left.append(_Left(place, index, scorer, text))
        for some in _portions([each for each in left if not each.scorer.own], _Left.size):
            results = self._run(self._process, ROWS, [(each.scorer.task, each.text) for each in some])
            for one, result in zip(some, results, strict=True):
                found[one.place] = result if isinstance(result, NoResult) else one.scorer.named(result)
        for one, score in self._by_own([each for each in left if each.scorer.own]):
            found[one.place] = score
        return found

    def _by_own(self, left: Sequence[_Left]) -> Iterator[tuple[_Left, Score]]:
        """Scores of a person's own scorers, each answer once."""
        own, process = self._own, self._own_process
        if own is None or process is None:
            yield from ((each, NoResult(_NOT_AGAIN)) for each in left)
            return
        known = own.known()
        new = [(each, own.record(each.index)) for each in left if each.key not in known]
        for some in _portions(new, lambda each: each[0].size() + len(each[1])):
            names = sorted({name for each, _ in some for name in each.scorer.own})
            items = [(each.scorer.task, each.text, record) for each, record in some]
            results = self._run(process.process, process.task(names), items, _ENDS_OF_OWN)
            for (one, _), result in zip(some, results, strict=True):
                score = result if isinstance(result, NoResult) else one.scorer.of_own(result)
                known[one.key] = _masked(score, own.masked)
        yield from ((each, known[each.key]) for each in left)

    def _of_row(self, index: int) -> _Scorer | NoResult:
        row = self._rows(index) if self._rows is not None else None
        if row is not None and row.refused:
            return NoResult(row.refused)
        if row is None or row.expect is None:
            return self._for_all or NoResult("nothing is known of what was expected")
        task = as_json(row.expect)
        if task not in self._known:
            if not is_known(row.expect):
                return NoResult("this version does not know this expectation")
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[task] = _Scorer(row.expect)
        return self._known[task]

    def _run(self, process: BoundedProcess, task: str, items: Sequence[Any], most_ends: int = _MOST_ENDS) -> list[Any]:
        """Results of a process, which may be shared with other scorers."""
        ended_before = process.ended - self._ended.get(process, 0)

        def why_stopped() -> str:
            ended = process.ended - ended_before
            if ended >= most_ends:
                return f"{ended} earlier answers took more time or memory than one may take"
            return self._stop()

        found = process.run(task, items, why_stopped)
        self._ended[process] = process.ended - ended_before
        return [NoResult(encodable(each.reason)) if isinstance(each, NoResult) else each for each in found]


class _Scorer:
    """One expectation, ready for use in this process or the other."""

    def __init__(self, expected: Mapping[str, Any]) -> None:
        checks = checks_of(expected)
        self.expected = expected
        self.own = scorers_in(expected)
        """Names of own scorers; empty: it is scored by checks of ours alone."""
        self.task = as_json(expected)
        self.texts = sum(map(texts_in, checks))
        self.plain = _tried(expected) if all(map(is_plain, checks)) else None
        self._names = tuple(each.name for each in checks)
        self._own_names = tuple(each.name for each in checks if each.kind == SCORER)
        self.is_single = len(checks) == 1

    def of_own(self, told: Any) -> float:
        """The score that the process of own scorers told, with parts and reason."""
        scores, own = told_parts(told)
        plain = self.named(scores if len(scores) > 1 else scores[0])
        known = plain if isinstance(plain, PartedScore) else PartedScore.of(plain, ())
        prefixes = [""] if self.is_single else [f"{name}: " for name in self._own_names]
        more = tuple(
            (prefix + name, part)
            for prefix, each in zip(prefixes, own, strict=True)
            for name, part in each.parts.items()
        )
        reasons = "; ".join(filter(None, (each.reason for each in own)))
        return PartedScore.of(float(plain), (*known.parts, *more), known.calls, reasons)

    def named(self, found: Any) -> float:
        """The score, with its parts where there are several."""
        if isinstance(found, list):
            count = len(self._names) + 1
            parts = () if self.is_single else tuple(zip(self._names, found[1:count], strict=True))
            calls = CallScore.of_numbers(found[0], found[count:]) if found[count:] else None
            return PartedScore.of(found[0], parts, calls)
        return float(found)


@dataclass(frozen=True, slots=True)
class _Left:
    """Answer that a process scores."""

    place: int
    index: int
    scorer: _Scorer
    text: str

    @property
    def key(self) -> ScoreKey:
        """What tells its score apart in a case."""
        return "function", self.index, _digest(self.text)

    def size(self) -> int:
        """Characters that are sent."""
        return len(self.text) + len(self.scorer.task)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def _masked(score: Score, masked: Callable[[str], str]) -> Score:
    """A score whose words have no secrets."""
    if isinstance(score, NoResult):
        return NoResult(masked(score.reason))
    if not isinstance(score, PartedScore):
        return score
    parts = tuple((masked(name), part) for name, part in score.parts)
    return PartedScore.of(float(score), parts, score.calls, masked(score.reason))


def _of_hook(told: AnswerScore | NoResult | None) -> Score:
    """What the hook said, as a score."""
    if isinstance(told, AnswerScore):
        return PartedScore.of(told.score, tuple(told.parts.items()), None, told.reason)
    return told


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


def as_json(expected: Mapping[str, Any]) -> str:
    """An expectation as JSON text, with YAML's dates as strings.

    An answer in JSON has dates as strings, too.
    """
    return json.dumps(expected, default=str)
