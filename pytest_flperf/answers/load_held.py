"""Load that each model held: results of searches, and of sweeps with budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pytest_flperf.results.answer import HeldLoad
from pytest_flperf.results.comparison import DEFAULT_SCOPE
from pytest_flperf.results.records import CaseResult

__all__ = ["loads_of"]

_JUDGED = ("passed", "failed")


def loads_of(cases: Sequence[CaseResult]) -> tuple[HeldLoad, ...]:
    """The highest load that each model held in each scenario, by the run's own budgets."""
    return (*_of_searches(cases), *_of_sweeps(cases))


def _of_searches(cases: Iterable[CaseResult]) -> list[HeldLoad]:
    return [
        HeldLoad(case.model, case.scenario, each.over, each.highest, each.bounded, each.conditions or _limits(case))
        for case in cases
        if case.search is not None
        for each in (case.search, *case.searches)
    ]


def _of_sweeps(cases: Iterable[CaseResult]) -> list[HeldLoad]:
    """Sweeps over streams or rates: the highest load below the first that did not pass."""
    sweeps: dict[tuple[Any, ...], list[tuple[float, CaseResult]]] = {}
    for case in cases:
        load = case.load
        if load is None or case.search is not None:
            continue
        over = "concurrency" if load.rate is None else "rate"
        if over not in case.parameters:
            continue
        others = tuple(sorted((key, repr(value)) for key, value in case.parameters.items() if key != over))
        at = float(load.concurrency if load.rate is None else load.rate)
        sweeps.setdefault((case.suite, case.scenario, case.model, case.host, others, over), []).append((at, case))
    return [held for key, points in sweeps.items() if (held := _held(key[-1], points)) is not None]


def _held(over: str, points: list[tuple[float, CaseResult]]) -> HeldLoad | None:
    """What a sweep held; none where its lowest load, or all but one, was not judged by budgets.

    A load that was not measured ends the sweep too: it may have been the one that missed.
    """
    judged = [case for _, case in points if case.outcome in _JUDGED and _limits(case)]
    if len(judged) < 2:
        return None
    met: list[float] = []
    bounded = False
    for at, case in sorted(points, key=lambda each: each[0]):
        if case.outcome != "passed" or not _limits(case):
            bounded = case.outcome == "failed"
            break
        met.append(at)
    if not met and not bounded:
        return None
    first = judged[0]
    return HeldLoad(first.model, first.scenario, over, met[-1] if met else None, bounded, _limits(first))


def _limits(case: CaseResult) -> tuple[str, ...]:
    return tuple(each.expression for each in case.budgets if each.scope != DEFAULT_SCOPE)
