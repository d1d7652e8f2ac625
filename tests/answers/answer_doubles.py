"""Runs made up for answers: models with true speeds, on a machine with noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from pytest_flperf.results.load import Load
from pytest_flperf.results.measured import PromptScore
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.descriptive.summary import distribution


def case(model: str, scenario: str, times_ms: Sequence[float], **changes: object) -> CaseResult:
    """A case with these TTFTs; an answer takes three times as long."""
    ttft, e2e = distribution(times_ms), distribution([3 * each for each in times_ms])
    assert ttft is not None
    assert e2e is not None
    count = len(times_ms)
    made = CaseResult(
        f"s::{scenario}[{model}]", "s", scenario, model, outcome="passed", message="", load=Load(iterations=count),
        requests=Requests(total=count, ok=count), metrics={"ttft_ms": ttft, "e2e_ms": e2e},
        tps_total=1000 / ttft.p50,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def cases_of(
    speeds: Mapping[str, float], scenarios: int, *, turns: bool = True, noise: float = 0.0, seed: int = 0
) -> list[CaseResult]:
    """Cases of models with these TTFTs in ms, in turns or one model after the other."""
    rng = Random(seed)
    models = list(speeds)
    order = [
        (model, number)
        for number in range(scenarios)
        for model in (models[number % len(models) :] + models[: number % len(models)])
    ]
    if not turns:
        order.sort(key=lambda each: models.index(each[0]))
    return [
        case(
            model,
            f"scenario-{number}",
            [speeds[model] * (1 + number) * rng.lognormvariate(0, noise) for _ in range(11)],
        )
        for model, number in order
    ]


def scored(model: str, scores: Sequence[float], scenario: str = "exam") -> CaseResult:
    """A case whose prompts have these scores."""
    prompts = tuple(PromptScore(f"p{number}", 1, score) for number, score in enumerate(scores))
    return case(model, scenario, [10.0] * max(len(scores), 1), prompt_scores=prompts)
