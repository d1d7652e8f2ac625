"""Arrival times of open loops: precomputed, reproducible by seed.

Due times are absolute; the same seed gives the same times.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator
from typing import Final

from pytest_flperf.suite.model import Case, LoadShape

__all__ = ["arrival_seed", "due_times_ns", "traced_times_ns"]

_NS_PER_S: Final = 1_000_000_000


def arrival_seed(run_seed: str, case: Case) -> str:
    """Seed of a case's due times.

    It is made of the run's seed, the scenario and the point of the matrix alone.

    Neither the model nor where the suite lies changes when requests are due: what is compared gets the same load.
    """
    return json.dumps(["due", run_seed, case.scenario.name, case.parameters])


def due_times_ns(load: LoadShape, count: int | None, seed: str) -> Iterator[int]:
    """Due times of an open loop, in ns from its start.

    None is before the one it follows.

    Args:
        load: An open shape with what it needs.
        count: Most requests; None: as many as the duration has room for.
        seed: The same text gives the same times on every machine.

    """
    times = itertools.islice(_due_s(load, random.Random(seed)), count)  # noqa: S311 - no secret: a plan
    end_s = math.inf if load.duration_s is None else load.duration_s
    for due_s in itertools.takewhile(lambda due_s: due_s < end_s, times):
        yield round(due_s * _NS_PER_S)


def traced_times_ns(load: LoadShape, count: int | None, due_s: Iterable[float]) -> Iterator[int]:
    """Due times of a trace, in ns.

    Count and duration limit them; the arguments are those of :func:`due_times_ns`.
    """
    end_s = math.inf if load.duration_s is None else load.duration_s
    for at_s in itertools.takewhile(lambda at_s: at_s < end_s, itertools.islice(due_s, count)):
        yield round(at_s * _NS_PER_S)


def _due_s(load: LoadShape, rng: random.Random) -> Iterator[float]:
    assert load.rate is not None
    if load.kind == "ramp":
        yield from _ramp(load.rate, load.rate_to or load.rate, load.duration_s or 0.0)
        return
    for at in _positions(load, rng):
        yield _risen(at / load.rate, load.ramp_up_s)


def _positions(load: LoadShape, rng: random.Random) -> Iterator[float]:
    """Positions of requests on a line with one per unit on average."""
    if load.kind == "constant":
        yield from map(float, itertools.count())
    elif load.kind == "burst":
        size = load.burst_size or 1
        yield from (float(number - number % size) for number in itertools.count())
    else:
        # Gaps of a gamma distribution with mean 1 and shape k; k = 1 is the exponential one, that is Poisson.
        shape = 1.0 if load.kind == "poisson" else load.burstiness or 1.0
        at = 0.0
        while True:
            yield at
            at += rng.gammavariate(shape, 1 / shape)


def _risen(due_s: float, ramp_up_s: float) -> float:
    """Due time under a ramp-up, from that at the full rate.

    By then, a rate that rises from 0 over ``ramp_up_s`` has sent as much as the full rate has by ``due_s``.

    While it rises t²/(2·ramp_up_s) has been sent by t, afterwards t − ramp_up_s/2.
    """
    if due_s < ramp_up_s / 2:
        return math.sqrt(2 * ramp_up_s * due_s)
    return due_s + ramp_up_s / 2


def _ramp(rate: float, rate_to: float, duration_s: float) -> Iterator[float]:
    """Due times under a rate that changes linearly.

    By time t, rate·t + (rate_to − rate)·t²/(2·duration_s) requests have been sent.
    """
    slope = (rate_to - rate) / duration_s
    total = (rate + rate_to) / 2 * duration_s
    for number in itertools.count():
        if number >= total:
            return
        # The root that is stable for small slopes: 2n / (rate + √(rate² + 2·slope·n)).
        yield 2 * number / (rate + math.sqrt(max(rate * rate + 2 * slope * number, 0.0)))
