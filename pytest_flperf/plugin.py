"""The entry point: options, markers, hooks.  Everything else is imported when a suite or the fixture is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_flperf.integration.keys import BEGUN, ITEM_RESULTS, RUN, SELECTION, STARTED
from pytest_flperf.integration.options import OPTIONS, add_options

if TYPE_CHECKING:
    from pytest_flperf.integration.fixture import Flperf
    from pytest_flperf.reference import ReferenceServer

_MARKER = (
    "flperf(model=None, suite=None, scenario=None): which model the flperf fixture measures, and the scenario whose "
    "prompt and settings flperf.run() starts from; suite items carry it as well"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer our own hooks."""
    from pytest_flperf import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Turn suites, and ids of their cases, into files for pytest to collect."""
    known = early_config.known_args_namespace
    positional: list[str] = list(getattr(known, "file_or_dir", None) or ())
    if getattr(known, "flperf_suite", None) or any(_may_be_a_case(argument) for argument in positional):
        from pytest_flperf.integration.selection import select_suites

        select_suites(early_config, list(known.flperf_suite or ()), positional, args)


def _may_be_a_case(argument: str) -> bool:
    path = argument.partition("::")[0]
    return path.startswith("flperf:") or path.lower().endswith((".yaml", ".yml", ".json", ".toml"))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer the options that list something and exit."""
    if any(config.getoption(name) for name in ("flperf_list_suites", "flperf_list_models", "flperf_dry_run")):
        from pytest_flperf.integration.asked import FlperfOptions
        from pytest_flperf.integration.listing import answer_listing

        return answer_listing(config, FlperfOptions.from_pytest_config(config))
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; read the suites that were asked for, so that their faults end the run before it begins."""
    config.addinivalue_line("markers", _MARKER)
    selection = config.stash.get(SELECTION, None)
    if selection is not None:
        selection.load(config)
    elif config.getoption("flperf_suite"):
        raise pytest.UsageError("--flperf-suite came too late: load the plugin with -p pytest_flperf.plugin")
    elif any(config.getoption(option.dest) is not None for option in OPTIONS):
        from pytest_flperf.integration.asked import FlperfOptions
        from pytest_flperf.integration.selection import check_asked

        check_asked(FlperfOptions.from_pytest_config(config))


def pytest_report_header(config: pytest.Config) -> str | None:
    """One line, only where suites run."""
    selection = config.stash.get(SELECTION, None)
    return None if selection is None else selection.header()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the suite files that were asked for, and no others."""
    selection = parent.config.stash.get(SELECTION, None)
    loaded = None if selection is None else selection.suite_at(file_path)
    if loaded is None:
        return None
    from pytest_flperf.integration.cases import SuiteFile

    return SuiteFile.of(parent, file_path, loaded)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a marker with arguments that nobody reads."""
    for marker in item.iter_markers("flperf"):
        known = {"model", "suite", "scenario"}
        faults = [repr(argument) for argument in marker.args]
        for key, value in marker.kwargs.items():
            if key not in known:
                faults.append(key)
            elif value is not None and not isinstance(value, str):
                faults.append(f"{key}={value!r}")
        if faults:
            takes = "takes model=, suite= and scenario=, each a text"
            pytest.fail(f"@pytest.mark.flperf {takes}; found {', '.join(faults)}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the report take the item's results along: that way they reach the controller of xdist, too."""
    report = yield
    results = item.stash.get(ITEM_RESULTS, None)
    if results and call.when in ("setup", "call") and (call.when == "call" or not report.passed):
        from pytest_flperf.integration.item_results import attach_results

        attach_results(report, results)
        del item.stash[ITEM_RESULTS]
    return report


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One worker where suites run: two on one machine would disturb each other."""
    return 1 if SELECTION in config.stash else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Refuse to measure with two workers on one machine."""
    if SELECTION in config.stash:
        from pytest_flperf.integration.workers import refuse_neighbours

        refuse_neighbours(specs)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let the workers of xdist file their journals under the id of this run."""
    begun = node.config.stash.setdefault(BEGUN, (time.time(), node.workerinput["testrunuid"][:4]))
    node.workerinput["flperf_begun"] = begun


class _Reporter:
    """Hooks that need the config and have no argument that leads to it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the results that a report brings."""
        results: list[dict[str, Any]] | None = getattr(report, "flperf", None)
        if results:
            from pytest_flperf.integration.run import measuring_run

            measuring_run(self._config).collect(results)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell an interrupt from a stop: ``--sw``, and ``-x`` under xdist, end in the same way and with status 2."""
        run = self._config.stash.get(RUN, None)
        if run is not None and type(excinfo.value) in (KeyboardInterrupt, pytest.exit.Exception):
            run.interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Let ``--lf`` look into suites: it passes over files whose path no failed id begins with, as packaged ones."""
        plugins = self._config.pluginmanager
        passes_over = plugins.get_plugin("lfplugin-collskip")
        selection = self._config.stash.get(SELECTION, None)
        if passes_over is None or selection is None or selection.suite_at(collector.path) is None:
            return None
        collect = plugins.subset_hook_caller("pytest_make_collect_report", [passes_over, self])
        report: pytest.CollectReport = collect(collector=collector)
        return report


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch reports; start what takes time where suites run."""
    session.config.stash[STARTED] = time.monotonic()
    session.config.pluginmanager.register(_Reporter(session.config), "flperf-reporter")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One load for each model, in whatever order other plugins have put the items."""
    if SELECTION in config.stash or any("flperf" in getattr(item, "fixturenames", ()) for item in items):
        from pytest_flperf.integration.grouping import group_by_model

        items[:] = group_by_model(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to start runtime and load process while pytest still reports what it collected."""
    if SELECTION in session.config.stash:
        from pytest_flperf.integration.cases import begin

        begin(session)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Judge the budgets of the run when its last test is done."""
    if session.config.getoption("flperf_budget") is None and not session.config.getini("flperf_budget"):
        return (yield)
    from pytest_flperf.integration.run_verdict import judging_run

    return (yield from judging_run(session))


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """End our processes and write the results, after the fixtures have been finalised."""
    try:
        return (yield)
    finally:
        run = session.config.stash.get(RUN, None)
        if run is not None:
            run.finish(exitstatus)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    run = config.stash.get(RUN, None)
    if run is not None and not config.getoption("no_summary", default=False):
        run.summarise(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no process behind, whatever went wrong before."""
    run = config.stash.get(RUN, None)
    if run is not None:
        run.close()


@pytest.fixture(scope="session")
def flperf_model(request: pytest.FixtureRequest) -> Iterator[str]:
    """The model of a suite's case; unloaded when the last of its cases is done."""
    from pytest_flperf.integration.run import measuring_run

    model: str = request.param
    yield model
    measuring_run(request.config).release(model)


@pytest.fixture
def flperf_case(request: pytest.FixtureRequest, flperf_model: str) -> Callable[[], None]:
    """The case of a suite's item with its model ready; calling it measures and judges."""
    from pytest_flperf.integration.cases import ready_case

    del flperf_model  # taken so that pytest groups the items by model
    return ready_case(request)


@pytest.fixture
def flperf(request: pytest.FixtureRequest) -> Flperf:
    """Measure from a test of one's own: ``result = flperf.run(prompt="…", iterations=10)``."""
    from pytest_flperf.integration.fixture import Flperf

    return Flperf.from_request(request)


@pytest.fixture
def flperf_reference() -> Iterator[ReferenceServer]:
    """A server whose true times are known, to check a client or a set-up against (``flperf serve-reference``).

    It runs in a process of its own; ``reconfigure`` changes its schedule and its fault, ``log`` tells the truth.
    """
    from pytest_flperf.reference import ReferenceServer

    with ReferenceServer() as server:
        yield server
