"""Tests of means, spreads and extremes of pairs, against all orders and on sides of known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_flperf.stats.inference import extremes as extremes_module
from pytest_flperf.stats.inference import permutation as orders_module
from pytest_flperf.stats.inference.decision import Tails
from pytest_flperf.stats.inference.extremes import extreme_tails
from pytest_flperf.stats.inference.mean_test import Sums, flip_tails, mean_tails, normal_flip_tails, skew_tails
from pytest_flperf.stats.inference.permutation import Bools, without_slot
from pytest_flperf.stats.inference.schedule import draw_orders

BLOCK = 6
DIFFERENCES = st.lists(st.integers(-4, 4).map(float) | st.floats(-10, 10), min_size=8, max_size=12)
TURNS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=8, max_size=12)


@pytest.fixture
def short_blocks() -> Iterator[None]:
    """Blocks of six have twenty orders: few enough to go through all."""
    with (
        patch.object(orders_module, "ORDER_BLOCK", BLOCK),
        patch.object(orders_module, "_HALF", BLOCK // 2),
        patch.object(extremes_module, "ORDER_BLOCK", BLOCK),
        patch.object(extremes_module, "_HALF", BLOCK // 2),
    ):
        yield


def all_orders(pairs: int) -> list[Bools]:
    """Every order that might be drawn, as often as it is likely."""
    block = [[at in first for at in range(BLOCK)] for first in combinations(range(BLOCK), BLOCK // 2)]
    return [np.array([*chain(*chosen)][:pairs]) for chosen in product(block, repeat=-(-pairs // BLOCK))]


def never_wrong_too_often(tails: Callable[[Bools], Tails], pairs: int) -> None:
    """P ≤ a in at most the part a of all orders, for every a."""
    found = np.array([tails(order) for order in all_orders(pairs)])
    for side in (0, 1):
        for level in np.unique(found[:, side]):
            assert (found[:, side] <= level + 1e-12).mean() <= level + 1e-9


@pytest.mark.usefixtures("short_blocks")
class TestAllOrders:
    """Twins: whatever their slots took, only the labels are chance."""

    @given(slots=DIFFERENCES)
    @settings(max_examples=4, deadline=None)
    @pytest.mark.parametrize("test", [flip_tails, mean_tails])
    def test_sign_flips(self, test: Callable[..., Tails], slots: list[float]) -> None:
        """Exact, or more careful."""
        first_minus_second = np.array(slots)
        never_wrong_too_often(
            lambda order: test(np.where(order, first_minus_second, -first_minus_second), order), len(slots)
        )

    @given(slots=TURNS)
    @settings(max_examples=10, deadline=None)
    @pytest.mark.parametrize("statistic", ["max", "min"])
    def test_extremes(self, statistic: extremes_module.Extreme, slots: list[tuple[int, int]]) -> None:
        """The p-values are the shares of all orders with as large a difference."""
        first, second = ([np.array([value[at], 4.0]) for value in slots] for at in (0, 1))

        def sides(order: Bools) -> tuple[list[np.ndarray], list[np.ndarray]]:  # type: ignore[type-arg]
            both = list(zip(first, second, order, strict=True))
            return [a if is_first else b for a, b, is_first in both], [b if is_first else a for a, b, is_first in both]

        def lead(order: Bools) -> float:
            ours, theirs = (np.concatenate(side) for side in sides(order))
            return float(ours.max() - theirs.max() if statistic == "max" else ours.min() - theirs.min())

        orders = all_orders(len(slots))
        leads = np.array([lead(order) for order in orders])
        for order in orders[:: len(orders) // 7]:
            seen = lead(order)
            expected = (float((leads >= seen).mean()), float((leads <= seen).mean()))
            assert extreme_tails(*sides(order), statistic, order) == pytest.approx(expected)


def test_extremes_reach_any_level() -> None:
    """What fixed draws could not: all of sixty turns apart are rarer than one in a million orders."""
    order = np.array(draw_orders(60, 1))
    low = [np.array([float(at)]) for at in range(60)]
    high = [turn + 100 for turn in low]
    more, less = extreme_tails(high, low, "max", order)
    assert more < 1e-15
    assert less == 1.0
    assert extreme_tails(low, high, "min", order)[1] == pytest.approx(more)


def test_sign_flips_reach_any_level() -> None:
    """And agree with the normal law in the middle; above the count's limit that law is taken, and never bolder."""
    chance = np.random.default_rng(2)
    order = np.array(draw_orders(60, 1))
    assert flip_tails(chance.normal(5, 1, 60), order)[0] < 1e-13
    for shift in (-0.2, 0.1, 0.3):
        d = chance.normal(shift, 1, 60)
        exact, roughly = flip_tails(d, order), flip_tails(d, order, exact=False)
        assert exact == pytest.approx(roughly, rel=0.1, abs=1e-3)
        many = np.array(draw_orders(400, 1))
        longer = chance.normal(shift / 3, 1, 400)
        assert flip_tails(longer, many)[0] >= flip_tails(longer, many, exact=False)[0]


def test_lost_pairs_say_nothing() -> None:
    """With nothing but lost pairs, or without any difference, neither is."""
    order = np.array(draw_orders(12, 3))
    for d in (np.full(12, np.nan), np.zeros(12)):
        assert mean_tails(d, order) == (1.0, 1.0)
    d = np.random.default_rng(1).normal(1, 1, 12)
    d[[3, 7]] = np.nan
    greater, less = mean_tails(d, order)
    assert greater < less


@given(st.floats(-100, 100), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_what_the_slot_adds_is_no_difference(slot: float, seed: int) -> None:
    """A second slot that is always slower, however much, changes nothing."""
    chance = np.random.default_rng(seed)
    first = np.array(draw_orders(24, seed))
    noise = chance.normal(0.5, 1, 24)
    assert mean_tails(noise + np.where(first, -slot, slot), first) == pytest.approx(mean_tails(noise, first), rel=0.02)


def test_rows_are_what_single_comparisons_are() -> None:
    """What simulations use for many comparisons is the law of one."""
    chance = np.random.default_rng(4)
    orders = np.array([draw_orders(60, seed) for seed in range(20)])
    d = chance.normal(0.2, 1, (20, 60)) + (chance.random((20, 60)) < 0.05) * 5
    slots = without_slot(np.where(orders, d, -d))
    flips = normal_flip_tails(slots, orders)
    skewed = skew_tails(np.where(orders, slots, -slots))
    for row in range(20):
        expected = tuple(max(float(flips[side][row]), float(skewed[side][row])) for side in (0, 1))
        assert mean_tails(d[row], orders[row], exact=False) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("times", [2, 10])
def test_a_mean_at_its_limit_is_rarely_called_less(share: float, times: float) -> None:
    """Where only the candidate has a tail, and its mean is just what is allowed (2,000 of 100 pairs)."""
    chance = np.random.default_rng(5)
    candidate = np.exp(chance.normal(0, 0.035, (2_000, 100))) * np.where(
        chance.random((2_000, 100)) < share, times, 1.0
    )
    candidate *= 1.1 / (1 + share * (times - 1))
    d = candidate - 1.1 * np.exp(chance.normal(0, 0.035, (2_000, 100)))
    assert (skew_tails(d)[1] <= 0.05).mean() <= 0.06


def test_a_rate_is_the_total_over_the_total_time() -> None:
    """Turns that took longer weigh more; a pair speaks for the candidate by how much the whole would be quicker."""
    ones = np.ones(4)
    seconds = np.array([1.0, 1.0, 1.0, 7.0])
    sums = Sums(ones, ones, ones, seconds)
    assert sums.differences()[3] > 0
    assert sums.differences()[:3] == pytest.approx(0)
    # at the ratio that is true they are balanced
    assert sums.differences(2.5).sum() == pytest.approx(0)
    assert sums.differences(2.4).sum() > 0
