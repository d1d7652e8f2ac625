"""Which suites a run measures: found before pytest collects, loaded before it begins, collected as files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_flperf.integration.asked import FlperfOptions
from pytest_flperf.integration.storing import place_of
from pytest_flperf.integration.words import header_line
from pytest_flperf.startup import SELECTION
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.finding import PACKAGED_PREFIX, SUITE_ENDINGS, find_suite

if TYPE_CHECKING:
    from pytest_flperf.gates.rules import Rule
    from pytest_flperf.suite.cases import Overrides
    from pytest_flperf.suite.model import Case, Suite
    from pytest_flperf.suite.sources import TracedRequest
    from pytest_flperf.suite.targets import TargetSpec

__all__ = [
    "LoadedSuite",
    "Selection",
    "check_asked",
    "check_options",
    "default_models",
    "overrides_of",
    "select_suites",
    "targets_of",
]

_VALUE_FOLLOWS = frozenset({"--flperf-suite", "--deselect", "--ignore", "--ignore-glob", "-k", "-m"})


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A suite and its cases for this run."""

    suite: Suite
    cases: tuple[Case, ...]


def select_suites(config: pytest.Config, names: list[str], positional: list[str], args: list[str]) -> None:
    """Find the suites, put their files among the arguments, and remember them; raises UsageError.

    Printed ids run again: ``flperf:default::short-chat[m]`` becomes the file's path, which it doesn't contain so that
    it is the same on every machine.
    """
    root, here = config.rootpath, config.invocation_params.dir
    found: dict[Path, str] = {}
    try:
        for argument in positional:
            path = _suite_of_argument(argument, root, here, found)
            if path is not None:
                _replace(args, argument, str(path) + argument[len(argument.partition("::")[0]) :])
        for name in names:
            path, ref = find_suite(name, root, here)
            if path not in found:
                found[path] = ref
                args.append(str(path))
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from error
    if found:
        config.stash[SELECTION] = Selection(found)


def _suite_of_argument(argument: str, root: Path, here: Path, found: dict[Path, str]) -> Path | None:
    """The suite file that a positional argument names, now among ``found``; None: it is somebody else's."""
    name = argument.partition("::")[0]
    if not name.startswith(PACKAGED_PREFIX):
        path = here / name
        if not name.lower().endswith(SUITE_ENDINGS) or not _is_suite(path, root, here):
            return None
    path, ref = find_suite(name, root, here)
    found[path] = ref
    return path


def _is_suite(path: Path, root: Path, here: Path) -> bool:
    """Whether the file is one of ours: other plugins collect YAML and JSON files, too.  Raises SuiteError."""
    from pytest_flperf.suite.loading import load_suite
    from pytest_flperf.suite.source import read_source

    try:
        load_suite(*find_suite(str(path), root, here))
    except SuiteError:
        try:
            data = read_source(path).data
        except SuiteError:
            return False
        if isinstance(data, dict) and "scenarios" in data:
            raise
        return False
    return True


def _replace(args: list[str], old: str, new: str) -> None:
    for index, argument in enumerate(args):
        if argument == old and (index == 0 or args[index - 1] not in _VALUE_FOLLOWS):
            args[index] = new


def overrides_of(options: FlperfOptions) -> Overrides:
    """The command line's wishes for every case; raises UsageError."""
    from pytest_flperf.suite.cases import Overrides

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
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            stream=False if options.no_stream else None,
            budgets=options.case_budgets,
        )
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from error


def _trace(name: str | None) -> tuple[TracedRequest, ...]:
    """The trace that the command line names, from the current folder; raises SuiteError."""
    if name is None:
        return ()
    from pytest_flperf.suite.traces import read_trace

    return read_trace(Path(name).expanduser())


_FORESEEN: Final = 4
"""Lines of the header on what can't be decided."""


class Selection:
    """The suites of a run."""

    def __init__(self, files: dict[Path, str]) -> None:
        self._files = files
        self.loaded: dict[Path, LoadedSuite] = {}
        self.models: tuple[str, ...] = ()
        self._base_url: str | None = None

    def load(self, config: pytest.Config) -> None:
        """Load and expand every suite; raises UsageError with all that is wrong with what was asked for."""
        from pytest_flperf.backends.placing import PlacingError
        from pytest_flperf.integration.budget_checks import (
            check_budgets,
            check_budgets_of_cases,
            check_rules,
            check_scopes,
        )
        from pytest_flperf.integration.placing import known_backends, placing_of
        from pytest_flperf.suite.bounded import display_path
        from pytest_flperf.suite.cases import expand
        from pytest_flperf.suite.loading import load_suite

        options = FlperfOptions.from_pytest_config(config)
        overrides = check_asked(options)
        of_all: tuple[Rule, ...] = ()
        if options.fail_on:
            from pytest_flperf.integration.comparing import rules_of

            of_all = rules_of(options)
        placing = placing_of(options, known_backends(config))
        self._base_url = options.base_url
        for path, ref in self._files.items():
            try:
                suite = load_suite(path, ref)
                check_budgets(suite)
                targets = targets_of(options, suite)
                placing.check(suite.targets, str(display_path(path)))
                placing.check(targets)
                cases = expand(suite, targets, overrides)
                check_budgets_of_cases(suite, cases)
                self.loaded[path] = LoadedSuite(suite, cases)
            except (SuiteError, PlacingError) as error:
                raise pytest.UsageError(str(error)) from error
        try:
            if options.against is not None:
                from pytest_flperf.integration.comparing import opposition_of

                opposition = opposition_of(options)
                placing.check(opposition.targets(self.targets) if opposition is not None else ())
            placing.check_used(self.targets)
        except PlacingError as error:
            raise pytest.UsageError(str(error)) from error
        if options.baseline is not None:
            from pytest_flperf.integration.baselines import baseline_of

            baseline_of(config, options)
        self.models = tuple(dict.fromkeys(case.model for case in self.cases))
        check_rules([loaded.suite for loaded in self.loaded.values()], of_all)
        check_scopes(options.case_budgets, [loaded.suite for loaded in self.loaded.values()], self.models)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """What is measured, each once for each of its labels."""
        found = {case.model: case.target for case in self.cases if case.target is not None}
        return tuple(found.values())

    @property
    def refs(self) -> tuple[str, ...]:
        """What the suites are called in results."""
        return tuple(loaded.suite.ref for loaded in self.loaded.values())

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases of all suites."""
        return tuple(case for loaded in self.loaded.values() for case in loaded.cases)

    def header(self) -> str:
        """Suites, models and what must be known of them, in one line."""
        return header_line(self.refs, len(self.cases), self.models, self._base_url)

    def foreseen(self, config: pytest.Config) -> list[str]:
        """What the comparisons of this run can't decide, a line each."""
        options = FlperfOptions.from_pytest_config(config)
        if options.against is None and options.baseline is None:
            return []
        from pytest_flperf.integration.foreseen import foreseen_lines

        return [f"flperf: {line}" for line in foreseen_lines(options, self.cases, _FORESEEN)]

    def suite_at(self, path: Path) -> LoadedSuite | None:
        """The suite in a file; None for a file that was not asked for."""
        return self.loaded.get(path) or self.loaded.get(Path(os.path.abspath(path)))  # noqa: PTH100 - keep links


def targets_of(options: FlperfOptions, suite: Suite) -> tuple[TargetSpec, ...]:
    """What is measured: the command line's models and targets, else the suite's, else the embedded models.

    A model of the command line that a target of the suite is called by, or has, is that target.
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
            raise pytest.UsageError(
                f"--flperf-backend: found {options.backend!r}, but {suite.ref} has its targets elsewhere ({kinds}); "
                "name what to measure with --flperf-model"
            )
        return there
    return suite.targets or tuple(TargetSpec(model) for model in suite.models or default_models(options, suite))


def default_models(options: FlperfOptions, suite: Suite | None) -> tuple[str, ...]:
    """What is measured where nobody says what: the embedded models; raises UsageError for a URL without a model."""
    if options.base_url is not None or options.backend not in (None, "foundry"):
        flag = "--flperf-base-url" if options.base_url is not None else "--flperf-backend"
        where = f" and {suite.ref} names none" if suite is not None else ""
        raise pytest.UsageError(
            f"{flag} needs a model{where}: add --flperf-model=NAME; --flperf-list-models shows what the server lists"
        )
    from pytest_flperf.runtime.embedded import embedded_models

    return tuple(model.alias for model in embedded_models())


def check_asked(options: FlperfOptions) -> Overrides:
    """Refuse whatever can be seen to be wrong without a suite; the wishes for every case.  Raises UsageError."""
    overrides = overrides_of(options)
    check_options(options)
    return overrides


def check_options(options: FlperfOptions) -> None:
    """Refuse a URL that is none, a missing key, a malformed budget, a store that can't be; raises UsageError."""
    from pytest_flperf.backends.placing import PlacingError
    from pytest_flperf.gates.budgets import BudgetError, parse_budgets
    from pytest_flperf.gates.run_budgets import parse_run_budgets
    from pytest_flperf.integration.placing import placing_of

    if options.compares:
        from pytest_flperf.integration.comparing import check_comparing

        check_comparing(options)
    try:
        placing_of(options, {}).check_defaults()
    except PlacingError as error:
        raise pytest.UsageError(str(error)) from error
    try:
        parse_budgets(options.case_budgets, "--flperf-budget")
        parse_run_budgets(options.run_budgets)
    except BudgetError as error:
        raise pytest.UsageError(f"--flperf-budget: {error}") from error
    place_of(options, Path())
