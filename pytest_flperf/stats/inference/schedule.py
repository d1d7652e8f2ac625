"""Schedule of paired comparisons: orders, looks, error spending.

No numpy.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["FIRST_LOOK", "ORDER_BLOCK", "draw_orders", "looks", "spent_at"]

ORDER_BLOCK: Final = 20
"""Pairs.  The candidate comes first in exactly half of each block: what the slot adds is then the same for both sides.
Smaller blocks leave fewer orders to choose from, and so can't show what is rare by chance: 3 blocks of 4 have 216."""

FIRST_LOOK: Final = 12
"""Pairs.  Fewer can't decide: n pairs have 2ⁿ ways to be swapped, and a median needs 11 requests."""
_AFTER_FIRST: Final = 20
_GROWTH: Final = 2**0.5
_LEAST_GROWTH: Final = 1.15
_WEIGHTS: Final = {"first": 1.0, "second": 7.0, "between": 2.0, "last": 7.0}


def draw_orders(pairs: int, seed: int) -> tuple[bool, ...]:
    """Draw which side comes first in each pair, in permuted blocks.

    True where the candidate comes first.  Blocks have 20 pairs; the last one is cut off.

    The tests of pairs hold for this law and no other.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    half = ORDER_BLOCK // 2
    orders: list[bool] = []
    while len(orders) < pairs:
        block = [True] * half + [False] * half
        chance.shuffle(block)
        orders += block
    return tuple(orders[:pairs])


def looks(max_pairs: int, first: int = FIRST_LOOK) -> tuple[int, ...]:
    """Looks: numbers of pairs after which the data are judged.

    The first, then (from the usual 12) 20, then growing by √2; the last is always ``max_pairs``: 12, 20, 28, 40, 60.

    Raises:
        ValueError: Fewer than one pair.

    """
    if max_pairs < 1 or first < 1:
        raise ValueError(f"at least one pair is looked at: first {first}, at most {max_pairs}")
    found = [first]
    at: float = _AFTER_FIRST if first == FIRST_LOOK else first * _GROWTH
    while round(at) <= max_pairs:
        found.append(round(at))
        at *= _GROWTH
    kept = [look for look in found if look * _LEAST_GROWTH <= max_pairs]
    return tuple(sorted({*kept, max_pairs}))


def spent_at(look: int, looks: int) -> float:
    """Part of an error rate that this look may spend.

    The parts of all looks make 1.

    The chance to be wrong at any look is at most the sum of the chances at each (Bonferroni), however the looks depend
    on each other, so any fixed parts are valid.  These favour the second look (20 pairs) and the last, where most
    decisions fall, and leave little to the first, at which only the largest changes show.

    Args:
        look: 1 for the first.
        looks: How many there may be in all.

    Raises:
        ValueError: No such look.

    """
    if not 1 <= look <= looks:
        raise ValueError(f"look {look} of {looks}")
    return _weight(look, looks) / sum(_weight(each, looks) for each in range(1, looks + 1))


def _weight(look: int, looks: int) -> float:
    if look == looks:
        return _WEIGHTS["last"]
    return _WEIGHTS[{1: "first", 2: "second"}.get(look, "between")]
