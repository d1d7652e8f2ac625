"""Capacity search: the highest load that meets the budgets.

It also finds the saturation: the load from which more load gives no more throughput.

The load doubles until a budget is missed or the highest that was asked for is reached; then the gap between the last
load that met them and the first that didn't is halved until it is small.  It takes for granted that a higher load is
not better: a load above one that failed is not tried.  Several searches of one case share the loads that were played.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from pytest_flperf.measurement.runner import Bench, CaseRun, Prepared
from pytest_flperf.results.capacity import Search, SearchStep
from pytest_flperf.results.records import Measured
from pytest_flperf.results.run_log import SearchLoad
from pytest_flperf.suite.load_shapes import at_load
from pytest_flperf.suite.model import LoadShape

__all__ = ["Goal", "Missed", "SearchPlan", "play_search", "search", "search_plan", "searched"]

Missed: TypeAlias = Callable[[Measured], str]
"""The first budget that a result misses, in words; empty where it meets all."""
OnPartial: TypeAlias = Callable[[CaseRun], None]
"""Told what was measured where an interrupt ends it."""
_CLOSE_ENOUGH: Final = 1.1
_MOST_STEPS: Final = 24
_SATURATED: Final = 0.95


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """Range of loads that a search covers."""

    over: str
    """``concurrency`` or ``rate``."""
    lowest: float
    highest: float

    def between(self, met: float, missed: float) -> float | None:
        """Next load to try; None where the two are close enough.

        It lies between one that met the budgets and one that missed them.
        """
        if self.over == "concurrency":
            middle = (int(met) + int(missed)) // 2
            return float(middle) if missed / met > _CLOSE_ENOUGH and met < middle < missed else None
        return math.sqrt(met * missed) if missed / met > _CLOSE_ENOUGH else None


def search_plan(load: LoadShape) -> SearchPlan:
    """Search range of a scenario's load."""
    assert load.search_to is not None
    return SearchPlan(load.search_over, load.search_from, load.search_to)


@dataclass(frozen=True, slots=True)
class Goal:
    """Goal of a search: the highest load within these limits."""

    missed: Missed
    conditions: tuple[str, ...] = ()
    """Those of the limits that a single budget asked for, as written; none: only the case's own limits."""


def search(plan: SearchPlan, play: Callable[[float], CaseRun | None], goals: Sequence[Goal]) -> CaseRun:
    """Search the highest load of each goal.

    Returns the run at the first goal's highest load or, where no load met it, at the lowest load of all.

    Args:
        plan: Where to look.
        play: Plays the case at a load; called once for each load, whoever asks for it.  None: nothing more is played.
        goals: One or more.

    """
    played: dict[float, CaseRun] = {}

    def once(load: float) -> CaseRun | None:
        if load not in played:
            if any(done.out_of_time for done in played.values()):
                return None
            done = play(load)
            if done is None:
                return None
            played[load] = done
        return played[load]

    found = [_look(plan, once, goal) for goal in goals]
    (first, run), *others = found
    assert run is not None  # the first of all loads was played for it
    searches = tuple(search for search, _ in others)
    out_of_time = any(done.out_of_time for done in played.values())
    return replace(run, result=replace(run.result, search=first, searches=searches), out_of_time=out_of_time)


def _look(plan: SearchPlan, play: Callable[[float], CaseRun | None], goal: Goal) -> tuple[Search, CaseRun | None]:
    """Search for one goal; what it finds, and its run.

    The figures are those of the best run, else of the run that ended the search.
    """
    steps: list[SearchStep] = []
    best: CaseRun | None = None
    met, bad = 0.0, math.inf
    load: float | None = plan.lowest
    while load is not None and len(steps) < _MOST_STEPS:
        done = play(load)
        if done is None:
            break
        if done.out_of_time and not done.result.requests.total:  # it says nothing of the load
            best = best or done
            break
        step = _step(load, done, goal.missed(done.result))
        steps.append(step)
        if done.out_of_time:
            best = best or done
            break
        if step.met:
            best, met = done, load
        else:
            bad = load
            if best is None:
                best = done
                break
        if bad < math.inf:
            load = plan.between(met, bad)
        else:
            load = min(2 * load, plan.highest) if load < plan.highest else None
    return _found(plan, steps, met, goal.conditions), best


def _step(load: float, done: CaseRun, missed: str) -> SearchStep:
    result = done.result
    ttft, e2e = result.metric("ttft_ms"), result.metric("e2e_ms")
    return SearchStep(
        load=load,
        met=not missed and not done.trouble,
        missed=done.trouble or missed,
        requests=result.requests.total,
        request_rate=result.request_rate,
        tps_total=result.tps_total,
        ttft_p95_ms=ttft.p95 if ttft is not None else None,
        e2e_p95_ms=e2e.p95 if e2e is not None else None,
    )


def _found(plan: SearchPlan, steps: list[SearchStep], met: float, conditions: tuple[str, ...]) -> Search:
    return Search(
        over=plan.over,
        highest=met or None,
        bounded=any(not step.met for step in steps),
        saturation=_saturation(steps),
        steps=tuple(steps),
        conditions=conditions,
    )


def _saturation(steps: list[SearchStep]) -> float | None:
    """The lowest load with 95 % of the highest throughput.

    None unless a higher load was tried and gave no more.
    """
    throughput = {step.load: step.tps_total or step.request_rate or 0.0 for step in steps}
    most = max(throughput.values(), default=0.0)
    enough = sorted(load for load, each in throughput.items() if most and each >= _SATURATED * most)
    return enough[0] if enough and enough[0] < max(throughput) else None


def searched(plan: SearchPlan, played: Mapping[float, CaseRun], goals: Sequence[Goal]) -> CaseRun:
    """Result of a search that ended early, as of :func:`search`.

    Args:
        plan: Where it looked.
        played: What came of each load; one that was cut off is out of time.
        goals: What it looked for.

    Raises:
        ValueError: The lowest load is not there, with which each search begins.

    """
    if plan.lowest not in played:
        raise ValueError(f"the search has no load {plan.lowest:g}")
    return search(plan, played.get, goals)


def play_search(
    bench: Bench,
    prepared: Prepared,
    play: Callable[[Prepared, OnPartial], CaseRun],
    goals: Sequence[Goal],
    on_partial: OnPartial | None = None,
) -> CaseRun:
    """Search the capacity of a case whose model is ready.

    Each load has its own place in the journal.

    Args:
        bench: Plays the case.
        prepared: The case.
        play: Plays it at one load; tells what was measured where an interrupt ends it.
        goals: What is looked for.
        on_partial: Told what the search had found where an interrupt ends it.

    """
    plan = search_plan(prepared.case.scenario.settings.load)
    played: dict[float, CaseRun] = {}

    def at(load: float) -> CaseRun:
        def cut_off(partial: CaseRun) -> None:
            if on_partial is not None:
                on_partial(searched(plan, {**played, load: replace(partial, out_of_time=True)}, goals))

        case = at_load(prepared.case, plan.over, load)
        ready = bench.prepared_at(prepared, case, SearchLoad(plan.over, plan.lowest, plan.highest, load))
        played[load] = play(ready, cut_off)
        return played[load]

    return search(plan, at, goals)
