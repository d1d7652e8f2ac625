"""Quality by prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.quality.scoring import PartedScore
from pytest_flperf.results.records import PromptScore
from pytest_flperf.stats.descriptive.prompt_scores import PROMPTS_KEPT, PromptScores
from pytest_flperf.stats.descriptive.score_intervals import mean_lower_bound


def test_by_prompt() -> None:
    """The mean of all requests of a prompt, those that failed with 0; and whether all were answered alike."""
    scores = PromptScores(lambda index: "ab"[index % 2])
    for index, (score, answer) in enumerate([(1.0, "x"), (0.5, "y"), (1.0, "x"), (1.0, "z"), (1.0, "x")]):
        scores.add(index, score, answer)
    assert scores.result() == (
        PromptScore("a", 3, 1.0, alike=True, passed=3),
        PromptScore("b", 2, 0.75, alike=False, passed=1),
    )
    scores.add(6, 0.0, None)
    assert scores.result()[0] == PromptScore("a", 4, 0.75, alike=False, passed=3)


def test_where_prompts_are_not_known() -> None:
    """Or too many: nothing is told."""
    scores = PromptScores(None)
    scores.add(0, 1.0, "x")
    assert scores.result() == ()
    scores = PromptScores(str)
    for index in range(PROMPTS_KEPT + 1):
        scores.add(index, 1.0, "x")
    assert scores.result() == ()


@pytest.mark.parametrize("score", [{"n": 0}, {"score": -0.1}, {"score": 1.1}, {"score": float("nan")}])
def test_what_no_run_writes(score: dict[str, float]) -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="a prompt with"):
        PromptScore.from_dict({"prompt": "p", "n": 1, "score": 1.0, **score})


ROWS = (
    ScoredRow({"equals": "x"}, "one", "maths"),
    ScoredRow(None, "two", "maths"),
    ScoredRow(None, "", "art"),
    ScoredRow(),
)


def of_rows(rows: Sequence[ScoredRow] = ROWS, expected: dict[str, Any] | None = None) -> PromptScores:
    """For a prompt a row."""
    return PromptScores(lambda index: f"p{index % len(rows)}", lambda index: rows[index % len(rows)], expected)


def test_over_prompts() -> None:
    """Repeats are averaged first: a prompt that was asked more often weighs no more."""
    scores = of_rows()
    for index, score in ((0, 1.0), (4, 1.0), (8, 1.0), (12, 1.0), (1, 0.0), (2, 0.5), (3, 1.0)):
        scores.add(index, score, "x")
    scores.add(5, 0.0, None)
    quality = scores.quality()
    assert quality is not None
    assert (quality.mean, quality.answered) == (2.5 / 4, 2.5 / 4)
    assert (quality.requests, quality.failed, quality.prompts, quality.perfect, quality.repeats) == (8, 1, 4, 2, 1)
    assert quality.lower95 == mean_lower_bound([1, 0, 0.5, 1])
    assert [(each.category, each.prompts, each.mean) for each in quality.categories] == [
        ("maths", 2, 0.5),
        ("", 1, 1),
        ("art", 1, 0.5),
    ]


def test_failed_requests_in_both_views() -> None:
    """They score 0, and beside that stands the mean of what was answered."""
    scores = of_rows()
    for index, (score, answer) in enumerate([(1.0, "x"), (0.0, None), (1.0, "x"), (0.5, "y"), (0.0, None)]):
        scores.add(index, score, answer)
    quality = scores.quality()
    assert quality is not None
    assert quality.mean == (0.5 + 0 + 1 + 0.5) / 4
    assert quality.answered == 2.5 / 3
    only_failed = of_rows()
    only_failed.add(0, 0.0, None)
    assert only_failed.quality() is None


def test_the_worst_answers() -> None:
    """One of each prompt, the worst, bounded in number and length, with what was expected and the checks."""
    rows = tuple(ScoredRow(None, str(number)) for number in range(40))
    scores = of_rows(rows, {"checks": [{"contains": "a"}, {"json": True}]})
    for index in range(80):
        score = PartedScore.of((index % 40) / 40, (("contains", 0.0), ("json", (index % 40) / 20 % 1)))
        scores.add(index, score, "answer " * 1_000)
    quality = scores.quality()
    assert quality is not None
    assert [each.id for each in quality.answers] == [str(number) for number in range(20)]
    assert {len(each.answer) for each in quality.answers} == {501}
    assert quality.answers[3].checks == {"contains": 0.0, "json": 0.15}
    assert quality.answers[0].expected == '{"checks": [{"contains": "a"}, {"json": true}]}'
    assert [(each.check, each.answers) for each in quality.checks] == [("contains", 80), ("json", 80)]


def test_bounds() -> None:
    """Many categories and many prompts."""
    rows = tuple(ScoredRow(None, "", f"c{number:03}") for number in range(60))
    scores = of_rows(rows)
    for index in range(60):
        scores.add(index, 1.0, "x")
    quality = scores.quality()
    assert quality is not None
    assert (len(quality.categories), quality.categories_left_out) == (50, 10)
    chats = PromptScores(None)
    chats.add(0, 0.5, "x")
    found = chats.quality()
    assert found is not None
    assert (found.mean, found.prompts, found.ci95, found.lower95) == (0.5, 0, None, None)
