"""Permutation tests of groups and of pairs: against other ways to count, and at their level."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from pytest_flperf.stats.inference.groups import against_rest, sign_flips


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_sign_flips_count_all_orders(differences: list[int]) -> None:
    """The share of all ways to turn pairs round that are as far from 0."""
    sums = [sum(map(int.__mul__, signs, differences)) for signs in itertools.product((1, -1), repeat=len(differences))]
    expected = sum(abs(each) >= abs(sum(differences)) for each in sums) / len(sums)
    assert sign_flips(differences) == pytest.approx(expected)


def test_many_pairs_are_drawn() -> None:
    """As exact as 100,000 draws are."""
    chance = random.Random(5)
    differences = [chance.choice((-1, 1, 1, 2)) for _ in range(15)]
    exact = permutation_test((differences,), sum, permutation_type="samples", n_resamples=2**15).pvalue
    assert sign_flips(differences) == pytest.approx(exact, rel=0.1)
    assert sign_flips([1.0] * 200) == pytest.approx(1e-5, rel=0.01)


def test_against_the_rest() -> None:
    """The difference of the means, and a p-value near that of all permutations; Holm's over the groups."""
    values = [5, 5, 4, 5, 1, 2, 3, 1, 2]
    found = against_rest(values, {"a": [0, 1, 2, 3], "all": range(9), "none": []})
    assert found.keys() == {"a"}
    assert found["a"].difference == pytest.approx(19 / 4 - 9 / 5)
    means = [sum(values[n] for n in some) / 4 for some in itertools.combinations(range(9), 4)]
    rest = [each - (28 - 4 * each) / 5 for each in means]
    exact = sum(abs(each) >= found["a"].difference - 1e-9 for each in rest) / len(rest)
    assert found["a"].p_value == pytest.approx(exact, rel=0.3)
    both = against_rest(values, {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7, 8]})
    assert both["a"].p_value == pytest.approx(2 * found["a"].p_value, rel=0.3)
    assert against_rest([], {"a": []}) == {}


def test_their_level() -> None:
    """Of groups drawn at random, a wrong one is named in 5 % at most."""
    chance, false = random.Random(11), 0
    for _ in range(300):
        values = [chance.randint(1, 5) for _ in range(30)]
        groups = {name: [n for n in range(30) if n % 3 == place] for place, name in enumerate("abc")}
        false += any(each.p_value <= 0.05 for each in against_rest(values, groups).values())
    assert binomtest(false, 300).proportion_ci(0.95, "exact").low <= 0.05
