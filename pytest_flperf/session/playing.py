"""Execution of cases: in turn, or in parallel across providers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_flperf.backends.resolver import Placing
from pytest_flperf.backends.router import SeveralBackends
from pytest_flperf.gates.budgets import Budget, parse_budget
from pytest_flperf.gates.capacity import search_goals
from pytest_flperf.gates.goodput import request_limits
from pytest_flperf.measurement.capacity_search import play_search
from pytest_flperf.measurement.paired import Until
from pytest_flperf.measurement.parallel_targets import THIS_MACHINE, Asked, SideBySide, provider_of
from pytest_flperf.measurement.plan_progress import Counter
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench, CaseRun, Prepared
from pytest_flperf.quality.scorers.hook_calls import Hook
from pytest_flperf.session.options import RunOptions
from pytest_flperf.suite.targets import TargetSpec
from pytest_flperf.telemetry.sampler import Sampler

__all__ = ["begin_beside", "limits_of", "played"]


def limits_of(budgets: Sequence[str], options: RunOptions) -> list[Budget]:
    """Parsed budgets of a case."""
    return [parse_budget(text, "--flperf-budget" if text in options.budgets else "") for text in budgets]


def played(
    bench: Bench,
    prepared: Prepared,
    limits: Sequence[Budget],
    stop_at: float | None,
    *,
    on_request: Callable[[Counter], None] | None = None,
    on_partial: Callable[[CaseRun], None] | None = None,
    until: Until | None = None,
) -> CaseRun:
    """Measure a case whose model is ready.

    A search measures one load after the other.  Arguments are those of ``Bench.play``.
    """
    scenario = prepared.case.scenario

    def play(ready: Prepared, cut_off: Callable[[CaseRun], None] | None) -> CaseRun:
        return bench.play(
            ready,
            on_request=on_request,
            on_partial=cut_off,
            stop_at=stop_at,
            good=request_limits(scenario.name, limits, prepared.case.model),
            until=until,
        )

    if scenario.settings.load.kind == "search":
        goals = search_goals(scenario.name, limits, prepared.case.model)
        return play_search(bench, prepared, play, goals, on_partial)
    return play(prepared, on_partial)


def begin_beside(
    cases: Sequence[Asked],
    placing: Placing,
    options: RunOptions,
    make_recorder: Callable[[], Recorder],
    make_sampler: Callable[[], Sampler],
    stop_at: float | None,
    score: Hook | None = None,
) -> SideBySide | None:
    """Start to measure targets of other providers in parallel.

    What other machines compute is measured while this machine measures its own cases.  None if all targets are of one
    provider, so that nothing is gained.

    Raises:
        BackendError: A target lacks something, such as its key.

    """
    places = {asked.case.model: placing.place(asked.case.target or TargetSpec(asked.case.model)) for asked in cases}
    groups: dict[str, list[Asked]] = {}
    for asked in cases:
        groups.setdefault(provider_of(places[asked.case.model]), []).append(asked)
    if len(groups) < 2:
        return None
    groups.pop(THIS_MACHINE, None)

    def make() -> Bench:
        backends = SeveralBackends(keep_loaded=options.keep_loaded)
        for label, place in places.items():
            backends.add(label, place)
        return Bench(backends, make_recorder(), options.seed, make_sampler(), options.load_processes, score)

    def play(bench: Bench, prepared: Prepared) -> CaseRun:
        return played(bench, prepared, limits_of(prepared.case.scenario.budgets, options), stop_at)

    return SideBySide(groups, make, play)
