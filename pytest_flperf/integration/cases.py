"""Cases as pytest items: one function per scenario, parametrised by model and point of the matrix."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.integration.run import MeasuringRun, add_item_result, measuring_run
from pytest_flperf.integration.selection import LoadedSuite
from pytest_flperf.integration.workers import is_controller
from pytest_flperf.suite.model import Case

__all__ = ["SuiteFile", "begin", "case_of", "ready_case"]


class SuiteFile(pytest.Module):
    """A suite file that pytest collects like a module of test functions."""

    loaded: LoadedSuite
    by_scenario: dict[str, list[Case]]

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, loaded: LoadedSuite) -> SuiteFile:
        """Make the collector of a suite; its node id is the suite's ref, the same on every machine."""
        collector: SuiteFile = cls.from_parent(parent, path=path, nodeid=loaded.suite.ref)
        collector.loaded = loaded
        collector.by_scenario = {}
        for case in loaded.cases:
            collector.by_scenario.setdefault(case.scenario_id, []).append(case)
        return collector

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType("flperf_suite", self.loaded.suite.description)
        vars(module).update({name: _case_function(name, module.__name__) for name in self.by_scenario})

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
        """Our functions and nothing else, whatever the user's ``python_functions`` says."""
        del obj
        return name in self.by_scenario

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """The items, each with its case, markers and a location in the suite file."""
        for item in super().collect():
            assert isinstance(item, pytest.Function)
            # by position, not by id: parametrised fixtures of the user's own, used by every test, make ids longer
            case = self.by_scenario[item.originalname][item.callspec.indices["flperf_model"]]
            item.stash[_CASE] = case
            item.add_marker(pytest.mark.flperf(model=case.model, scenario=case.scenario.name))
            item.extra_keyword_matches.update(case.scenario.tags)
            _place(item, self.path)
            yield item


_CASE = pytest.StashKey[Case]()


def _place(item: Any, path: Path) -> None:
    item.reportinfo = lambda: (path, None, item.name)


def case_of(item: pytest.Item) -> Case | None:
    """The case of a suite's item; None for an item of any other kind."""
    return item.stash.get(_CASE, None)


def begin(session: pytest.Session) -> None:
    """Start runtime and load process, if this process is going to run cases."""
    config = session.config
    if config.getoption("collectonly") or config.getoption("setupplan") or is_controller(config):
        return
    models = tuple(dict.fromkeys(case.model for item in session.items if (case := case_of(item)) is not None))
    if models:
        measuring_run(config).prepare(models)


def _case_function(name: str, module: str) -> Callable[[Callable[[], None]], None]:
    def measure(flperf_case: Callable[[], None]) -> None:
        flperf_case()

    measure.__name__ = measure.__qualname__ = name
    measure.__module__ = module
    return measure


def ready_case(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Make the case's model ready (a failure is an error of set-up); the result measures and judges it."""
    run = measuring_run(request.config)
    case = case_of(request.node)
    assert case is not None
    prepared = _prepare(run, case, request.node)

    def measure() -> None:
        result = run.measure(prepared, case.scenario.budgets)
        add_item_result(request.node, result)
        if result.outcome != "passed":
            pytest.fail(result.message, pytrace=False)

    return measure


def _prepare(run: MeasuringRun, case: Case, item: pytest.Item) -> Any:
    from pytest_flperf.experiment.bench import NotReadyError

    try:
        return run.ready(case, item.nodeid)
    except NotReadyError as error:
        result = run.not_ready(case, item.nodeid, str(error))
    add_item_result(item, result)  # outside of the except, so that pytest shows no chain of exceptions
    pytest.fail(result.message, pytrace=False)
