"""Pytest items of cases: one function per scenario, parametrised.

The parameters are the model and the point of the matrix.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.integration.benchmark_bridge import is_asked, mark, must_be_an_argument, tell
from pytest_flperf.integration.collection import SELECTION, LoadedSuite
from pytest_flperf.integration.current_run import MeasuringTests, measuring_run
from pytest_flperf.integration.item_state import CASE, add_item_result, case_of, raise_unless_passed
from pytest_flperf.integration.suite_args import chosen
from pytest_flperf.integration.xdist import is_controller
from pytest_flperf.measurement.parallel_targets import Asked
from pytest_flperf.session.run import MeasuringRun
from pytest_flperf.session.time_limit import OutOfTimeError
from pytest_flperf.suite.model import Case

__all__ = ["SuiteFile", "begin", "ready_case", "show_to_vscode"]


class SuiteFile(pytest.Module):
    """Suite file that pytest collects like a test module."""

    loaded: LoadedSuite
    by_scenario: dict[str, list[Case]]

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, loaded: LoadedSuite) -> SuiteFile:
        """Create the collector of a suite.

        Its node id is the suite's ref, the same on every machine.
        """
        collector: SuiteFile = cls.from_parent(parent, path=path, nodeid=loaded.suite.ref)
        collector.loaded = loaded
        collector.by_scenario = {}
        for case in loaded.cases:
            collector.by_scenario.setdefault(case.scenario_id, []).append(case)
        return collector

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType("flperf_suite", self.loaded.suite.description)
        make = _benchmarked_function if must_be_an_argument(self.config) else _case_function
        vars(module).update({name: make(name, module.__name__) for name in self.by_scenario})

        def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
            cases = self.by_scenario[metafunc.definition.name]
            metafunc.parametrize(
                "flperf_model",
                [pytest.param(case.model, id=case.parameters_id) for case in cases],
                indirect=True,
                scope="session",
            )

        vars(module)["pytest_generate_tests"] = pytest_generate_tests
        return module

    def istestfunction(self, obj: object, name: str) -> bool:
        """Whether a function is ours, whatever ``python_functions`` says."""
        del obj
        return name in self.by_scenario

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Items, each with case, markers and location in the suite file."""
        functions = [item for item in super().collect() if isinstance(item, pytest.Function)]
        items, unknown = chosen(functions, self.loaded.parts)
        self.config.stash[SELECTION].collected(self.path, unknown)
        for item in items:
            # by position, not by id: the user's own parametrised fixtures make ids longer
            case = self.by_scenario[item.originalname][item.callspec.indices["flperf_model"]]
            item.stash[CASE] = case
            item.add_marker(pytest.mark.flperf(model=case.model, scenario=case.scenario.name))
            item.extra_keyword_matches.update(case.scenario.tags)
            if is_asked(self.config):
                mark(item, case.scenario.name)
            _place(item, self.path)
            yield item


def _place(item: Any, path: Path) -> None:
    item.reportinfo = lambda: (path, 0, item.name)  # a line number, because pytest requires one when a fixture skips


def begin(session: pytest.Session) -> None:
    """Start runtime and load process if this process runs cases."""
    config = session.config
    if config.getoption("collectonly") or config.getoption("setupplan") or is_controller(config):
        return
    asked = [Asked(item.nodeid, case) for item in session.items if (case := case_of(item)) is not None]
    if asked:
        measuring_run(config).prepare(asked)


def show_to_vscode(session: pytest.Session) -> None:
    """Let the test explorer of VS Code list cases.

    Its plugin expects ``.py`` in the id of every item with a ``callspec``, and loses the whole tree if there is none.
    An item without one is listed as it is.  Nothing runs when it discovers tests.
    """
    if session.config.getoption("collectonly") and session.config.pluginmanager.has_plugin("vscode_pytest"):
        for item in session.items:
            if case_of(item) is not None:
                vars(item).pop("callspec", None)


def _case_function(name: str, module: str) -> Callable[..., None]:
    def measure(flperf_case: Callable[[], None]) -> None:
        flperf_case()

    return _named(measure, name, module)


def _benchmarked_function(name: str, module: str) -> Callable[..., None]:
    def measure(flperf_case: Callable[[], None], benchmark: Any) -> None:
        del benchmark  # the case requests it when it has results
        flperf_case()

    return _named(measure, name, module)


def _named(function: Callable[..., None], name: str, module: str) -> Callable[..., None]:
    function.__name__ = function.__qualname__ = name  # type: ignore[attr-defined,unused-ignore]
    function.__module__ = module
    return function


def ready_case(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Prepare a case's model; returns the function that measures it.

    A failure here is an error of set-up.  The returned function also judges the case.
    """
    run = measuring_run(request.config)
    case = case_of(request.node)
    assert case is not None
    prepared = _prepare(run, case, request.node)

    def measure() -> None:
        tests, keep = MeasuringTests(request.session), partial(add_item_result, request.node)
        result = run.measure(prepared, case.scenario.budgets, tests, keep)
        add_item_result(request.node, result)
        if is_asked(request.config):
            tell(request, prepared.recording.values.e2e_s(), result)
        raise_unless_passed(result, names_case=True)

    return measure


def _prepare(run: MeasuringRun, case: Case, item: pytest.Item) -> Any:
    from pytest_flperf.measurement.runner import NotPossibleError, NotReadyError

    try:
        return run.ready(case, item.nodeid)
    except (NotReadyError, NotPossibleError, OutOfTimeError) as error:
        result = run.not_ready(case, item.nodeid, error)
    add_item_result(item, result)  # outside the except block, so that pytest shows no exception chain
    return raise_unless_passed(result)
