"""Planning of a run: checked options, targets, and the cases of a suite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_flperf._text import printable
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.history import place_of
from pytest_flperf.suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_flperf.backends.registry import BackendType
    from pytest_flperf.gates.rules import Rule
    from pytest_flperf.session.default_model import DefaultModels
    from pytest_flperf.session.judge.inline import InlineJudge
    from pytest_flperf.session.options import RunOptions
    from pytest_flperf.suite.matrix import Overrides
    from pytest_flperf.suite.model import Case, Suite
    from pytest_flperf.suite.prompts.sources import TracedRequest
    from pytest_flperf.suite.targets import TargetSpec

__all__ = [
    "SuitePlan",
    "check_asked",
    "check_options",
    "judge_in",
    "models_in",
    "overrides_of",
    "plan_suites",
    "pulled_together",
    "targets_in",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """A suite and its cases for this run."""

    suite: Suite
    cases: tuple[Case, ...]


def plan_suites(
    refs: Mapping[Path, str], options: RunOptions, known: Mapping[str, BackendType], default: DefaultModels
) -> dict[Path, SuitePlan]:
    """Load and expand suites, and check them with the options; raises OptionsError.

    Args:
        refs: References of the suites, by file.
        options: Options of the run.
        known: Kinds of backends by name.
        default: Models of suites that name none.

    """
    from pytest_flperf.backends.resolver import PlacingError
    from pytest_flperf.session.budget_checks import (
        check_budgets,
        check_budgets_of_cases,
        check_own_sides,
        check_rules,
        check_scopes,
    )
    from pytest_flperf.session.placing import placing_of
    from pytest_flperf.session.price_checks import check_prices, check_prices_of_targets
    from pytest_flperf.session.scorer_checks import check_scorers
    from pytest_flperf.suite.bounded_files import display_path
    from pytest_flperf.suite.loader import load_suite
    from pytest_flperf.suite.matrix import expand

    overrides = check_asked(options)
    of_all: tuple[Rule, ...] = ()
    if options.fail_on:
        from pytest_flperf.session.paired import rules_of

        of_all = rules_of(options)
    placing = placing_of(options, known)
    plans: dict[Path, SuitePlan] = {}
    try:
        for path, ref in refs.items():
            suite = load_suite(path, ref)
            check_budgets(suite)
            check_scorers(suite)
            targets = targets_of(options, suite, default)
            placing.check(suite.targets, str(display_path(path)))
            placing.check(targets)
            cases = expand(suite, targets, overrides)
            check_budgets_of_cases(suite, cases)
            plans[path] = SuitePlan(suite, cases)
        measured = targets_in(plans.values())
        others: tuple[TargetSpec, ...] = ()
        if options.against is not None:
            from pytest_flperf.session.paired import opposition_of

            opposition = opposition_of(options)
            others = opposition.targets(measured) if opposition is not None else ()
            placing.check(others)
        placing.check_used(measured)
        check_prices_of_targets((*measured, *others))
        for plan in plans.values():
            check_prices(plan.suite, plan.cases, others)
    except (SuiteError, PlacingError) as error:
        raise OptionsError(str(error)) from error
    suites = [plan.suite for plan in plans.values()]
    check_rules(suites, of_all)
    interleaved = "--flperf-reference" if options.reference else ""
    check_own_sides(suites, interleaved=interleaved or "--flperf-parallel-targets" * options.parallel_targets)
    if options.compares:
        from pytest_flperf.session.paired import check_use

        check_use(options, own_sides=any(each.against for suite in suites for each in suite.scenarios))
    check_scopes(options.case_budgets, suites, models_in(plans.values()))
    return plans


def targets_in(plans: Iterable[SuitePlan]) -> tuple[TargetSpec, ...]:
    """Measured targets, one per label."""
    found = {case.model: case.target for plan in plans for case in plan.cases if case.target is not None}
    return tuple(found.values())


def judge_in(plans: Iterable[SuitePlan], options: RunOptions, known: Mapping[str, BackendType]) -> InlineJudge | None:
    """Judge that the suites name, checked; None: they name none.

    Raises OptionsError where it can't be used.
    """
    cases = [case for plan in plans for case in plan.cases]
    if all(case.scenario.judge is None for case in cases):
        return None
    from pytest_flperf.session.judge.inline import judge_of_cases
    from pytest_flperf.session.placing import placing_of

    return judge_of_cases(cases, placing_of(options, known))


def models_in(plans: Iterable[SuitePlan]) -> tuple[str, ...]:
    """Measured models, in the order of the cases."""
    return tuple(dict.fromkeys(case.model for plan in plans for case in plan.cases))


def pulled_together(items: Iterable[_T], model_of: Callable[[_T], str | None]) -> list[_T]:
    """Move each item behind the previous item of its model, so that each model is loaded once.

    The first item of a model stays in its place, and so does an item without a model (None).
    """
    slots: list[list[_T]] = []
    of_model: dict[str, list[_T]] = {}
    for item in items:
        model = model_of(item)
        if model is None:
            slots.append([item])
        elif model in of_model:
            of_model[model].append(item)
        else:
            of_model[model] = [item]
            slots.append(of_model[model])
    return [item for slot in slots for item in slot]


def overrides_of(options: RunOptions) -> Overrides:
    """Command-line overrides for every case; raises OptionsError."""
    from pytest_flperf.suite.matrix import Overrides

    load = dict(options.load)
    trace = load.pop("trace", None)
    try:
        return Overrides(
            iterations=options.iterations,
            warmup=options.warmup,
            concurrency=options.concurrency,
            load=load,
            trace=_trace(trace),
            timeout_s=options.timeout_s,
            max_answer_mb=options.max_answer_mb,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            left_out=options.left_out,
            stream=False if options.no_stream else None,
            budgets=options.case_budgets,
        )
    except SuiteError as error:
        raise OptionsError(str(error)) from error


def _trace(name: str | None) -> tuple[TracedRequest, ...]:
    """Trace named on the command line; raises SuiteError.

    A relative path starts at the current folder.
    """
    if name is None:
        return ()
    from pytest_flperf.suite.prompts.traces import read_trace

    return read_trace(Path(name).expanduser())


def targets_of(options: RunOptions, suite: Suite, default: DefaultModels) -> tuple[TargetSpec, ...]:
    """Targets to measure: from the command line, suite or defaults.

    A command-line model that is the label or the model of a suite's target selects that target.  Raises OptionsError.
    """
    from pytest_flperf.suite.targets import TargetSpec

    asked: list[TargetSpec] = []
    for model in options.models:
        named = [each for each in suite.targets if model in (each.label, each.model)]
        asked += named or [TargetSpec(model)]
    asked += options.targets
    if asked:
        return tuple(asked)
    if suite.targets and options.backend is not None:
        there = tuple(each for each in suite.targets if each.backend in ("", options.backend))
        if not there:
            kinds = ", ".join(dict.fromkeys(each.backend for each in suite.targets))
            raise OptionsError(
                f"--flperf-backend: found {options.backend!r}, but the targets of {suite.ref} are elsewhere ({kinds}); "
                "name what to measure with --flperf-model"
            )
        return there
    if suite.targets:
        return suite.targets
    models = suite.models or default.models(options, f" and {printable(suite.ref, 200)} names none")
    return tuple(TargetSpec(model) for model in models)


def check_asked(options: RunOptions) -> Overrides:
    """Validate options without a suite; returns the overrides.

    Raises OptionsError.
    """
    overrides = overrides_of(options)
    check_options(options)
    return overrides


def check_options(options: RunOptions) -> None:
    """Validate URL, key, budgets and store; raises OptionsError."""
    from pytest_flperf.backends.resolver import PlacingError
    from pytest_flperf.gates.budgets import BudgetError, parse_budgets
    from pytest_flperf.gates.run_budgets import parse_run_budgets
    from pytest_flperf.session.placing import placing_of

    if options.compares:
        from pytest_flperf.session.paired import check_comparing

        check_comparing(options)
    try:
        placing_of(options, {}).check_defaults()
    except PlacingError as error:
        raise OptionsError(str(error)) from error
    try:
        parse_budgets(options.case_budgets, "--flperf-budget")
        parse_run_budgets(options.run_budgets)
    except BudgetError as error:
        raise OptionsError(f"--flperf-budget: {error}") from error
    place_of(options, Path())
