"""Recovery log: what a recovery must know of a case."""

from __future__ import annotations

from pytest_flperf.measurement.case_run import CaseRun, Prepared
from pytest_flperf.measurement.paired import Interleaving, Until
from pytest_flperf.measurement.recording import BesideEach
from pytest_flperf.results.run_log import BegunSide, PlayedCase
from pytest_flperf.telemetry.readings import ServerProcesses

__all__ = ["log_plan", "played_record"]


def log_plan(
    prepared: Prepared, server: ServerProcesses, turns: Interleaving | None, until: Until | None, *, by_hook: bool
) -> None:
    """Write the plan of a case down, before its first request.

    Args:
        prepared: The case.
        server: Processes that serve it.
        turns: Turns of the case and its other side; None: it is measured alone.
        until: When these are decided.
        by_hook: Whether a hook scores answers.

    """
    beside, side = prepared.beside, None
    if beside is not None and turns is not None and until is not None:
        filed = beside.recording.nodeid
        beside.recording.follow(
            BesideEach(prompt_of=beside.plans.prompts.journal_prompt_of, rows=beside.plans.prompts.rows)
        )
        expected = beside.recording.expected(
            beside.plans.prompts.expect, by_rows=beside.plans.prompts.rows_expect, by_hook=by_hook
        )
        side = BegunSide(
            beside.planned, filed, until.looks, turns.order_seed, turns.shared_cache, until.terms, expected
        )
    plans = prepared.plans
    prepared.recording.begin(
        prepared.planned,
        prepared.case.scenario.budgets,
        beside_each=BesideEach(lambda: plans.notes, plans.prompts.journal_prompt_of, plans.prompts.rows),
        load=prepared.load,
        beside=side,
        server=server.to_record(),
        expected=prepared.recording.expected(plans.prompts.expect, by_rows=plans.prompts.rows_expect, by_hook=by_hook),
    )


def played_record(done: CaseRun, notes: tuple[str, ...]) -> PlayedCase:
    """Record of a measured case; ``notes``: those known when it ended."""
    result, standings = done.result, done.other.standings if done.other is not None else None
    return PlayedCase(
        trouble=done.trouble,
        out_of_time=done.out_of_time,
        notes=notes,
        loop_ms=result.clock.loop_ms,
        loop_histogram=result.clock.loop_histogram,
        resources=result.resources,
        resources_absent=result.resources_absent,
        look=standings.look if standings is not None else 0,
        pairs=len(standings.turns) if standings is not None else 0,
    )
