"""Tests of a statistic of all requests of a side, by swapping the labels of whole turns, with a fixed seed."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import numpy as np

from pytest_flperf.stats.deciding import Tails
from pytest_flperf.stats.orders import Bools, Floats
from pytest_flperf.stats.schedule import ORDER_BLOCK

__all__ = ["DRAWS", "Turn", "label_swaps"]

Turn = Literal["max", "min", "stdev"]

DRAWS: Final = 40_000
"""The least p-value that they can show is 1 in 40,001."""
_SEED: Final = 20261121


def label_swaps(
    candidate: list[Floats], baseline: list[Floats], statistic: Turn, candidate_first: Bools, draws: int = DRAWS
) -> Tails:
    """P-values of "swapping the labels of a pair changes nothing", for the difference of the statistic.

    Of the orders that might have been drawn, so many are drawn again; the p-value is (1 + those with as much) /
    (1 + all), which is valid for any number of draws (Phipson and Smyth 2010, Statistical Applications in Genetics 9).

    Args:
        candidate: Values of each pair, in order; none for a lost pair.
        baseline: Likewise.
        statistic: ``max``, ``min`` or ``stdev``.
        candidate_first: The order within each pair.
        draws: How many.

    """
    first = [c if is_first else b for c, b, is_first in zip(candidate, baseline, candidate_first, strict=True)]
    second = [b if is_first else c for c, b, is_first in zip(candidate, baseline, candidate_first, strict=True)]
    orders = np.concatenate([candidate_first[None, :], _orders(len(first), draws)])
    gap = _stdev_gap(first, second, orders) if statistic == "stdev" else _extreme_gap(first, second, orders, statistic)
    seen, gap = gap[0], gap[1:]
    slack = 1e-12 * max(abs(seen), 1e-300)
    more, less = int((gap >= seen - slack).sum()), int((gap <= seen + slack).sum())
    return (1 + more) / (1 + draws), (1 + less) / (1 + draws)


def _extreme_gap(first: list[Floats], second: list[Floats], orders: Bools, statistic: Turn) -> Floats:
    sign = 1.0 if statistic == "max" else -1.0
    one, two = (np.array([max(sign * turn, default=-np.inf) for turn in slot]) for slot in (first, second))
    candidate = np.where(orders, one, two).max(axis=1)
    baseline = np.where(orders, two, one).max(axis=1)
    return np.asarray(sign * (candidate - baseline))


def _stdev_gap(first: list[Floats], second: list[Floats], orders: Bools) -> Floats:
    centre = np.concatenate([*first, *second]).mean()
    one, two = (
        np.array([[len(turn), (turn - centre).sum(), ((turn - centre) ** 2).sum()] for turn in slot])
        for slot in (first, second)
    )
    of_candidate = orders.astype(np.float64) @ (one - two) + two.sum(axis=0)
    return _stdev(of_candidate) - _stdev((one + two).sum(axis=0) - of_candidate)


def _stdev(sums: Floats) -> Floats:
    count, total, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    return np.sqrt(np.maximum(squares - total**2 / np.maximum(count, 1), 0) / np.maximum(count - 1, 1))


@lru_cache(maxsize=4)
def _orders(pairs: int, draws: int) -> Bools:
    """Orders as :func:`~pytest_flperf.stats.schedule.draw_orders` draws them, a row each."""
    chance = np.random.default_rng(_SEED)
    blocks = -(-pairs // ORDER_BLOCK)
    place = chance.random((draws, blocks, ORDER_BLOCK), dtype=np.float32).argsort(axis=-1)
    return (place < ORDER_BLOCK // 2).reshape(draws, -1)[:, :pairs]
