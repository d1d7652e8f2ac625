"""Pareto front: a model leaves it only where another is better at both beyond doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from answer_doubles import cases_of

from pytest_flperf.answers.front import front_of
from pytest_flperf.results.measured import PromptScore
from pytest_flperf.results.records import CaseResult
from pytest_flperf.stats.descriptive.summary import distribution


def with_scores(cases: Sequence[CaseResult], right: dict[str, Sequence[float]]) -> list[CaseResult]:
    """The cases, with an exam in the first scenario."""

    def scored(case: CaseResult) -> CaseResult:
        if case.scenario != "scenario-0":
            return case
        scores = tuple(PromptScore(f"p{n}", 1, score) for n, score in enumerate(right[case.model]))
        return replace(case, prompt_scores=scores)

    return [scored(each) for each in cases]


def run(speeds: dict[str, float], right: dict[str, float], seed: int = 0) -> list[CaseResult]:
    """Models with these TTFTs, right in such a share of 200 prompts."""
    rng = Random(seed)
    scores = {model: [float(rng.random() < share) for _ in range(200)] for model, share in right.items()}
    return with_scores(cases_of(speeds, 9, noise=0.05, seed=seed), scores)


def front(cases: Sequence[CaseResult]) -> dict[str, tuple[str, ...]]:
    """By model, what dominates it."""
    return {each.model: each.dominated_by for each in front_of(cases)}


def test_slower_and_worse_beyond_doubt() -> None:
    """It leaves the front; the others stay, each best at one of the two."""
    cases = run({"quick": 5.0, "good": 20.0, "poor": 40.0}, {"quick": 0.6, "good": 0.95, "poor": 0.6})
    assert front(cases) == {"good": (), "quick": (), "poor": ("good",)}
    both = run({"a": 5.0, "b": 20.0}, {"a": 0.95, "b": 0.6})
    assert front(both) == {"a": (), "b": ("a",)}


@pytest.mark.parametrize(
    ("speeds", "right"),
    [
        ({"a": 5.0, "b": 20.0}, {"a": 0.85, "b": 0.84}),
        ({"a": 5.0, "b": 5.1}, {"a": 0.95, "b": 0.6}),
        ({"a": 5.0, "b": 20.0}, {"a": 0.6, "b": 0.95}),
    ],
    ids=["quality is open", "speed is open", "each is better at one"],
)
def test_what_is_not_decided_stays(speeds: dict[str, float], right: dict[str, float]) -> None:
    """A better estimate of both is not enough."""
    assert front(run(speeds, right)) == {"a": (), "b": ()}


def test_points_and_intervals() -> None:
    """Numbers of each model alone; the most often right first."""
    first, second = front_of(run({"a": 5.0, "b": 20.0}, {"a": 0.6, "b": 0.95}))
    assert (first.model, second.model) == ("b", "a")
    for each in (first, second):
        assert each.quality_ci is not None
        assert each.e2e_ms_ci is not None
        assert each.quality_ci[0] < each.quality < each.quality_ci[1]
        assert each.e2e_ms_ci[0] < each.e2e_ms < each.e2e_ms_ci[1]


def test_an_interval_that_is_not_known() -> None:
    """Of five answers a scenario there is none: no line of no length is drawn as if the time were certain."""
    cases = run({"a": 5.0, "b": 20.0}, {"a": 0.6, "b": 0.95})
    few = distribution([30.0, 31.0, 32.0, 33.0, 34.0])
    assert few is not None
    assert few.p50_ci95 is None
    some = [
        replace(each, metrics={**each.metrics, "e2e_ms": few}) if each.scenario == "scenario-3" else each
        for each in cases
    ]
    assert [each.e2e_ms_ci for each in front_of(some)] == [None, None]


def test_no_front() -> None:
    """Of one model, without scores, and where the answers of one failed."""
    cases = run({"a": 5.0, "b": 20.0}, {"a": 0.6, "b": 0.95})
    assert front_of([each for each in cases if each.model == "a"]) == ()
    assert front_of(cases_of({"a": 5.0, "b": 20.0}, 8)) == ()
    failed = [replace(each, requests=replace(each.requests, failed=1)) if each.model == "a" else each for each in cases]
    assert front_of(failed) == ()


def test_models_that_are_alike_stay() -> None:
    """The same model under four names: in 60 runs none leaves the front."""
    left = 0
    for seed in range(60):
        rng = Random(seed)
        scores = {model: [float(rng.random() < 0.8) for _ in range(100)] for model in "abcd"}
        cases = with_scores(cases_of(dict.fromkeys("abcd", 5.0), 8, noise=0.1, seed=seed), scores)
        left += any(front(cases).values())
    assert left == 0
