"""Machines to simulate: the logarithm of the latency of each request, one after the other, without any change.

A row is one comparison; its columns are successive requests.  All sizes are shares: 0.03 is 3 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pytest_flperf.stats.inference.permutation import Bools, Floats

__all__ = ["BETWEEN_RUNS", "MACHINES", "NOISE", "ORDER_EFFECT", "series"]

Chance = np.random.Generator
NOISE: Final = 0.035
"""Of one request: 5 % on the ratio of a pair."""
ORDER_EFFECT: Final = 0.04
"""What the second request of a pair takes longer, where the machine has an order effect."""
BETWEEN_RUNS: Final = 0.02
"""Each run's own level: it touches only those that compare one run with another."""


def _quiet(chance: Chance, rows: int, requests: int) -> Floats:
    return chance.normal(0, NOISE, (rows, requests))


def _heavy(chance: Chance, rows: int, requests: int) -> Floats:
    """One request in twelve takes up to several times as long."""
    outlier = chance.random((rows, requests)) < 1 / 12
    return chance.normal(0, NOISE * 0.7, (rows, requests)) + outlier * chance.exponential(0.4, (rows, requests))


def _drifting(chance: Chance, rows: int, requests: int) -> Floats:
    """A slope of up to 20 % over the whole and a random walk."""
    slope = chance.uniform(-0.2, 0.2, (rows, 1)) * np.linspace(0, 1, requests)
    walk = chance.normal(0, 0.006, (rows, requests)).cumsum(axis=1)
    return chance.normal(0, NOISE, (rows, requests)) + slope + walk


def _correlated(chance: Chance, rows: int, requests: int) -> Floats:
    """A first-order autoregression with a correlation of 0.6 between neighbours."""
    noise = chance.normal(0, NOISE, (rows, requests))
    for at in range(1, requests):
        noise[:, at] = 0.6 * noise[:, at - 1] + 0.8 * noise[:, at]
    return noise


def _bursts(chance: Chance, rows: int, requests: int) -> Floats:
    """Another process takes a core for some ten requests, now and then: 30 % more, and noisier."""
    busy = np.zeros((rows, requests), dtype=np.bool_)
    busy[:, 0] = chance.random(rows) < 0.2
    change = chance.random((rows, requests))
    for at in range(1, requests):
        busy[:, at] = np.where(busy[:, at - 1], change[:, at] > 0.1, change[:, at] < 0.025)
    return chance.normal(0, NOISE, (rows, requests)) * (1 + busy) + 0.26 * busy


def _tied(chance: Chance, rows: int, requests: int) -> Floats:
    """A clock with ticks of 5 %, so that many values are equal."""
    return np.asarray(np.round(chance.normal(0, NOISE, (rows, requests)) / 0.05) * 0.05)


def _zeros(chance: Chance, rows: int, requests: int) -> Floats:
    """Four in ten are 0, as of cached tokens; their logarithm is minus infinity."""
    values = chance.normal(0, 4 * NOISE, (rows, requests))
    values[chance.random((rows, requests)) < 0.4] = -np.inf
    return values


def _humps(chance: Chance, rows: int, requests: int) -> Floats:
    """Every other request, by chance, takes twice as long."""
    return chance.normal(0, NOISE, (rows, requests)) + np.log(2) * (chance.random((rows, requests)) < 0.5)


def _tails(chance: Chance, rows: int, requests: int) -> Floats:
    """One request in twenty takes ten times as long."""
    return chance.normal(0, NOISE, (rows, requests)) + np.log(10) * (chance.random((rows, requests)) < 0.05)


def _all(chance: Chance, rows: int, requests: int) -> Floats:
    parts = (_heavy, _drifting, _correlated, _bursts)
    weights = (0.7, 0.7, 0.7, 1.0)
    summed = np.zeros((rows, requests))
    for part, weight in zip(parts, weights, strict=True):
        summed += weight * part(chance, rows, requests)
    return summed


MACHINES: Final[dict[str, tuple[Callable[[Chance, int, int], Floats], bool]]] = {
    "quiet": (_quiet, False),
    "heavy tails": (_heavy, False),
    "drift": (_drifting, False),
    "autocorrelation": (_correlated, False),
    "bursts": (_bursts, False),
    "order effect": (_quiet, True),
    "all of these": (_all, True),
    "ties": (_tied, False),
    "zeros": (_zeros, False),
    "two humps": (_humps, False),
    "tails": (_tails, False),
}
"""Name: what makes the series, and whether there is an order effect."""


def series(name: str, chance: Chance, rows: int, pairs: int) -> tuple[Floats, Bools]:
    """Requests of a machine, two for each pair, and which of them are second in a pair of a machine that minds."""
    make, minds = MACHINES[name]
    values = make(chance, rows, 2 * pairs)
    second = np.zeros(values.shape, dtype=np.bool_)
    second[:, 1::2] = minds
    return values, second
