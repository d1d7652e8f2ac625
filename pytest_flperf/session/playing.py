"""Execution of a case: its plan, or one load of a search after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_flperf.gates.budgets import Budget, parse_budget
from pytest_flperf.gates.capacity import search_goals
from pytest_flperf.gates.goodput import request_limits
from pytest_flperf.measurement.capacity_search import play_search
from pytest_flperf.measurement.paired import Until
from pytest_flperf.measurement.plan_progress import Counter
from pytest_flperf.measurement.runner import Bench, CaseRun, Prepared
from pytest_flperf.session.options import RunOptions

__all__ = ["limits_of", "played"]


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
