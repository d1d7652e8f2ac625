"""Sweeps: cases of one scenario at several loads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytest_flperf.results.capacity import load_unit
from pytest_flperf.results.records import CaseResult

__all__ = ["LoadPoint", "Sweep", "sweeps_of"]


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """A case of a sweep and its load."""

    load: float
    """Streams of a closed loop, or requests per second of an open one."""
    case: CaseResult


@dataclass(frozen=True, slots=True)
class Sweep:
    """Cases that differ in nothing but model and load."""

    over: str
    """``concurrency`` or ``rate``."""
    points: tuple[LoadPoint, ...]
    """Of all models, in the order of the run."""

    @property
    def unit(self) -> str:
        """Unit of the load: ``streams`` or ``requests/s``."""
        return load_unit(self.over)

    def by_model(self) -> dict[str, list[LoadPoint]]:
        """The points of each model, from the least load on."""
        models: dict[str, list[LoadPoint]] = {}
        for each in self.points:
            models.setdefault(each.case.model, []).append(each)
        return {model: sorted(points, key=lambda each: each.load) for model, points in models.items()}


def sweeps_of(cases: Iterable[CaseResult]) -> tuple[Sweep, ...]:
    """The sweeps of a run: scenarios whose matrix varies the streams or the rate.

    A scenario at one load is a sweep of one point.
    """
    groups: dict[tuple[Any, ...], list[LoadPoint]] = {}
    for case in cases:
        if case.load is None or case.search is not None:
            continue
        over, load = ("concurrency", case.load.concurrency) if case.load.rate is None else ("rate", case.load.rate)
        if over not in case.parameters:
            continue
        others = tuple(sorted((name, repr(value)) for name, value in case.parameters.items() if name != over))
        key = (over, case.suite, case.scenario, case.host, others)
        groups.setdefault(key, []).append(LoadPoint(float(load), case))
    return tuple(Sweep(over, tuple(points)) for (over, *_), points in groups.items())
