"""Capacity budgets: the goals of a load search, and their checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pytest_flperf.gates.budgets import OF_SEARCHES, Budget, grows_with_load, holding, same_number
from pytest_flperf.gates.verdict import missed_by
from pytest_flperf.measurement.capacity_search import Goal
from pytest_flperf.suite.model import LoadShape

__all__ = ["problem_of_search", "search_goals"]


def search_goals(scenario: str, budgets: Iterable[Budget], model: str = "") -> tuple[Goal, ...]:
    """Goals of a case's search; the first sets the case's figures.

    There is one goal for each set of conditions that a budget has; conditions replace the case's own limits on the same
    numbers.  One more goal uses the case's own limits alone: where no budget has conditions, where a budget needs it
    (``max_concurrency >= 8``), or where a condition replaces a limit of the case.  The case's figures then come from a
    load that keeps all of its own limits, if there is one.  Throughput is no limit here: it grows with the load, and is
    judged at the load that was found.
    """
    chosen = holding(scenario, budgets, model)
    own = [
        replace(budget, scenarios=None, models=None)
        for budget in chosen
        if budget.metric not in OF_SEARCHES and not grows_with_load(budget)
    ]
    asked = {budget.condition_texts: budget.conditions for budget in chosen if budget.metric in OF_SEARCHES}
    kept = {
        texts: [limit for limit in own if not any(same_number(limit, each) for each in conditions)]
        for texts, conditions in asked.items()
    }
    goals = [Goal(missed_by([*kept[texts], *asked[texts]]), texts) for texts in sorted(asked, key=bool)]
    if () not in asked and (not asked or any(len(limits) < len(own) for limits in kept.values())):
        goals.insert(0, Goal(missed_by(own)))
    return tuple(goals)


def problem_of_search(load: LoadShape, budget: Budget) -> str:
    """Problem of a capacity budget with this load; empty if none."""
    over = OF_SEARCHES.get(budget.metric)
    if over is None:
        return ""
    if load.kind != "search":
        return (
            f"{budget.metric} is what a search finds, but its load is {load.kind}, at one point per case: expected "
            f"load: search, search_over: {over} and search_to: N, or the name of such a scenario before the colon"
        )
    if load.search_over != over:
        return f"{budget.metric} is what a search over {over} finds, but it has search_over: {load.search_over}"
    return ""
