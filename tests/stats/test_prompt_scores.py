"""Quality by prompt."""

from __future__ import annotations

import pytest

from pytest_flperf.results.records import PromptScore
from pytest_flperf.stats.descriptive.prompt_scores import PROMPTS_KEPT, PromptScores


def test_by_prompt() -> None:
    """The mean of all requests of a prompt, those that failed with 0; and whether all were answered alike."""
    scores = PromptScores(lambda index: "ab"[index % 2])
    for index, (score, answer) in enumerate([(1.0, "x"), (0.5, "y"), (1.0, "x"), (1.0, "z"), (1.0, "x")]):
        scores.add(index, score, answer)
    assert scores.result() == (PromptScore("a", 3, 1.0, alike=True), PromptScore("b", 2, 0.75, alike=False))
    scores.add(6, 0.0, None)
    assert scores.result()[0] == PromptScore("a", 4, 0.75, alike=False)


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
