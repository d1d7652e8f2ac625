"""Intervals of a mean score: exact for 0 and 1, and never wrong more often than they say."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_flperf.stats.descriptive import score_intervals
from pytest_flperf.stats.descriptive.score_intervals import mean_interval, mean_lower_bound
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson


@pytest.mark.parametrize(("passed", "n"), [(0, 5), (1, 5), (3, 7), (28, 30), (30, 30), (1, 1), (500, 2_000)])
def test_zeros_and_ones(passed: int, n: int) -> None:
    """Clopper and Pearson's limits, two-sided; one-sided with the whole 5 % on one side."""
    scores = [1.0] * passed + [0.0] * (n - passed)
    assert mean_interval(scores) == pytest.approx(clopper_pearson(Counts(passed, n)))
    assert mean_lower_bound(scores) == pytest.approx(clopper_pearson(Counts(passed, n), 0.05)[0])


def test_the_rule_of_29() -> None:
    """29 of 29 prove 90 % one-sided, 28 don't; it takes 36 until the two-sided interval begins there."""
    assert mean_lower_bound([1.0] * 29) >= 0.9 > mean_lower_bound([1.0] * 28)
    assert mean_interval([1.0] * 36)[0] >= 0.9 > mean_interval([1.0] * 35)[0]


def test_alike_but_not_right() -> None:
    """Ten times 0.7: a rare 0 may not have come yet, so the bound is below; the upper one allows for a rare 1."""
    assert mean_lower_bound([0.7] * 10) == pytest.approx(0.7 * 0.05**0.1)
    low, high = mean_interval([0.7] * 10)
    assert (low, high) == pytest.approx((0.7 * 0.025**0.1, 1 - 0.3 * 0.025**0.1))


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0, 0.25, 1 / 3, 0.5, 0.9, 1]), min_size=1, max_size=40))
def test_around_the_mean(scores: list[float]) -> None:
    """Both limits, whatever the scores are and however they are ordered."""
    low, high = mean_interval(scores)
    mean = sum(scores) / len(scores)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert low <= mean_lower_bound(scores) + 1e-9
    assert mean_interval(list(reversed(scores))) == (low, high)


@pytest.mark.parametrize("scores", [[], [1.1], [-0.1], [float("nan")]])
def test_what_has_none(scores: list[float]) -> None:
    """No scores, and what is no score."""
    with pytest.raises(ValueError, match="expected one at least, each from 0 to 1"):
        mean_lower_bound(scores)


def test_many_scores() -> None:
    """Of more scores than are drawn the bound is nearly the same."""
    chance = random.Random(3)
    scores = [chance.choice([0.0, 0.5, 0.8, 1.0]) for _ in range(score_intervals._DRAWN_UP_TO)]
    drawn = score_intervals._bound(tuple(sorted(scores)), 0.95)
    matched = score_intervals._matched(sorted(scores), 1 - 0.95)
    assert drawn == pytest.approx(matched, abs=2e-3)


def _rarely_wrong(chance: random.Random) -> float:
    return 0.0 if chance.random() < 0.08 else 1.0


def _rarely_half(chance: random.Random) -> float:
    return 0.5 if chance.random() < 0.1 else 1.0


def _three_repeats(chance: random.Random) -> float:
    easy = 0.95 if chance.random() < 0.7 else 0.4
    return sum(chance.random() < easy for _ in range(3)) / 3


def _graded(chance: random.Random) -> float:
    return chance.betavariate(8, 2)


def _often_nothing(chance: random.Random) -> float:
    return 0.0 if chance.random() < 0.9 else chance.random()


def _seldom_nothing(chance: random.Random) -> float:
    return 0.0 if chance.random() < 0.1 else 0.7


KINDS: dict[Callable[[random.Random], float], float] = {
    _rarely_wrong: 0.92,
    _rarely_half: 0.95,
    _three_repeats: 0.7 * 0.95 + 0.3 * 0.4,
    _graded: 0.8,
    _often_nothing: 0.05,
    _seldom_nothing: 0.63,
}
"""Scores of a prompt, and their mean."""


def coverage(draw: Callable[[random.Random], float], mean: float, prompts: int, tries: int) -> tuple[float, float]:
    """How often the interval holds the mean, and how often the bound is below it."""
    chance = random.Random(f"{draw.__name__}/{prompts}")
    held = below = 0
    for _ in range(tries):
        scores = [draw(chance) for _ in range(prompts)]
        low, high = mean_interval(scores)
        held += low <= mean <= high
        below += mean_lower_bound(scores) <= mean
    return held / tries, below / tries


@pytest.mark.parametrize("draw", KINDS, ids=lambda draw: draw.__name__.strip("_"))
def test_coverage(draw: Callable[[random.Random], float]) -> None:
    """At least 95 % of the time, as far as 80 tries tell."""
    for found in coverage(draw, KINDS[draw], 15, 80):
        assert found >= 0.95 - 3 * (0.05 * 0.95 / 80) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("prompts", "tries"), [(5, 500), (30, 150), (150, 20), (1_500, 100)])
@pytest.mark.parametrize("draw", KINDS, ids=lambda draw: draw.__name__.strip("_"))
def test_nominal_coverage(draw: Callable[[random.Random], float], prompts: int, tries: int) -> None:
    """At least 95 % of the time, with few prompts and many, of scores that no normal distribution has."""
    for found in coverage(draw, KINDS[draw], prompts, tries):
        assert found >= 0.95 - 3 * (0.05 * 0.95 / tries) ** 0.5
