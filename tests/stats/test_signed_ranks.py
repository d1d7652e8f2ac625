"""Tests that follow from the drawing of the orders, counted out over all orders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, product
from unittest.mock import patch

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.stats.inference import permutation as orders_module
from pytest_flperf.stats.inference.permutation import Bools, Floats, Law, is_drawn, normal_tails
from pytest_flperf.stats.inference.schedule import draw_orders
from pytest_flperf.stats.inference.signed_ranks import exceedances, normal_signed_rank, signed_rank

BLOCK = 6
DIFFERENCES = st.lists(st.integers(-4, 4).map(float) | st.floats(-10, 10), min_size=8, max_size=12)


@pytest.fixture(scope="module", autouse=True)
def _short_blocks() -> Iterator[None]:
    """Blocks of six have twenty orders: few enough to go through all."""
    with patch.object(orders_module, "ORDER_BLOCK", BLOCK), patch.object(orders_module, "_HALF", BLOCK // 2):
        yield


def all_orders(pairs: int) -> list[Bools]:
    """Every order that might be drawn, as often as it is likely, whole blocks cut off at this many pairs."""
    block = [[at in first for at in range(BLOCK)] for first in combinations(range(BLOCK), BLOCK // 2)]
    return [np.array([*chain(*chosen)][:pairs]) for chosen in product(block, repeat=-(-pairs // BLOCK))]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12).flatmap(
        lambda scores: st.tuples(st.just(scores), st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    )
)
@settings(max_examples=examples(40))
def test_the_law_is_that_of_all_orders(drawn: tuple[list[int], list[bool]]) -> None:
    """The distribution that is worked out pair by pair is the one that is found by trying all."""
    scores, first_is_more = np.array(drawn[0]), np.array(drawn[1])
    sums = np.array([scores[order == first_is_more].sum() for order in all_orders(len(scores))])
    law = Law(scores, first_is_more)
    for seen in np.unique(sums).tolist():
        assert law.tails(seen) == pytest.approx(((sums >= seen).mean(), (sums <= seen).mean()))


@given(DIFFERENCES)
@settings(max_examples=10, deadline=None)
def test_signed_ranks_are_never_wrong_too_often(slots: list[float]) -> None:
    """Whatever the two slots took, p ≤ a in at most the part a of all orders, for every a."""
    first_minus_second = np.array(slots)
    orders = all_orders(len(slots))
    found = np.array([signed_rank(np.where(o, first_minus_second, -first_minus_second), o) for o in orders])
    for side in (0, 1):
        for level in np.unique(found[:, side]):
            assert (found[:, side] <= level).mean() <= level + 1e-9


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=8, max_size=12), st.sampled_from([0.5, 0.9]))
@settings(max_examples=10, deadline=None)
def test_exceedances_are_never_wrong_too_often(slots: list[tuple[int, int]], share: float) -> None:
    """Likewise for percentiles of turns of several requests."""
    first, second = ([np.array([value[at], value[at] % 4, 3.0]) for value in slots] for at in (0, 1))

    def tails(order: Bools) -> tuple[float, float]:
        candidate = [a if is_first else b for a, b, is_first in zip(first, second, order, strict=True)]
        baseline = [b if is_first else a for a, b, is_first in zip(first, second, order, strict=True)]
        return exceedances(candidate, baseline, share, order)

    found = np.array([tails(order) for order in all_orders(len(slots))])
    for side in (0, 1):
        for level in np.unique(found[:, side]):
            assert (found[:, side] <= level).mean() <= level + 1e-9


@given(DIFFERENCES, st.integers())
def test_swapped_sides_swap_the_tails(differences: list[float], seed: int) -> None:
    """What is greater from one side is less from the other."""
    y = np.array(differences)
    first = np.random.default_rng(seed % 2**32).permutation([True, False] * 6)[: len(y)]
    greater, less = signed_rank(y, first)
    assert signed_rank(-y, ~first) == pytest.approx((less, greater))
    assert greater + less >= 1 - 1e-9


@given(st.lists(st.floats(0.01, 10), min_size=5, max_size=15, unique=True), st.data())
def test_with_orders_by_a_coin_it_is_wilcoxons_test(sizes: list[float], data: st.DataObject) -> None:
    """With blocks so long that each order is as good as a coin's, p is what scipy counts."""
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=len(sizes), max_size=len(sizes)))
    y = np.array(sizes) * np.array(signs)
    scores = scipy.stats.rankdata(sizes).astype(np.int64)
    with patch.object(orders_module, "ORDER_BLOCK", 2_000), patch.object(orders_module, "_HALF", 1_000):
        greater, less = Law(scores, y > 0).tails(int(scores[y > 0].sum()))
    for mine, alternative in ((greater, "greater"), (less, "less")):
        theirs = scipy.stats.wilcoxon(y, alternative=alternative, method="exact").pvalue
        assert mine == pytest.approx(theirs, rel=0.1, abs=1e-4)


@given(st.floats(-100, 100), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_what_the_slot_adds_is_no_difference(slot: float, seed: int) -> None:
    """A second slot that is always slower, however much, changes nothing."""
    chance = np.random.default_rng(seed)
    first = np.array(draw_orders(24, seed))
    noise = chance.normal(0.5, 1, 24)
    with patch.object(orders_module, "ORDER_BLOCK", 20), patch.object(orders_module, "_HALF", 10):
        assert signed_rank(noise + np.where(first, -slot, slot), first) == pytest.approx(signed_rank(noise, first))


def test_lost_pairs_say_nothing() -> None:
    """With a value of no weight in their place nothing changes."""
    first = np.array(all_orders(12)[17])
    y = np.array([3.0, -1, 2, 5, np.nan, 4, np.nan, 1, 6, 2.5, 3.5, 0.5])
    greater, less = signed_rank(y, first)
    assert 0 < greater < 0.2 < less <= 1
    assert signed_rank(np.full(12, np.nan), first) == (1.0, 1.0)


def _rows(shift: float) -> tuple[Floats, Bools]:
    chance = np.random.default_rng(3)
    orders = np.array([draw_orders(60, seed) for seed in range(40)])
    return chance.normal(shift, 1, (40, 60)), orders


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6])
def test_the_normal_law_is_near_and_never_bolder(shift: float) -> None:
    """For 60 pairs: near the exact p-value, and not below it where that is small."""
    with patch.object(orders_module, "ORDER_BLOCK", 20), patch.object(orders_module, "_HALF", 10):
        y, orders = _rows(shift)
        exact = np.array([signed_rank(each, order)[0] for each, order in zip(y, orders, strict=True)])
        roughly = normal_signed_rank(y, orders)[0]
        alone = np.array([signed_rank(each, order, exact=False)[0] for each, order in zip(y, orders, strict=True)])
    assert roughly == pytest.approx(alone)
    assert roughly == pytest.approx(exact, rel=0.1, abs=2e-3)
    assert (roughly >= exact * 0.999)[exact < 1e-3].all()


def test_the_normal_law_has_the_exact_moments() -> None:
    """Variance with whole blocks and a part of one, against all orders."""
    scores, more = np.arange(1.0, 11.0), np.array([True, False, True, True, False] * 2)
    sums = np.array([scores[order == more].sum() for order in all_orders(10)])
    one_more = normal_tails(scores, more, sums.mean() + 0.5 + sums.std())
    assert one_more[0] == pytest.approx(scipy.stats.norm.sf(1.0))


def test_orders_that_nobody_drew() -> None:
    """More than half of a block on one side."""
    assert is_drawn(np.array([True, False] * 5))
    assert not is_drawn(np.array([True] * 4 + [False] * 2))
