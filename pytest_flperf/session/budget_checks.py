"""Validation of budgets and rules, before anything is measured.

Covers those of suites and of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pytest_flperf.gates.budgets import Budget, BudgetError, holding, parse_budget, parse_budgets
from pytest_flperf.gates.capacity import problem_of_search
from pytest_flperf.gates.rules import Rule, RuleError, parse_rule
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.suite.bounded_files import display_path
from pytest_flperf.suite.errors import SuiteError, key_path, shown, suggestion
from pytest_flperf.suite.model import Case, Scenario, Suite
from pytest_flperf.suite.parser import KeyPath, read_source
from pytest_flperf.suite.schema.budgets import budget_texts

__all__ = [
    "check_budgets",
    "check_budgets_of_cases",
    "check_own_sides",
    "check_rules",
    "check_scopes",
    "problem_of_case",
]


def check_budgets(suite: Suite) -> None:
    """Refuse malformed budgets and those that match no scenario.

    A budget without a scenario would never apply, and no one would notice.  Raises OptionsError.
    """
    names = [scenario.name for scenario in suite.scenarios]
    for index, scenario in enumerate(suite.scenarios):
        for text in scenario.budgets:
            try:
                budget = parse_budget(text)
            except BudgetError as error:
                raise OptionsError(f"{_place_of(text, index, suite.path)[0]}: {error}") from error
            if budget.category is not None:
                place, of_scenario = _place_of(text, index, suite.path)
                _check_category(budget, [scenario] if of_scenario else suite.scenarios, place)
            if not budget.holds_for(scenario.name):
                place, of_scenario = _place_of(text, index, suite.path)
                _check_scenarios(budget, [scenario.name] if of_scenario else names, place)


def check_rules(suites: Sequence[Suite], of_all: Sequence[Rule]) -> None:
    """Refuse malformed comparison rules and those that match no scenario.

    Raises OptionsError.
    """
    every = [scenario.name for suite in suites for scenario in suite.scenarios]
    for rule in of_all:
        _check_rule(rule, every, "--flperf-fail-on")
        _check_category(rule, [each for suite in suites for each in suite.scenarios], "--flperf-fail-on")
    for suite in suites:
        names = [scenario.name for scenario in suite.scenarios]
        for index, scenario in enumerate(suite.scenarios):
            for text in scenario.fail_on:
                place, of_scenario = _place_of(text, index, suite.path, "fail_on")
                try:
                    rule = parse_rule(text)
                except RuleError as error:
                    raise OptionsError(f"{place}: {error}") from error
                _check_rule(rule, [scenario.name] if of_scenario else names, place)
                _check_category(rule, [scenario] if of_scenario else suite.scenarios, place)


def check_own_sides(suites: Sequence[Suite], *, interleaved: str) -> None:
    """Refuse other sides of scenarios that can't be read, or can't be measured; raises OptionsError.

    Args:
        suites: All of the run.
        interleaved: Option that excludes a scenario's own side; empty: none does.

    """
    from pytest_flperf.suite.against import parse_own_against

    for suite in suites:
        for scenario in suite.scenarios:
            if not scenario.against:
                continue
            where = f"{suite.ref}: scenario {shown(scenario.name)}: against"
            try:
                parse_own_against(scenario.against, where)
            except SuiteError as error:
                raise OptionsError(str(error)) from error
            kind = scenario.settings.load.kind
            if kind != "closed" or scenario.plays_tools:
                found = f"load: {kind}" if kind != "closed" else "tool_results"
                raise OptionsError(
                    f"{where}: found it with {found}, expected load: closed without tool_results, whose requests can "
                    "be measured in turns; against: '' where the suite's defaults have another side"
                )
            if interleaved:
                raise OptionsError(f"{where}: it is measured turn by turn and can't be combined with {interleaved}")


def _check_rule(rule: Rule, names: Sequence[str], place: str) -> None:
    if not any(map(rule.holds_for, names)):
        raise OptionsError(
            f"{place}: rule {shown(rule.expression)}: found {shown(rule.scenarios)} before the colon, expected the "
            f"name of a scenario or a pattern of names; {suggestion(rule.scenarios or '', names)}"
        )


def check_budgets_of_cases(suite: Suite, cases: Sequence[Case]) -> None:
    """Refuse budgets that no case can meet; raises OptionsError.

    That is a budget on a search result for a case without that search, or a budget for an unknown model.

    A suite that names its models may have budgets for these and for the measured ones.  Where it names none, the
    command line chooses, and the suite may have budgets for any model.
    """
    for problem in _problems_of_cases(cases):
        raise OptionsError(f"{suite.ref}: {problem}")
    known = [*suite.models, *(target.label for target in suite.targets)]
    if not known:
        return
    known += dict.fromkeys(case.model for case in cases)
    for index, scenario in enumerate(suite.scenarios):
        for text in scenario.budgets:
            budget = parse_budget(text)
            if not any(map(budget.holds_for_model, known)):
                _check_models(budget, known, _place_of(text, index, suite.path)[0])


def _problems_of_cases(cases: Sequence[Case]) -> Iterable[str]:
    parsed = cache(parse_budget)
    seen = set()  # thousands of points of a matrix share a key
    for case in cases:
        load = case.scenario.settings.load
        key = (case.scenario.name, case.model, case.scenario.budgets, load.kind, load.search_over)
        if key not in seen:
            seen.add(key)
            problem = problem_of_case(case, map(parsed, case.scenario.budgets))
            if problem:
                yield problem


def problem_of_case(case: Case, budgets: Iterable[Budget]) -> str:
    """First problem with a budget on a search result.

    The case's load must search for that result.  Empty if there is no problem.
    """
    scenario = case.scenario
    for budget in holding(scenario.name, budgets, case.model):
        problem = problem_of_search(scenario.settings.load, budget)
        if problem:
            return f"scenario {shown(scenario.name)}: budget {shown(budget.expression)}: {problem}"
    return ""


def check_scopes(budgets: tuple[str, ...], suites: Sequence[Suite], models: Sequence[str]) -> None:
    """Refuse command-line budgets that match no scenario or measured model.

    Raises OptionsError.
    """
    names = [scenario.name for suite in suites for scenario in suite.scenarios]
    for budget in parse_budgets(budgets):
        _check_scenarios(budget, names, "--flperf-budget")
        _check_category(budget, [each for suite in suites for each in suite.scenarios], "--flperf-budget")
        _check_models(budget, models, "--flperf-budget")


def _check_scenarios(budget: Budget, names: Sequence[str], place: str) -> None:
    if not any(map(budget.holds_for, names)):
        raise OptionsError(
            f"{place}: budget {shown(budget.expression)}: found {shown(budget.scenarios)} before the colon, expected "
            f"the name of a scenario or a pattern of names; {suggestion(budget.scenarios or '', names)}"
        )


def _check_category(limit: Budget | Rule, scenarios: Iterable[Scenario], place: str) -> None:
    """Refuse a category that no row has: the number would never be there.

    Rows of the scenarios that it holds for count.
    """
    if limit.category is None:
        return
    sources = [each.source for each in scenarios if limit.holds_for(each.name) and each.source is not None]
    known = dict.fromkeys(row.scored.category for source in sources for row in source.rows if row.scored.category)
    if limit.category not in known:
        hint = suggestion(limit.category, known) if known else "no row has one"
        raise OptionsError(
            f"{place}: {shown(limit.expression)}: found {shown(limit.category)} in brackets, expected a category of "
            f"the data set's rows; {hint}"
        )


def _check_models(budget: Budget, models: Sequence[str], place: str) -> None:
    if not any(map(budget.holds_for_model, models)):
        raise OptionsError(
            f"{place}: budget {shown(budget.expression)}: found {shown(budget.models)} after the @, expected the name "
            f"of a model or a pattern of names; {suggestion(budget.models or '', models)}"
        )


def _place_of(budget: str, scenario: int, path: Path, key: str = "budgets") -> tuple[str, bool]:
    """Location of a budget or rule in a suite.

    File, line if known, and key path; and whether it is a scenario's own.
    """
    source = read_source(path)
    places: tuple[KeyPath, ...] = (("scenarios", scenario, key), (key,), ("defaults", key))
    for keys in places:
        found: Any = source.data
        for step in keys:
            found = found[step] if isinstance(step, int) else (found or {}).get(step)
        for below, text in budget_texts(found) if found is not None else ():
            if text == budget:
                at = (*keys, *below)
                line = source.line_of(at)
                place = f"{display_path(path)}{'' if line is None else f':{line}'}: {key_path(at)}"
                return place, keys[0] == "scenarios"
    return display_path(path), False
