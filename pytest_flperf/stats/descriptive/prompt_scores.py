"""Quality by prompt, collected request by request."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Any, Final

from pytest_flperf.quality.rows import ExpectedOf, ScoredRow
from pytest_flperf.quality.scoring import PartedScore
from pytest_flperf.quality.tools.answered import shown_answer
from pytest_flperf.quality.tools.expected import without_tools
from pytest_flperf.results.answer_quality import AnswerQuality, CategoryQuality, CheckQuality, ScoredAnswer
from pytest_flperf.results.measured import PromptCalls, PromptScore, ToolCallCounts
from pytest_flperf.stats.descriptive.call_rates import CallTally
from pytest_flperf.stats.descriptive.pass_rates import pass_rates
from pytest_flperf.stats.descriptive.score_intervals import mean_interval, mean_lower_bound

__all__ = ["PROMPTS_COUNTED", "PROMPTS_KEPT", "PromptScores"]

PROMPTS_KEPT: Final = 2_000
"""Of a case with more of them nothing is told by prompt."""
PROMPTS_COUNTED: Final = 100_000
"""Of a case with more of them the mean is over requests, without an interval."""
_DIGEST_BYTES: Final = 12
_MOST_CATEGORIES: Final = 50
_MOST_CHECKS: Final = 50
_MOST_ANSWERS: Final = 20
_SHOWN: Final = 500
"""Characters of an answer, and of what was expected."""
_NO_ROW: Final = ScoredRow()


@dataclass(slots=True)
class _Prompt:
    row: ScoredRow
    n: int = 0
    total: float = 0.0
    passed: int = 0
    failed: int = 0
    answer: bytes | None = None
    alike: bool = True
    calls: CallTally = field(default_factory=CallTally)

    @property
    def score(self) -> float:
        return min(max(self.total / self.n, 0.0), 1.0)


class PromptScores:
    """Scores of the measured requests of a case."""

    def __init__(
        self,
        prompt_of: Callable[[int], str] | None,
        rows: ExpectedOf | None = None,
        expected: Mapping[str, Any] | None = None,
    ) -> None:
        """Collect nothing yet.

        Args:
            prompt_of: Names the prompt of a request by its index; None: the prompts can't be told apart.
            rows: Tells the row of a request; None: there are none.
            expected: What is expected where rows say nothing of it.

        """
        self._prompt_of = prompt_of
        self._rows = rows
        self._expected = expected
        self._prompts: dict[str, _Prompt] = {}
        self._n = self._failed = self._right = 0
        self._total = 0.0
        self._checks: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0])
        self._worst: dict[str, ScoredAnswer] = {}

    def add(self, index: int, score: float, answer: str | None) -> None:
        """Take in a request; ``answer`` None: it failed."""
        self._n += 1
        self._total += score
        self._failed += answer is None
        self._right += score >= 1
        parts = (dict(score.parts) or None) if isinstance(score, PartedScore) else None
        reason = score.reason if isinstance(score, PartedScore) else ""
        for name, part in (parts or {}).items():
            if name in self._checks or len(self._checks) < _MOST_CHECKS:
                self._checks[name][0] += 1
                self._checks[name][1] += part
        row = self._rows(index) if self._rows is not None else _NO_ROW
        name = "" if self._prompt_of is None else self._prompt_of(index)
        if answer is not None and score < 1:
            self._keep(name or str(index), score, answer, row, parts, reason)
        if self._prompt_of is None or len(self._prompts) > PROMPTS_COUNTED:
            return
        found = self._prompts.setdefault(name, _Prompt(row))
        found.n += 1
        found.total += score
        found.passed += score >= 1
        found.failed += answer is None
        if answer is not None:
            found.calls.add(score)
        data = b"" if answer is None else answer.encode("utf-8", "surrogatepass")
        digest = bytes([answer is None]) + hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
        found.alike = found.alike and found.answer in (None, digest)
        found.answer = digest

    def _keep(
        self, name: str, score: float, answer: str, row: ScoredRow, parts: Mapping[str, float] | None, reason: str
    ) -> None:
        """Keep an answer among the worst, one of each prompt."""
        known = self._worst.get(name)
        if known is not None:
            if score >= known.score:
                return
        elif len(self._worst) >= _MOST_ANSWERS:
            best = max(self._worst, key=lambda each: self._worst[each].score)
            if score >= self._worst[best].score:
                return
            del self._worst[best]
        expected = row.expect if row.expect is not None else self._expected
        self._worst[name] = ScoredAnswer(
            float(score),
            _cut(shown_answer(answer)),
            _cut(_shown(expected)),
            row.id or name,
            row.category,
            parts,
            reason,
        )

    def result(self) -> tuple[PromptScore, ...]:
        """Scores by prompt, in the order of their first requests."""
        if len(self._prompts) > PROMPTS_KEPT:
            return ()
        return tuple(
            PromptScore(
                prompt,
                found.n,
                found.score,
                found.alike,
                found.passed,
                found.row.id,
                found.row.category,
                _calls_of(found.calls.result()),
            )
            for prompt, found in self._prompts.items()
        )

    def quality(self) -> AnswerQuality | None:
        """Quality over prompts; None where no answer has a score."""
        answered = self._n - self._failed
        if not answered:
            return None
        plain = AnswerQuality(
            requests=self._n,
            failed=self._failed,
            mean=_mean(self._total, self._n),
            answered=_mean(self._total, answered),
            checks=tuple(CheckQuality(name, int(n), _mean(total, n)) for name, (n, total) in self._checks.items()),
            answers=tuple(sorted(self._worst.values(), key=lambda each: each.score)),
            right=self._right,
        )
        if not self._prompts or len(self._prompts) > PROMPTS_COUNTED:
            return plain
        return self._over_prompts(plain)

    def _over_prompts(self, plain: AnswerQuality) -> AnswerQuality:
        prompts = self._prompts.values()
        scores = [each.score for each in prompts]
        answered = [_mean(each.total, each.n - each.failed) for each in prompts if each.n > each.failed]
        pass_at, pass_all = pass_rates((each.n, each.passed) for each in prompts)
        categories, left_out = self._categories()
        return AnswerQuality(
            requests=plain.requests,
            failed=plain.failed,
            mean=_mean(fsum(scores), len(scores)),
            answered=_mean(fsum(answered), len(answered)),
            prompts=len(scores),
            perfect=sum(each.passed == each.n for each in prompts),
            ci95=mean_interval(scores),
            lower95=mean_lower_bound(scores),
            repeats=min(each.n for each in prompts),
            pass_at=pass_at,
            pass_all=pass_all,
            categories=categories,
            categories_left_out=left_out,
            checks=plain.checks,
            answers=plain.answers,
            right=plain.right,
        )

    def _categories(self) -> tuple[tuple[CategoryQuality, ...], int]:
        by_name: defaultdict[str, list[float]] = defaultdict(list)
        for each in self._prompts.values():
            by_name[each.row.category].append(each.score)
        if set(by_name) == {""}:
            return (), 0
        order = sorted(by_name, key=lambda name: (-len(by_name[name]), name))
        found = (_category(name, by_name[name]) for name in order[:_MOST_CATEGORIES])
        return tuple(found), max(len(order) - _MOST_CATEGORIES, 0)


def _calls_of(counts: ToolCallCounts | None) -> PromptCalls | None:
    if counts is None:
        return None
    shares = counts.abstained / counts.answers, counts.malformed / counts.answers
    return PromptCalls(counts.answers, counts.tool_right, counts.argument_right, *shares)


def _category(name: str, scores: Iterable[float]) -> CategoryQuality:
    values = list(scores)
    mean = _mean(fsum(values), len(values))
    return CategoryQuality(name, len(values), mean, mean_interval(values), mean_lower_bound(values))


def _mean(total: float, n: float) -> float:
    return min(max(total / n, 0.0), 1.0)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _shown(expected: object) -> str:
    """An expectation for a person; in stored results a long one is a text that was cut."""
    if expected is None:
        return ""
    written = without_tools(expected) if isinstance(expected, Mapping) else expected
    return json.dumps(written, ensure_ascii=False, default=str)
