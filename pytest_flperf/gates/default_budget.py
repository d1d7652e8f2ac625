"""Default budget: a case without a limit on its error rate has ``error_rate <= 0``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pytest_flperf.gates.budgets import Budget, holding, parse_budget
from pytest_flperf.results.records import BudgetVerdict, Measured

__all__ = ["DEFAULT_BUDGET", "applicable", "evaluate"]

DEFAULT_BUDGET: Final = parse_budget("error_rate <= 0", "default")


def applicable(scenario: str, budgets: Iterable[Budget], model: str = "") -> tuple[Budget, ...]:
    """The budgets of one scenario and model, with the default one.

    The default, ``error_rate <= 0``, is left out where one of them limits the error rate.
    """
    chosen = holding(scenario, budgets, model)
    limited = any(budget.metric == "error_rate" and budget.operator in {"<=", "<"} for budget in chosen)
    return chosen if limited else (*chosen, DEFAULT_BUDGET)


def evaluate(case: Measured, budgets: Iterable[Budget]) -> tuple[BudgetVerdict, ...]:
    """The verdicts of all budgets that apply to a case.

    The default budget is included.
    """
    return tuple(budget.judge(case) for budget in applicable(case.scenario, budgets, case.model))
