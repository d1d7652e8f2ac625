"""Pareto front of the models of a run: quality and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_flperf.answers.goals import Compared, goals_of
from pytest_flperf.answers.scores import Scores, lead_in_scores, mean_score
from pytest_flperf.results.answer import FrontPoint
from pytest_flperf.results.records import CaseResult

__all__ = ["front_of"]


def front_of(cases: Sequence[CaseResult]) -> tuple[FrontPoint, ...]:
    """Quality and latency of each model, most often right first.

    A model leaves the front only where another one is better at both beyond doubt: each of the two is then shown at the
    full level (an intersection-union test: Berger 1982, Technometrics 24).  Of k models there are k × (k - 1) such
    claims, which share the part of the goal quality with those on quality alone.

    Empty where fewer than two models have both numbers.
    """
    goals = goals_of(cases)
    models, speed, scores = goals.both, goals.speed, goals.scores
    if not models or speed is None or scores is None:
        return ()
    level = goals.level_of_pairs
    points = sorted((_point(model, speed, scores) for model in models), key=lambda each: (-each.quality, each.e2e_ms))
    return tuple(
        replace(
            each,
            dominated_by=tuple(
                other.model for other in points if other is not each and _dominates(other, each, speed, scores, level)
            ),
        )
        for each in points
    )


def _point(model: str, speed: Compared, scores: Scores) -> FrontPoint:
    from pytest_flperf.stats.descriptive.score_intervals import mean_interval

    return FrontPoint(
        model,
        mean_score(scores[model]),
        speed.mean(model),
        quality_ci=mean_interval(list(scores[model].values())),
        e2e_ms_ci=speed.interval(model),
    )


def _dominates(ours: FrontPoint, theirs: FrontPoint, speed: Compared, scores: Scores, level: float) -> bool:
    """Whether one model is better at both beyond doubt; the cheap test goes first."""
    if ours.e2e_ms >= theirs.e2e_ms or ours.quality <= theirs.quality:
        return False
    lead = speed.lead(ours.model, theirs.model, level)
    if lead is None or lead.low <= 1:
        return False
    ahead = lead_in_scores(scores, ours.model, theirs.model, level)
    return ahead is not None and ahead.decided
