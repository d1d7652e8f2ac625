"""pass@k and pass^k against what is drawn."""

from __future__ import annotations

import itertools
import random
from statistics import mean

import pytest

from pytest_flperf.stats.descriptive.pass_rates import MOST_TRIES, pass_rates


def test_by_all_choices() -> None:
    """The chance over every choice of k answers, averaged over prompts."""
    prompts = [(5, 2), (4, 4), (6, 0), (5, 1)]
    at, all_of = pass_rates(prompts)
    assert len(at) == len(all_of) == 4
    for k in range(1, 5):
        answers = [[True] * c + [False] * (n - c) for n, c in prompts]
        assert at[k - 1] == pytest.approx(mean(mean(map(any, itertools.combinations(each, k))) for each in answers))
        assert all_of[k - 1] == pytest.approx(mean(mean(map(all, itertools.combinations(each, k))) for each in answers))


def test_unbiased() -> None:
    """The mean of many estimates is the true chance, 1 - (1 - p)^k and p^k."""
    chance, p = random.Random(5), 0.3
    at, all_of = pass_rates((6, sum(chance.random() < p for _ in range(6))) for _ in range(10_000))
    for k in (1, 3, 6):
        assert at[k - 1] == pytest.approx(1 - (1 - p) ** k, abs=0.02)
        assert all_of[k - 1] == pytest.approx(p**k, abs=0.02)


def test_where_there_are_none() -> None:
    """A prompt that was asked once, no prompt; and never more than are told."""
    assert pass_rates([(3, 1), (1, 1)]) == pass_rates([]) == ((), ())
    assert [len(each) for each in pass_rates([(100, 50)])] == [MOST_TRIES, MOST_TRIES]
