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
from pytest_flperf.integration.backends import known_backends
from pytest_flperf.integration.config import options_of
from pytest_flperf.integration.current_run import SUITE_CASES, SUITE_DIGESTS, TARGETS, baseline_of, default_models_of
from pytest_flperf.integration.header import header_line
from pytest_flperf.integration.suite_args import (
    IgnoredFolders,
    SuiteArgument,
    arrange,
    parts_by_suite,
    typed_suites,
)
from pytest_flperf.options import SUITE_NAMES, SUITE_REFS
from pytest_flperf.results.host import host_name
from pytest_flperf.results.records import PlannedCase
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.planned_cases import UNKNOWN_MODEL, planned_case
from pytest_flperf.session.planning import SuitePlan, judge_in, models_in, plan_suites, targets_in
from pytest_flperf.suite.digest import suite_digest
from pytest_flperf.suite.discovery import PACKAGED_PREFIX, SUITE_ENDINGS, find_suite
from pytest_flperf.suite.errors import SuiteError

if TYPE_CHECKING:
    from pytest_flperf.session.judge.inline import InlineJudge
    from pytest_flperf.suite.model import Case
    from pytest_flperf.suite.targets import TargetSpec

__all__ = [
    "SELECTION",
    "LoadedSuite",
    "Selection",
    "select_suites",
]


@dataclass(frozen=True, slots=True)
class LoadedSuite(SuitePlan):
    """A suite and its cases for this run, as far as they were asked for."""

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
        raise OptionsError(str(error)) from error
    named = [SuiteArgument(path) for path, _ in found if path not in refs]  # an argument may name a single case of it
    refs.update({path: ref for path, ref in found if path not in refs})
    if not refs:
        return
    alone = not positional and typed_suites(config, parser)
    if alone:  # in front, because an option at the end may take what follows it for its value
        args[:0] = [str(path) for path in refs]
    config.stash[SELECTION] = Selection(refs, given, named, alone=alone)
    config.stash[SUITE_REFS] = tuple(refs.values())


def _may_deselect(config: pytest.Config) -> bool:
    """Whether options or arguments may select some of the cases."""
    options = ("keyword", "markexpr", "deselect", "lf")
    return any(config.getoption(name, None) for name in options) or any("::" in each for each in config.args)


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
        self.judge: InlineJudge | None = None
        """Judge of the answers, as the suites say."""
        self._base_url: str | None = None

    def load(self, config: pytest.Config) -> None:
        """Load and expand every suite; raises OptionsError.

        The options of the run are checked, too.
        """
        from pytest_flperf.integration.benchmark_bridge import check_workers

        options = options_of(config)
        check_workers(config)
        known = known_backends(config)
        plans = plan_suites(self._refs, options, known, default_models_of(config, known))
        baseline_of(config, options)
        self.judge = judge_in(plans.values(), options, known)
        parts = parts_by_suite(self._suites)
        self.loaded = {path: LoadedSuite(plan.suite, plan.cases, parts[path]) for path, plan in plans.items()}
        self.models = models_in(plans.values())
        self._base_url = options.base_url
        config.stash[TARGETS] = self.targets
        config.stash[SUITE_DIGESTS] = {plan.suite.ref: suite_digest(plan.suite) for plan in plans.values()}
        config.stash[SUITE_CASES] = tuple(case.nodeid for case in self.cases)
        config.stash[SUITE_NAMES] = tuple(plan.suite.name for plan in plans.values())

    def planned(self, nodeid: str) -> PlannedCase | None:
        """Planned case of a suite's item, by node id.

        None if no suite of this run has it.
        """
        ref, _, name = nodeid.partition("::")
        for loaded in self.loaded.values():
            if loaded.suite.ref == ref:
                for case in loaded.cases:
                    if case.nodeid == nodeid:
                        return planned_case(case, nodeid)
                return PlannedCase(nodeid, loaded.suite.name, name, UNKNOWN_MODEL, host=host_name())
        return None

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
            f"{printable(ref, 200)} was not collected: a conftest.py or a plugin excludes its folder"
            for path, ref in self._refs.items()
            if path not in self._collected
        ]
        if unknown:
            raise pytest.UsageError(*unknown)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """Measured targets, one per label."""
        return targets_in(self.loaded.values())

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases of all suites."""
        return tuple(case for loaded in self.loaded.values() for case in loaded.cases)

    def header(self, config: pytest.Config) -> str:
        """Header line: suites, number of cases, models and their location."""
        refs = tuple(self._refs.values())
        line = header_line(refs, len(self.cases), self.models, self._base_url, at_most=_may_deselect(config))
        return (
            line
            if self.judge is None
            else f"{line}; judged afterwards by {printable(self.judge.spec.target.label, 60)}"
        )

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
        """What comparisons of this run can't decide, and which falls of quality they find; one line each."""
        options = options_of(config)
        own_sides = any(case.scenario.against for case in self.cases)
        if options.against is None and options.baseline is None and not own_sides:
            return []
        from pytest_flperf.session.feasibility import foreseen_lines, power_lines

        lines = foreseen_lines(options, self.cases, _FORESEEN) + power_lines(options, self.cases, _FORESEEN)
        return [f"flperf: {line}" for line in lines]

    def suite_at(self, path: Path) -> LoadedSuite | None:
        """Suite in a file, or None if it is not selected."""
        return self.loaded.get(path) or self.loaded.get(Path(os.path.abspath(path)))  # noqa: PTH100 - keep links
