"""Quality as a goal: scores of the prompts that all models were asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, TypeAlias

from pytest_flperf.answers.scenarios import ScenarioCases
from pytest_flperf.results.records import CaseResult

if TYPE_CHECKING:
    from pytest_flperf.stats.inference.score_lead import ScoreLead

__all__ = ["Scores", "is_right_or_wrong", "lead_in_scores", "mean_score", "scores_of", "why_not_compared"]

Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""By model, the score of each prompt that all models were asked; in the same order."""


def scores_of(scenarios: Sequence[ScenarioCases]) -> Scores | None:
    """Scores of the prompts that all scored models were asked; None where fewer than two have one in common.

    The prompt is the unit of evidence: its scores in several scenarios, or at several loads, are averaged.
    """
    found: dict[str, dict[tuple[int, str], float]] = {}
    for number, each in enumerate(scenarios):
        for model, case in each.by_model.items():
            if not case.not_scored and not case.partial:
                found.setdefault(model, {}).update({(number, one.prompt): one.score for one in case.prompt_scores})
    scored = {model: scores for model, scores in found.items() if scores}
    common = set.intersection(*map(set, scored.values())) if scored else set()
    if len(scored) < 2 or not common:
        return None
    return {model: _by_prompt(scores, sorted(common)) for model, scores in scored.items()}


def _by_prompt(scores: Mapping[tuple[int, str], float], common: Sequence[tuple[int, str]]) -> dict[str, float]:
    by_prompt: defaultdict[str, list[float]] = defaultdict(list)
    for number, prompt in common:
        by_prompt[prompt].append(scores[number, prompt])
    return {prompt: fsum(each) / len(each) for prompt, each in by_prompt.items()}


def why_not_compared(cases: Sequence[CaseResult]) -> str:
    """Why the quality of models can't be compared, where :func:`scores_of` found nothing.

    Empty where fewer than two models have any: then there is nothing to compare.
    """
    scored = [case for case in cases if case.answer_quality is not None or case.prompt_scores or case.not_scored]
    if len({case.model for case in scored}) < 2:
        return ""
    if any(case.not_scored for case in scored):
        return "some answers could not be scored"
    if any(case.partial for case in scored):
        return "some cases ended early"
    if not all(case.prompt_scores for case in scored):
        return "prompts of chats, and of cases with more than 2,000 of them, are not told apart"
    return "the models were not asked the same prompts"


def mean_score(scores: Mapping[str, float]) -> float:
    """Mean over prompts."""
    return min(max(fsum(scores.values()) / len(scores), 0.0), 1.0)


def is_right_or_wrong(scores: Scores) -> bool:
    """Whether each score is 0 or 1."""
    return all(score in (0.0, 1.0) for each in scores.values() for score in each.values())


def lead_in_scores(scores: Scores, ours: str, theirs: str, level: float) -> ScoreLead | None:
    """Lead of one model over another: how much higher its mean is, its interval, and whether it is beyond doubt.

    None where there are too few prompts.
    """
    from pytest_flperf.stats.inference.score_lead import score_lead  # late: few runs score answers

    mine, others = scores[ours], scores[theirs]
    return score_lead([(score, others[prompt]) for prompt, score in mine.items()], level)
