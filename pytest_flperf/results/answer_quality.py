"""Quality of a case's answers: over prompts, by category, by check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_flperf.results.serialize import Interval, Reader, Record, interval_of, many

__all__ = ["AnswerQuality", "CategoryQuality", "CheckQuality", "ScoredAnswer"]


@dataclass(frozen=True, slots=True)
class CategoryQuality(Record):
    """Quality of the prompts of one category."""

    category: str
    """Empty: prompts without one."""
    prompts: int
    mean: float
    """Mean score over its prompts; failed requests score 0."""
    ci95: Interval | None = None
    lower95: float | None = None
    """One-sided lower 95 % confidence bound of the mean; None: an older version."""

    _readers: ClassVar[Mapping[str, Reader]] = {"ci95": interval_of}


@dataclass(frozen=True, slots=True)
class CheckQuality(Record):
    """Mean score of one check, where an expectation has several."""

    check: str
    """Its key in the suite; of several alike with their number: ``contains 2``."""
    answers: int
    mean: float


@dataclass(frozen=True, slots=True)
class ScoredAnswer(Record):
    """An answer that did not score 1, beside what was expected."""

    score: float
    answer: str
    """Its beginning."""
    expected: str
    """As JSON; its beginning."""
    id: str = ""
    """Of its row; else of its prompt."""
    category: str = ""
    checks: Mapping[str, float] | None = None
    """Score of each check, where there are several."""
    reason: str = ""
    """Of the score, from a scorer of one's own."""

    _readers: ClassVar[Mapping[str, Reader]] = {"checks": lambda value: None if value is None else dict(value)}


@dataclass(frozen=True, slots=True)
class AnswerQuality(Record):
    """Quality of a case: the unit of evidence is the prompt, repeats are averaged first.

    Failed requests score 0.  Answers that could not be scored are in no number.
    """

    requests: int
    """Scored requests, failed ones included."""
    failed: int
    mean: float
    """Mean score over prompts; over requests where prompts can't be told apart."""
    answered: float
    """The same of the requests that were answered alone."""
    prompts: int = 0
    """0: they can't be told apart (chats), or there are too many."""
    perfect: int = 0
    """Prompts of which each request scored 1."""
    ci95: Interval | None = None
    """95 % confidence interval of the mean, two-sided; None without prompts."""
    lower95: float | None = None
    """One-sided lower 95 % confidence bound of the mean."""
    repeats: int = 0
    """Fewest requests of a prompt."""
    pass_at: tuple[float, ...] = ()
    """pass@1, pass@2 …: chance that at least one of k answers scores 1; empty where a prompt was asked once."""
    pass_all: tuple[float, ...] = ()
    """pass^1, pass^2 …: chance that all of k answers score 1."""
    categories: tuple[CategoryQuality, ...] = ()
    """Largest first; empty where no prompt has a category."""
    categories_left_out: int = 0
    checks: tuple[CheckQuality, ...] = ()
    """Where points were lost; empty where expectations have one check."""
    answers: tuple[ScoredAnswer, ...] = ()
    """The worst, one of a prompt; some of them."""
    right: int | None = None
    """Requests that scored 1; None: an older version."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "ci95": interval_of,
        "pass_at": tuple,
        "pass_all": tuple,
        "categories": many(CategoryQuality.from_dict),
        "checks": many(CheckQuality.from_dict),
        "answers": many(ScoredAnswer.from_dict),
    }

    def __post_init__(self) -> None:
        if not (self.requests >= 1 and 0 <= self.failed <= self.requests and 0 <= self.mean <= 1):
            raise ValueError(f"a quality of {self.mean} of {self.requests} requests, of which {self.failed} failed")

    def category(self, name: str) -> CategoryQuality | None:
        """Quality of a category; None where it isn't known."""
        return next((each for each in self.categories if each.category == name), None)

    def statistic(self, name: str) -> float | None:
        """``mean``, ``lower95``, ``pass@3``, ``pass^3`` …; None where it isn't known.

        Raises KeyError for any other name.
        """
        if name == "mean":
            return self.mean
        if name == "lower95":
            return self.lower95
        values: dict[str, Any] = {"pass@": self.pass_at, "pass^": self.pass_all}
        found, count = values[name[:5]], int(name[5:])
        return found[count - 1] if 0 < count <= len(found) else None
