"""Agreement with human labels: κ, corrected pass rates and their intervals, sign test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.agreement import (
    LabelCounts,
    corrected_rate,
    kappa,
    kappa_interval,
    mean_interval,
    sign_test,
)


def labelled(passes: int, passes_agreed: int, fails: int, fails_agreed: int) -> LabelCounts:
    """Counts in the order of the fields."""
    return LabelCounts(passes, passes_agreed, fails, fails_agreed)


def test_kappa_of_the_textbook() -> None:
    """Of 50 grants 35 are agreed on: 20 that both accept, 15 that both refuse; κ is 0.4."""
    assert kappa(labelled(25, 20, 25, 15)) == pytest.approx(0.4)
    assert kappa(labelled(10, 10, 10, 10)) == pytest.approx(1.0)
    assert kappa(labelled(10, 5, 10, 5)) == pytest.approx(0.0)
    assert kappa(labelled(0, 0, 0, 0)) is None
    assert kappa(labelled(10, 10, 0, 0)) is None
    assert kappa_interval(labelled(10, 10, 0, 0)) is None


def test_kappa_interval_is_no_point() -> None:
    """Twenty labels that all agree prove no full agreement."""
    low, high = kappa_interval(labelled(10, 10, 10, 10)) or (math.nan, math.nan)
    assert 0.5 < low < 0.9
    assert high > 0.97


@pytest.mark.parametrize(("people", "q1", "q0"), [(0.5, 0.9, 0.8), (0.8, 0.9, 0.7), (0.7, 0.97, 0.95)])
def test_kappa_interval_covers(people: float, q1: float, q0: float) -> None:
    """95 % of the intervals hold the true κ, from 60 labels."""
    cells = np.array([people * q1, people * (1 - q1), (1 - people) * (1 - q0), (1 - people) * q0])
    agreed = cells[0] + cells[3]
    judge = cells[0] + cells[2]
    chance = people * judge + (1 - people) * (1 - judge)
    true = (agreed - chance) / (1 - chance)
    drawn = np.random.default_rng(1).multinomial(60, cells, 200)
    intervals = [kappa_interval(labelled(int(a + b), int(a), int(c + d), int(d))) for a, b, c, d in drawn]
    inside = [each is not None and each[0] <= true <= each[1] for each in intervals]
    assert 0.92 <= np.mean(inside) <= 1.0


@pytest.mark.parametrize("theta", [0.5, 0.8, 0.9, 0.97])
@pytest.mark.parametrize(("q1", "q0"), [(0.95, 0.95), (0.9, 0.7), (0.7, 0.9), (0.99, 0.6)])
@pytest.mark.parametrize("same", [False, True])
def test_corrected_interval_covers(theta: float, q1: float, q0: float, *, same: bool) -> None:
    """The intervals miss the true rate in 5 % (7 % for nearly perfect models), their lower ends in 2.5 %, up to chance.

    With labels of other answers, and with labels of a part of the same ones, as they mostly are.
    """
    prompts, labels, rounds = 300, 150, 1_500
    chance = np.random.default_rng(int(theta * 1000) + same)
    outside = above = counted = 0
    for _ in range(rounds):
        good = int(chance.binomial(labels, theta))
        if min(good, labels - good) < 5:
            continue
        agreed, refused = int(chance.binomial(good, q1)), int(chance.binomial(labels - good, q0))
        others = prompts - labels if same else prompts
        true = int(chance.binomial(others, theta))
        passed = int(chance.binomial(true, q1)) + int(chance.binomial(others - true, 1 - q0))
        passed += agreed + (labels - good - refused) if same else 0
        found = corrected_rate(passed / prompts, prompts, labelled(good, agreed, labels - good, refused))
        if found is None:  # by chance the judge looks as if it guessed: nothing is claimed
            continue
        counted += 1
        outside += not found.ci95[0] <= theta <= found.ci95[1]
        above += found.ci95[0] > theta
    assert counted > rounds / 5
    assert outside / counted <= 0.085
    assert above / counted <= 0.045


def test_naive_rate_is_wrong_where_the_corrected_one_is_right() -> None:
    """A lenient judge passes 40 % of the bad answers: 80 % of 400 seen are 70 % in truth."""
    found = corrected_rate(0.82, 400, labelled(300, 300, 300, 180))
    assert found is not None
    assert found.rate == pytest.approx(0.7)
    assert found.ci95[0] < 0.7 < found.ci95[1] < 0.82


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(labelled(20, 10, 20, 10), id="guesses"),
        pytest.param(labelled(20, 20, 0, 0), id="no bad ones"),
        pytest.param(labelled(0, 0, 20, 20), id="no good ones"),
        pytest.param(labelled(20, 0, 20, 0), id="turned round"),
    ],
)
def test_no_correction_without_skill(labels: LabelCounts) -> None:
    """A judge that guesses, or that was not tried on both kinds, corrects nothing."""
    assert corrected_rate(0.9, 100, labels) is None


@given(
    st.integers(0, 200), st.integers(1, 200), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50),
    st.integers(0, 50),
)  # fmt: skip
def test_corrected_rate_is_a_share(passed: int, prompts: int, a: int, b: int, c: int, d: int) -> None:
    """The estimate lies in its interval, and all of it between 0 and 1."""
    found = corrected_rate(min(passed, prompts) / prompts, prompts, labelled(a, min(a, b), c, min(c, d)))
    if found is not None:
        assert 0 <= found.ci95[0] <= found.rate <= found.ci95[1] <= 1


def test_counts_are_checked() -> None:
    """More agreed than labelled is no count."""
    with pytest.raises(ValueError, match="no counts"):
        labelled(1, 2, 0, 0)


def test_sign_test_is_exact() -> None:
    """9 of 10: 22 of 1,024 orders are as extreme."""
    assert sign_test(9, 1) == sign_test(1, 9) == pytest.approx(22 / 1024)
    assert sign_test(5, 5) == 1.0
    assert sign_test(0, 0) == 1.0


def test_mean_interval() -> None:
    """It lies within the scale, is no point where all are alike, and needs two values."""
    low, high = mean_interval([1, 5, 4, 3, 5, 2, 4, 4], 1, 5) or (math.nan, math.nan)
    assert 1 <= low < 3.5 < high <= 5
    low, high = mean_interval([5.0] * 20, 1, 5) or (math.nan, math.nan)
    assert low < 4.5
    assert high == 5
    assert mean_interval([3], 1, 5) is None


def test_mean_interval_covers() -> None:
    """95 % of the intervals hold the true mean of uneven scores, from 30 prompts."""
    chance = np.random.default_rng(3)
    shares = [0.05, 0.05, 0.1, 0.3, 0.5]
    true = float(np.dot(shares, [1, 2, 3, 4, 5]))
    found = [mean_interval(chance.choice([1, 2, 3, 4, 5], 30, p=shares).tolist(), 1, 5) for _ in range(400)]
    assert 0.92 <= np.mean([each is not None and each[0] <= true <= each[1] for each in found]) <= 0.99
