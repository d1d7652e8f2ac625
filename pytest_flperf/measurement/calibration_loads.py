"""Calibration loads: the shape of a case, bounded in time.

Where the load changes, its busiest seconds are played.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytest_flperf.measurement.arrivals import due_times_ns, traced_times_ns
from pytest_flperf.results.load import Load
from pytest_flperf.suite.load_shapes import at_load
from pytest_flperf.suite.model import Case, LoadShape

__all__ = ["Probe", "closed_probe", "poisson_probe", "probe_of"]

_NS_PER_S: Final = 1_000_000_000
_SEED: Final = "calibration"
_SECONDS: Final = 5.0
_SHORT_S: Final = 1.0
_LONGEST_S: Final = 60.0
_FEWEST: Final = 10
"""Requests of an open loop, for which a slow one is played longer."""
_ROUNDS: Final = 6
_SHORT_ROUNDS: Final = 3
_FEWEST_CLOSED: Final = 60
_FEWEST_CLOSED_SHORT: Final = 20
_ANSWER_S: Final = 0.5
"""About how long an answer of the reference server takes, so that think time leaves room for two rounds."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Calibration load: its shape and its due times."""

    load: Load
    """``iterations`` is how many requests there are, ``duration_s`` after which none is sent."""
    due_ns: tuple[int, ...] = ()
    """Of an open loop, from its begin."""

    @property
    def streams(self) -> int:
        """Most requests in flight at a time."""
        return self.load.max_in_flight if self.load.max_in_flight is not None else self.load.concurrency

    @property
    def peak(self) -> float:
        """Streams of a closed loop, or most requests due within a second."""
        return float(len(_busiest(self.due_ns, 1.0))) if self.due_ns else float(self.load.concurrency)


def probe_of(case: Case, processes: int, *, short: bool) -> Probe:
    """Calibration load of a case; for a search, its highest load."""
    shape = case.scenario.settings.load
    if shape.kind == "search":
        case = at_load(case, shape.search_over, shape.search_to or 1.0)
    settings = case.scenario.settings
    if not settings.load.is_open:
        return closed_probe(settings.concurrency, processes, short=short, think_time_s=settings.load.think_time_s)
    return _open_probe(settings.load, _own_times(case), processes, short=short)


def closed_probe(streams: int, processes: int, *, short: bool, think_time_s: float = 0.0) -> Probe:
    """Closed loop: some rounds of all streams.

    With think time, it leaves room for two rounds, up to a minute.
    """
    rounds, fewest = (_SHORT_ROUNDS, _FEWEST_CLOSED_SHORT) if short else (_ROUNDS, _FEWEST_CLOSED)
    seconds = max(_SHORT_S if short else _SECONDS, min(2 * (think_time_s + _ANSWER_S), _LONGEST_S))
    load = Load(
        shape="closed",
        concurrency=streams,
        iterations=max(rounds * streams, fewest),
        think_time_s=think_time_s or None,
        duration_s=seconds if think_time_s else None,
        processes=processes,
    )
    return Probe(load)


def poisson_probe(rate: float, processes: int, *, short: bool) -> Probe:
    """Open loop with independent (Poisson) arrivals."""
    return _open_probe(LoadShape("poisson", rate=rate), None, processes, short=short)


def _own_times(case: Case) -> list[int] | None:
    """All due times of a case whose rate changes; else None.

    In all other cases, any second is like another.
    """
    settings, source = case.scenario.settings, case.scenario.source
    if settings.load.kind == "trace" and source is not None:
        return list(traced_times_ns(settings.load, settings.iterations, (each.due_s for each in source.trace)))
    if settings.load.kind == "ramp":
        return list(due_times_ns(settings.load, settings.iterations, _SEED))
    return None


def _open_probe(shape: LoadShape, own_ns: list[int] | None, processes: int, *, short: bool) -> Probe:
    seconds = _SHORT_S if short else _SECONDS
    if own_ns is None:
        assert shape.rate is not None
        seconds = max(seconds, min(_FEWEST / shape.rate, _LONGEST_S))
        due_ns = tuple(due_times_ns(replace(shape, ramp_up_s=0.0, duration_s=seconds), None, _SEED))
        rate = shape.rate
    else:
        due_ns = _busiest(own_ns, seconds)
        while len(due_ns) < min(_FEWEST, len(own_ns)) and seconds < _LONGEST_S:
            seconds = min(2 * seconds, _LONGEST_S)
            due_ns = _busiest(own_ns, seconds)
        rate = round(len(due_ns) / seconds, 3)
    load = Load(
        shape=shape.kind,
        iterations=len(due_ns),
        rate=rate,
        burstiness=shape.burstiness,
        burst_size=shape.burst_size,
        max_in_flight=min(shape.max_in_flight, len(due_ns)),
        duration_s=seconds,
        processes=processes,
    )
    return Probe(load, due_ns)


def _busiest(due_ns: Sequence[int], seconds: float) -> tuple[int, ...]:
    """Due times in the busiest window, counted from its first one."""
    span_ns = math.ceil(seconds * _NS_PER_S)
    best = begin = end = 0
    for first, at_ns in enumerate(due_ns):
        while end < len(due_ns) and due_ns[end] < at_ns + span_ns:
            end += 1
        if end - first > best:
            best, begin = end - first, first
    return tuple(each - due_ns[begin] for each in itertools.islice(due_ns, begin, begin + best))
