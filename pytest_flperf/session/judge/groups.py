"""Strengths and weaknesses: judged scores by category and scenario."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal, TypeAlias

from pytest_flperf.quality.judge_verdicts import HIGHEST, LOWEST
from pytest_flperf.results.judged import GroupGap, GroupKind, GroupScore, PairGap
from pytest_flperf.stats.inference.agreement import mean_interval, sign_test
from pytest_flperf.stats.inference.groups import against_rest, sign_flips
from pytest_flperf.stats.inference.holm import holm

__all__ = ["Group", "PromptMean", "Tally", "group_gaps", "group_scores", "pair_gaps"]

Group: TypeAlias = tuple[GroupKind, str]
_LEVEL: Final = 0.05
_MOST_GROUPS: Final = 200
_GAPS: Final = 5
_LEAST_DIFFERENCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class PromptMean:
    """Mean score of a model on one prompt."""

    model: str
    prompt: tuple[str, ...]
    """What tells the prompt apart, the same for all models."""
    scenario: str
    category: str
    score: float
    passed: float
    """Share of the answers that passed."""

    @property
    def groups(self) -> tuple[Group, Group]:
        """What it belongs to."""
        return ("category", self.category), ("scenario", self.scenario)


@dataclass(frozen=True, slots=True)
class Tally:
    """Wins, ties and losses of the first of two sides in one group."""

    group: Group
    sides: tuple[str, str]
    wins: int
    ties: int
    losses: int


def group_scores(means: Sequence[PromptMean]) -> tuple[GroupScore, ...]:
    """Scores of each model in each category and scenario, and which are strengths or weaknesses.

    The chance to call any group of a model one that is none is 5 % at most.
    """
    kinds = _kinds(means)
    found: list[GroupScore] = []
    for model in dict.fromkeys(each.model for each in means):
        mine = [each for each in means if each.model == model]
        places: dict[Group, list[int]] = {}
        for place, each in enumerate(mine):
            for group in each.groups:
                if group[0] in kinds:
                    places.setdefault(group, []).append(place)
        tested = against_rest([each.score for each in mine], {repr(group): at for group, at in places.items()})
        for group, at in places.items():
            scores = [mine[place].score for place in at]
            test = tested.get(repr(group))
            found.append(
                GroupScore(
                    model,
                    *group,
                    prompts=len(at),
                    mean_score=fmean(scores),
                    mean_score_ci95=mean_interval(scores, LOWEST, HIGHEST),
                    pass_rate=fmean(mine[place].passed for place in at),
                    difference=None if test is None else test.difference,
                    p_value=None if test is None else test.p_value,
                    word="" if test is None or test.p_value > _LEVEL else _word(test.difference),
                )
            )
    return tuple(found[:_MOST_GROUPS])


def _word(difference: float) -> Literal["strength", "weakness"]:
    return "strength" if difference > 0 else "weakness"


def _kinds(means: Sequence[PromptMean]) -> frozenset[GroupKind]:
    """Kinds of groups that there are several of."""
    groups = {group for each in means for group in each.groups}
    kinds: tuple[GroupKind, ...] = ("category", "scenario")
    return frozenset(kind for kind in kinds if sum(group[0] == kind for group in groups) > 1)


def group_gaps(means: Sequence[PromptMean]) -> tuple[GroupGap, ...]:
    """The groups in which two models differ most, on prompts that both were scored on."""
    kinds = _kinds(means)
    by_group: dict[Group, dict[str, dict[tuple[str, ...], float]]] = {}
    for each in means:
        for group in each.groups:
            if group[0] in kinds:
                by_group.setdefault(group, {}).setdefault(each.model, {})[each.prompt] = each.score
    comparisons = sum(len(of) * (len(of) - 1) // 2 for of in by_group.values())
    widest = [(group, *pair) for group, of in by_group.items() if (pair := _widest(of)) is not None]
    found = []
    for group, best, worst, differences in sorted(widest, key=lambda each: -fmean(each[3]))[:_GAPS]:
        of = by_group[group]
        common = [prompt for prompt in of[best] if prompt in of[worst]]
        found.append(
            GroupGap(
                *group,
                prompts=len(common),
                best=best,
                best_score=fmean(of[best][prompt] for prompt in common),
                worst=worst,
                worst_score=fmean(of[worst][prompt] for prompt in common),
                p_value=min(1.0, comparisons * sign_flips(differences)),
            )
        )
    return tuple(found)


def _widest(of: Mapping[str, Mapping[tuple[str, ...], float]]) -> tuple[str, str, list[float]] | None:
    """The two models that differ most, the better one first, with their differences by prompt."""
    found = None
    for one, other in itertools.permutations(of, 2):
        differences = [score - of[other][prompt] for prompt, score in of[one].items() if prompt in of[other]]
        least = _LEAST_DIFFERENCE if found is None else fmean(found[2])
        if differences and fmean(differences) > least:
            found = one, other, differences
    return found


def pair_gaps(tallies: Sequence[Tally]) -> tuple[PairGap, ...]:
    """The groups that one side won most clearly; with several of a kind only."""
    names = {tally.group for tally in tallies}
    several = [t for t in tallies if sum(kind == t.group[0] for kind, _ in names) > 1]
    adjusted = holm([sign_test(tally.wins, tally.losses) for tally in several])
    found = []
    for tally, p_value in zip(several, adjusted, strict=True):
        first, second = tally.sides
        if tally.wins > tally.losses:
            found.append(PairGap(*tally.group, first, second, tally.wins, tally.ties, tally.losses, p_value))
        elif tally.losses > tally.wins:
            found.append(PairGap(*tally.group, second, first, tally.losses, tally.ties, tally.wins, p_value))
    return tuple(sorted(found, key=lambda gap: (gap.p_value, gap.losses - gap.wins))[:_GAPS])
