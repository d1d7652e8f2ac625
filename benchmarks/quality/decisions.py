"""Known answers through the product's own decisions, as a run takes them: look after look, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from benchmarks.quality.worlds import Floats, World
from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.comparison import compare_runs, settled
from pytest_flperf.gates.paired_results import PairTerms
from pytest_flperf.gates.rules import Rule, parse_rules
from pytest_flperf.measurement.paired_turns import Answer, Both, Turn
from pytest_flperf.measurement.standings import Standings
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.records import Measured, Requests
from pytest_flperf.stats.descriptive.prompt_scores import PromptScores
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.stats.inference.agreement import LabelCounts, corrected_rate
from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.schedule import draw_orders, looks

__all__ = ["RULE", "in_turns", "is_met", "judge_is_met", "stored"]

RULE: Final = "quality.mean < -2%"
RULES: Final[tuple[Rule, ...]] = parse_rules([RULE], "--flperf-fail-on")


def in_turns(world: World, chance: np.random.Generator) -> list[Comparison]:
    """Comparisons of a run whose cases are measured in turns with another side."""
    return [_case_in_turns(world, chance) for _ in range(world.cases)]


def _case_in_turns(world: World, chance: np.random.Generator) -> Comparison:
    mine, theirs = world.scores(chance)
    orders = draw_orders(len(mine), int(chance.integers(1 << 60)))
    turns = [
        Both(_turn(world, at, ours), _turn(world, at, others), first)
        for at, (ours, others, first) in enumerate(zip(mine.tolist(), theirs.tolist(), orders, strict=True))
    ]
    terms = PairTerms("other", RULES, world.cases, first_pass=world.prompts if world.in_order else 0)
    places = looks(len(mine))
    for number, count in enumerate(places, 1):
        standings = Standings(tuple(turns[:count]), number, len(places))
        found = terms.compared(measured(mine[:count]), measured(theirs[:count]), standings)
        if settled(found):
            break
    (comparison,) = [each for each in found if each.metric == "quality"]
    return comparison


def _turn(world: World, index: int, score: float) -> Turn:
    answer = str(score) if world.greedy else ""
    return Turn(({},), 1, None, 1.0, (Answer(index, ok=True, score=score, prompt=f"p{index % world.prompts}",
                                             repeatable=answer),))  # fmt: skip


def measured(scores: Floats, prompts: int = 0) -> Measured:
    """A case with these scores, by prompt where so many were asked one after the other."""
    found, n = distribution(scores.tolist()), len(scores)
    case = Measured("s::s[m]", "s", "s", "m", requests=Requests(n, n, 0, 0, {"ok": n}), error_rate=0.0,
                    metrics={} if found is None else {"quality": found})  # fmt: skip
    if not prompts:
        return case
    told = PromptScores(lambda index: f"p{index % prompts}")
    for index, score in enumerate(scores.tolist()):
        told.add(index, score, f"answer {index}")
    return replace(case, prompt_scores=told.result(), answer_quality=told.quality())


def stored(world: World, chance: np.random.Generator, *, same_prompts: bool) -> list[Comparison]:
    """Comparisons of a run with a stored one, of the same prompts or of others."""
    found = []
    for _ in range(world.cases):
        mine, theirs = world.scores(chance)
        prompts = world.prompts if same_prompts else 0
        sides = measured(mine, prompts), measured(theirs, prompts)
        compared = compare_runs(*sides, {}, {}, RULES, ErrorRates(comparisons=world.cases))
        found += [each for each in compared if each.metric == "quality"]
    return found


def is_met(scores: Floats, budget: str, prompts: int) -> bool:
    """Whether these scores meet a budget."""
    verdict = parse_budget(budget).judge(measured(scores, prompts))
    return verdict.met


def judge_is_met(passed: float, prompts: int, labels: LabelCounts, limit: float) -> bool:
    """Whether a judge's corrected pass rate meets ``--fail-under``, where everything was judged."""
    found = corrected_rate(passed, prompts, labels)
    return found is not None and found.ci95[0] >= limit
