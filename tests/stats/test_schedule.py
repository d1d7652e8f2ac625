"""The plan of a comparison by pairs: orders, looks, and what each look may spend."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.schedule import ORDER_BLOCK, draw_orders, looks, spent_at


@given(st.integers(1, 2000), st.integers(1, 40))
def test_looks_grow_up_to_the_most_pairs(most: int, first: int) -> None:
    """They rise, the last is the most, and none is just short of it."""
    found = looks(most, first)
    assert found[-1] == most
    assert all(later > earlier for earlier, later in pairwise(found))
    assert all(look * 1.15 <= most for look in found[:-1])


def test_usual_looks() -> None:
    """At 20 and at 60, for which detection is promised."""
    assert looks(60) == (12, 20, 28, 40, 60)
    assert looks(5) == (5,)


@given(st.integers(1, 30))
def test_looks_spend_all_and_no_more(count: int) -> None:
    """The parts make one, and the last is never the least."""
    parts = [spent_at(look, count) for look in range(1, count + 1)]
    assert sum(parts) == pytest.approx(1)
    assert parts[-1] == max(parts)
    assert min(parts) > 0


@pytest.mark.parametrize(("look", "count"), [(0, 3), (4, 3)])
def test_a_look_that_is_none(look: int, count: int) -> None:
    """It spends nothing: an error."""
    with pytest.raises(ValueError, match=f"look {look} of {count}"):
        spent_at(look, count)


def test_nothing_to_look_at() -> None:
    """No pairs, no looks."""
    with pytest.raises(ValueError, match="at least one pair"):
        looks(0)


@given(st.integers(0, 200), st.integers())
def test_orders_are_balanced_in_blocks(pairs: int, seed: int) -> None:
    """Each whole block has as many of the one as of the other; the same seed draws the same."""
    orders = draw_orders(pairs, seed)
    assert len(orders) == pairs
    assert orders == draw_orders(pairs, seed)
    for at in range(0, pairs - ORDER_BLOCK + 1, ORDER_BLOCK):
        assert sum(orders[at : at + ORDER_BLOCK]) == ORDER_BLOCK // 2


def test_longer_orders_begin_like_shorter_ones() -> None:
    """So a comparison may go on."""
    assert draw_orders(60, 7)[:33] == draw_orders(33, 7)


def test_planning_imports_no_numpy() -> None:
    """Who only asks for a comparison doesn't pay for the arithmetic."""
    code = "import sys; from pytest_flperf.stats.inference import findings, schedule; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
