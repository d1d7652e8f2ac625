"""Rankings of models by goal, and who wins beyond doubt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from pytest_flperf.answers.goals import Compared, goals_of
from pytest_flperf.answers.scores import (
    Scores,
    is_right_or_wrong,
    lead_in_scores,
    mean_score,
    why_not_compared,
)
from pytest_flperf.results.answer import Ranking, Standing
from pytest_flperf.results.records import CaseResult
from pytest_flperf.stats.inference.lead import FEWEST_SCENARIOS, Lead

__all__ = ["rankings_of"]

_HOPELESS: Final = 999.0
"""Lead that nobody sees."""


def rankings_of(cases: Sequence[CaseResult]) -> tuple[Ranking, ...]:
    """Rank the models of a run by each goal.

    Only scenarios in which all ranked models answered every request count; of quality a failed request scores 0.  The
    chance to name any false winner is at most 1 %, over all goals and models: each model is tested against each other
    at 1 % / (goals × models), so that naming one that is not best takes an error in one of its tests against the best
    (Bonferroni).  Of quality it is also claimed who is behind the best without there being a winner: each claim of one
    model over another then has its share, 1 % / (goals × models × (models - 1)).

    Empty with fewer than two models.
    """
    goals = goals_of(cases)
    rankings = [_ranking(each, goals.chance / len(each.models)) for each in goals.compared]
    if goals.scores is not None:
        return (*rankings, _quality_ranking(goals.scores, goals.level_of_pairs))
    why = why_not_compared(cases)
    return (*rankings, Ranking("quality", "quality", "mean", reason=why)) if why else tuple(rankings)


def _ranking(compared: Compared, level: float) -> Ranking:
    criterion = compared.criterion
    means = {model: compared.mean(model) for model in compared.models}
    order = sorted(means, key=means.__getitem__, reverse=criterion.higher_is_better)
    best = order[0]
    leads = {model: compared.lead(best, model, level) for model in order[1:]}
    standings = tuple(
        Standing(
            model,
            means[model],
            behind=max(means[best], means[model]) / min(means[best], means[model]),
            behind_ci=_interval(leads.get(model)),
            best_in=_best_in(compared, model),
        )
        for model in order
    )
    ranking = Ranking(
        criterion.goal,
        criterion.metric,
        criterion.statistic,
        compared=compared.scenarios,
        standings=standings,
    )
    if all(lead is not None and lead.low > 1 for lead in leads.values()):
        return replace(ranking, winner=best, lead=standings[1].behind)
    return replace(ranking, reason=_why_none(compared, leads.values()))


def _quality_ranking(scores: Scores, level: float) -> Ranking:
    means = {model: mean_score(each) for model, each in scores.items()}
    order = sorted(means, key=means.__getitem__, reverse=True)
    best = order[0]
    top = [max(row) for row in zip(*(each.values() for each in scores.values()), strict=True)]
    leads = {model: lead_in_scores(scores, best, model, level) for model in order[1:]}
    standings = tuple(
        Standing(
            model,
            means[model],
            behind=means[best] - means[model],
            behind_ci=None if (lead := leads.get(model)) is None else (lead.low, lead.high),
            best_in=sum(score == most for score, most in zip(scores[model].values(), top, strict=True)),
        )
        for model in order
    )
    ranking = Ranking(
        "quality",
        "quality",
        "mean",
        compared=len(top),
        standings=standings,
        right_or_wrong=is_right_or_wrong(scores),
    )
    if all(lead is not None and lead.decided for lead in leads.values()):
        return replace(ranking, winner=best, lead=standings[1].behind)
    return replace(ranking, reason=f"{len(top)} prompts in common can't tell them apart")


def _interval(lead: Lead | None) -> tuple[float, float] | None:
    return None if lead is None else (lead.low, lead.high)


def _best_in(compared: Compared, model: str) -> int:
    better = max if compared.criterion.higher_is_better else min
    rows = zip(*compared.models.values(), strict=True)
    return sum(
        mine.value == better(each.value for each in row) for mine, row in zip(compared.models[model], rows, strict=True)
    )


def _why_none(compared: Compared, leads: Iterable[Lead | None]) -> str:
    """Why no model wins, and what would tell more."""
    if compared.by_turns:
        return "the intervals overlap; measure more scenarios or more requests"
    scenarios = f"{compared.scenarios} scenario{'' if compared.scenarios == 1 else 's'}"
    missed = [each.value / each.low for each in leads if each is not None and each.low <= 1]
    if not missed or max(missed) > _HOPELESS:  # none: of one scenario whose own error is unknown
        return f"{scenarios} can't tell; measure {FEWEST_SCENARIOS} or more"
    least = f"{max(missed):.{2 if max(missed) < 100 else 3}g}"
    if compared.took_turns:
        return f"from {scenarios} only a lead above {least} times can be told; measure {FEWEST_SCENARIOS} or more"
    return (
        f"models that were measured one after the other must lead by more than {least} times, as the machine may "
        f"have changed; measure {FEWEST_SCENARIOS} scenarios or more with --flperf-order=scenario"
    )
