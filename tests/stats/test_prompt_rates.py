"""Scores of two runs prompt by prompt: tool calls and categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pytest_flperf.results.measured import PromptCalls, PromptScore
from pytest_flperf.results.records import Measured, PlannedCase, Requests
from pytest_flperf.stats.inference.findings import ErrorRates, Finding, Threshold
from pytest_flperf.stats.inference.prompt_rates import judge_prompt_scores

MORE, LESS = Threshold(0.0, 0.02, higher_is_worse=True), Threshold(0.0, 0.02, higher_is_worse=False)


def run(prompts: Sequence[PromptScore]) -> Measured:
    """A run with these prompts."""
    total = sum(each.n for each in prompts)
    return Measured.of(
        PlannedCase("s::c[m]", "s", "c", "m"), requests=Requests(total=total, ok=total), prompt_scores=tuple(prompts)
    )


def called(number: int, *, malformed: float = 0.0, right: float = 1.0, n: int = 1, answers: int = 1) -> PromptScore:
    """A prompt whose answers should call."""
    calls = PromptCalls(answers, right, right, 0.0, malformed) if answers else None
    return PromptScore(f"p{number}", n, right * answers / n, calls=calls)


def judged(
    baseline: list[PromptScore], candidate: list[PromptScore], metric: str, category: str | None = None
) -> Finding:
    """One comparison in its run, at 2 points."""
    threshold = MORE if metric in ("malformed", "abstained") else LESS
    return judge_prompt_scores(run(baseline), run(candidate), metric, category, threshold, ErrorRates())


@pytest.mark.parametrize("metric", ["malformed", "tool_right", "argument_right"])
def test_what_became_worse(metric: str) -> None:
    """Twenty of 200 prompts, none back."""
    before = [called(n) for n in range(200)]
    after = [called(n, malformed=float(n < 20), right=float(n >= 20)) for n in range(200)]
    found = judged(before, after, metric)
    worse = 0.1 if metric == "malformed" else -0.1
    assert (found.word, found.n_baseline) == ("regressed", 200)
    assert found.change == pytest.approx(worse)
    assert judged(after, before, metric).word == "improved"
    assert judged(before, before, metric).word == "unchanged"


def test_shares_of_arguments_are_graded() -> None:
    """The mean is what counts."""
    before = [called(n) for n in range(200)]
    after = [called(n, right=0.5 if n % 4 == 0 else 1.0) for n in range(200)]
    found = judged(before, after, "argument_right")
    assert (found.word, found.candidate) == ("regressed", pytest.approx(0.875))


def test_failed_requests() -> None:
    """Nothing of them is right, and nothing malformed: those prompts are left out."""
    before = [called(n) for n in range(200)]
    after = [called(n, answers=int(n >= 20)) for n in range(200)]
    assert judged(before, after, "tool_right").word == "regressed"
    found = judged(before, after, "malformed")
    assert (found.word, found.n_candidate) == ("unchanged", 180)
    half = [called(n, n=2, answers=1) for n in range(200)]
    assert judged(before, half, "tool_right").candidate == pytest.approx(0.5)


def test_results_of_an_older_version() -> None:
    """They say nothing of calls by prompt: undecided, whatever their scores."""
    before = [PromptScore(f"p{n}", 1, float(n % 2)) for n in range(200)]
    for metric in ("tool_right", "malformed"):
        found = judged(before, [called(n) for n in range(200)], metric)
        assert found.word == "undecided"
        assert f"both runs have {metric} of 0 prompts in common, and 6 are needed" in found.reason


def test_a_category() -> None:
    """Only of its prompts."""

    def prompts(wrong: int) -> list[PromptScore]:
        return [
            PromptScore(f"p{n}", 1, float(n % 2 == 0 or n >= wrong), category="odd" if n % 2 else "even")
            for n in range(400)
        ]

    before, after = prompts(0), prompts(40)
    assert judged(before, after, "quality", "odd").word == "regressed"
    even = judged(before, after, "quality", "even")
    assert (even.word, even.n_baseline, even.baseline, even.candidate) == ("unchanged", 200, 1, 1)
    assert judged(before, after, "quality", "none").word == "undecided"


def test_other_prompts_say_nothing() -> None:
    """Only those that both runs asked."""
    before = [called(n) for n in range(200)]
    after = [called(n, right=float(n < 200)) for n in range(100, 400)]
    found = judged(before, after, "tool_right")
    assert (found.n_baseline, found.candidate) == (100, 1)
    assert found.word == "undecided"
    assert judged(before, [called(n) for n in range(195, 400)], "tool_right").reason.startswith("both runs have")


@pytest.mark.parametrize("metric", ["malformed", "quality"])
def test_false_alarms_where_nothing_differs(metric: str) -> None:
    """At most as often as the error rates allow: 1 % of runs, here of 400."""
    rng = np.random.default_rng(5)

    def side() -> list[PromptScore]:
        return [called(n, malformed=float(bad), right=float(not bad)) for n, bad in enumerate(rng.random(200) < 0.1)]

    alarms = sum(judged(side(), side(), metric, "").word == "regressed" for _ in range(400))
    assert alarms <= 11  # more has a chance of 0.1 % at a rate of 1 %
