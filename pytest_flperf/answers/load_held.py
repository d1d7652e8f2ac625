"""Load that each model held: results of searches, and of sweeps with budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_flperf.answers.sweeps import LoadPoint, sweeps_of
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
    found = (_held(sweep.over, points) for sweep in sweeps_of(cases) for points in sweep.by_model().values())
    return [held for held in found if held is not None]


def _held(over: str, points: Sequence[LoadPoint]) -> HeldLoad | None:
    """What a sweep held; none where its lowest load, or all but one, was not judged by budgets.

    A load that was not measured ends the sweep too: it may have been the one that missed.

    Args:
        over: ``concurrency`` or ``rate``.
        points: Of one model, from the least load on.

    """
    judged = [each.case for each in points if each.case.outcome in _JUDGED and _limits(each.case)]
    if len(judged) < 2:
        return None
    met: list[float] = []
    bounded = False
    for each in points:
        if each.case.outcome != "passed" or not _limits(each.case):
            bounded = each.case.outcome == "failed"
            break
        met.append(each.load)
    if not met and not bounded:
        return None
    first = judged[0]
    return HeldLoad(first.model, first.scenario, over, met[-1] if met else None, bounded, _limits(first))


def _limits(case: CaseResult) -> tuple[str, ...]:
    return tuple(each.expression for each in case.budgets if each.scope != DEFAULT_SCOPE)
