"""Suite selection: suites are found, loaded and collected as files.

They are found before pytest collects, and loaded before collection begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_flperf._text import printable
from pytest_flperf.integration.config import FlperfOptions
from pytest_flperf.integration.default_model import DefaultModels, default_models_of
from pytest_flperf.integration.header import header_line
from pytest_flperf.integration.history import place_of
from pytest_flperf.integration.suite_args import (
    IgnoredFolders,
    SuiteArgument,
    arrange,
    parts_by_suite,
    typed_suites,
)
from pytest_flperf.options import SUITE_NAMES, SUITE_REFS
from pytest_flperf.suite.discovery import PACKAGED_PREFIX, SUITE_ENDINGS, find_suite
from pytest_flperf.suite.errors import SuiteError

if TYPE_CHECKING:
    from pytest_flperf.gates.rules import Rule
    from pytest_flperf.suite.matrix import Overrides
    from pytest_flperf.suite.model import Case, Suite
    from pytest_flperf.suite.prompts.sources import TracedRequest
    from pytest_flperf.suite.targets import TargetSpec

__all__ = [
    "SELECTION",
    "LoadedSuite",
    "Selection",
    "check_asked",
    "check_options",
    "overrides_of",
    "select_suites",
    "targets_of",
]


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A suite and its cases for this run."""

    suite: Suite
    cases: tuple[Case, ...]
    parts: tuple[str, ...] | None = None
    """Scenarios and names of cases that are to run, as arguments name them; None: all."""


def select_suites(
    config: pytest.Config, parser: pytest.Parser, names: list[str], positional: list[str], args: list[str]
) -> None:
    """Find the suites and remember them; raises UsageError.

    Where suites were typed and no path was, their files become the only arguments, so that pytest collects nothing
    else.  In all other cases it first decides what it collects without them, see ``Selection.arrange``.
    """
    root, here = config.rootpath, config.invocation_params.dir
    refs: dict[Path, str] = {}
    given: dict[str, SuiteArgument] = {}
    try:
        for argument in positional:
            path = _suite_of_argument(argument, root, here, refs)
            if path is not None:
                given[argument] = SuiteArgument(path, argument.partition("::")[2] if "::" in argument else None)
        found = [find_suite(name, root, here) for name in names]
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from error
    named = [SuiteArgument(path) for path, _ in found if path not in refs]  # an argument may name a single case of it
    refs.update({path: ref for path, ref in found if path not in refs})
    if not refs:
        return
    alone = not positional and typed_suites(config, parser)
    if alone:  # in front, because an option at the end may take what follows it for its value
        args[:0] = [str(path) for path in refs]
    config.stash[SELECTION] = Selection(refs, given, named, alone=alone)
    config.stash[SUITE_REFS] = tuple(refs.values())


def _suite_of_argument(argument: str, root: Path, here: Path, refs: dict[Path, str]) -> Path | None:
    """Suite file named by a positional argument, or None.

    The suite is added to ``refs``.  None: the argument is for pytest or another plugin.
    """
    name = argument.partition("::")[0]
    if not name.startswith(PACKAGED_PREFIX):
        path = here / name
        if not name.lower().endswith(SUITE_ENDINGS) or not _is_suite(path, root, here):
            return None
    path, ref = find_suite(name, root, here)
    refs[path] = ref
    return path


def _is_suite(path: Path, root: Path, here: Path) -> bool:
    """Whether a YAML or JSON file is a suite; raises SuiteError.

    Other plugins collect such files, too.
    """
    from pytest_flperf.suite.loader import load_suite
    from pytest_flperf.suite.parser import read_source

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


def overrides_of(options: FlperfOptions) -> Overrides:
    """Command-line overrides for every case; raises UsageError."""
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
        raise pytest.UsageError(str(error)) from error


def _trace(name: str | None) -> tuple[TracedRequest, ...]:
    """Trace named on the command line; raises SuiteError.

    A relative path starts at the current folder.
    """
    if name is None:
        return ()
    from pytest_flperf.suite.prompts.traces import read_trace

    return read_trace(Path(name).expanduser())


_FORESEEN: Final = 4
"""Most header lines on comparisons that can't be decided."""
SELECTION: Final[pytest.StashKey[Selection]] = pytest.StashKey()
"""On the config: the selected suites, as soon as they are found."""


class Selection:
    """Suites selected for a run."""

    def __init__(
        self, refs: dict[Path, str], given: dict[str, SuiteArgument], named: list[SuiteArgument], *, alone: bool
    ) -> None:
        """Take the arguments that name suites.

        ``given``: positional arguments.  ``named``: values of ``--flperf-suite``.  ``alone``: no path was given.
        """
        self._refs = refs
        self._given = given
        self._suites = [*given.values(), *named]
        self._collected: set[Path] = set()
        self._unknown: list[str] = []
        self._alone = alone
        self.folders = IgnoredFolders(refs)
        self.loaded: dict[Path, LoadedSuite] = {}
        self.models: tuple[str, ...] = ()
        self._base_url: str | None = None

    def load(self, config: pytest.Config) -> None:
        """Load and expand every suite; raises UsageError.

        The options of the run are checked, too.
        """
        from pytest_flperf.backends.resolver import PlacingError
        from pytest_flperf.integration.backends import known_backends, placing_of
        from pytest_flperf.integration.benchmark_bridge import check_workers
        from pytest_flperf.integration.budget_checks import (
            check_budgets,
            check_budgets_of_cases,
            check_rules,
            check_scopes,
        )
        from pytest_flperf.suite.bounded_files import display_path
        from pytest_flperf.suite.loader import load_suite
        from pytest_flperf.suite.matrix import expand

        options = FlperfOptions.from_pytest_config(config)
        overrides = check_asked(options)
        check_workers(config)
        of_all: tuple[Rule, ...] = ()
        if options.fail_on:
            from pytest_flperf.integration.paired import rules_of

            of_all = rules_of(options)
        placing = placing_of(options, known_backends(config))
        self._base_url = options.base_url
        parts = parts_by_suite(self._suites)
        for path, ref in self._refs.items():
            try:
                suite = load_suite(path, ref)
                check_budgets(suite)
                targets = targets_of(options, suite, default_models_of(config))
                placing.check(suite.targets, str(display_path(path)))
                placing.check(targets)
                cases = expand(suite, targets, overrides)
                check_budgets_of_cases(suite, cases)
                self.loaded[path] = LoadedSuite(suite, cases, parts[path])
            except (SuiteError, PlacingError) as error:
                raise pytest.UsageError(str(error)) from error
        try:
            if options.against is not None:
                from pytest_flperf.integration.paired import opposition_of

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
        config.stash[SUITE_NAMES] = tuple(loaded.suite.name for loaded in self.loaded.values())

    def arrange(self, config: pytest.Config) -> None:
        """Arrange pytest's arguments so that suites run in addition.

        Pytest collects everything else as it would without them.
        """

        def suite_of(argument: str) -> SuiteArgument | None:
            path = Path(os.path.abspath(config.invocation_params.dir / argument))  # noqa: PTH100 - keep links
            return self._given.get(argument) or (SuiteArgument(path) if path in self._refs else None)

        arrange(config, self._suites, suite_of)

    def collected(self, path: Path, unknown: Iterable[str]) -> None:
        """Record a collected suite file and the parts it lacks."""
        self._collected.add(path)
        self._unknown += [f"{self._refs[path]}::{part}" for part in unknown]

    def check_collected(self) -> None:
        """Refuse a run that would silently skip a suite; raises UsageError."""
        unknown = [f"not found: {printable(each, 200)}" for each in self._unknown]
        unknown += [
            f"{printable(ref, 200)} was not collected: a conftest.py or a plugin keeps pytest from its folder"
            for path, ref in self._refs.items()
            if path not in self._collected
        ]
        if unknown:
            raise pytest.UsageError(*unknown)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """Measured targets, one per label."""
        found = {case.model: case.target for case in self.cases if case.target is not None}
        return tuple(found.values())

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases of all suites."""
        return tuple(case for loaded in self.loaded.values() for case in loaded.cases)

    def header(self) -> str:
        """Header line: suites, number of cases, models and their location."""
        return header_line(tuple(self._refs.values()), len(self.cases), self.models, self._base_url)

    def notes(self, config: pytest.Config) -> list[str]:
        """Notes on what users might wrongly assume, one line each."""
        from pytest_flperf.integration.benchmark_bridge import switched_off_line

        return [line for line in (self._left_out(config), switched_off_line(config)) if line is not None]

    def _left_out(self, config: pytest.Config) -> str | None:
        """Note that the user's tests were left out, or None.

        It says how to run both.
        """
        if not self._alone:
            return None
        at_root = config.invocation_params.dir == config.rootpath
        paths = " ".join(config.getini("testpaths")) if at_root else ""
        return (
            "flperf: tests are left out, only suites run; to run both, add the paths of the tests, such as "
            f"'{printable(paths or '.', 80)}'"
        )

    def foreseen(self, config: pytest.Config) -> list[str]:
        """Comparisons that this run can't decide, one line each."""
        options = FlperfOptions.from_pytest_config(config)
        if options.against is None and options.baseline is None:
            return []
        from pytest_flperf.integration.feasibility import foreseen_lines

        return [f"flperf: {line}" for line in foreseen_lines(options, self.cases, _FORESEEN)]

    def suite_at(self, path: Path) -> LoadedSuite | None:
        """Suite in a file, or None if it is not selected."""
        return self.loaded.get(path) or self.loaded.get(Path(os.path.abspath(path)))  # noqa: PTH100 - keep links


def targets_of(options: FlperfOptions, suite: Suite, default: DefaultModels) -> tuple[TargetSpec, ...]:
    """Targets to measure: from the command line, suite or defaults.

    A command-line model that is the label or the model of a suite's target selects that target.  Raises UsageError.
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
    if suite.targets:
        return suite.targets
    models = suite.models or default.models(options, f" and {printable(suite.ref, 200)} names none")
    return tuple(TargetSpec(model) for model in models)


def check_asked(options: FlperfOptions) -> Overrides:
    """Validate options without a suite; returns the overrides.

    Raises UsageError.
    """
    overrides = overrides_of(options)
    check_options(options)
    return overrides


def check_options(options: FlperfOptions) -> None:
    """Validate URL, key, budgets and store; raises UsageError."""
    from pytest_flperf.backends.resolver import PlacingError
    from pytest_flperf.gates.budgets import BudgetError, parse_budgets
    from pytest_flperf.gates.run_budgets import parse_run_budgets
    from pytest_flperf.integration.backends import placing_of

    if options.compares:
        from pytest_flperf.integration.paired import check_comparing

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
