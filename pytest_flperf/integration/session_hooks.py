"""Hooks of sessions that measure.  They are registered when a suite was asked for or a test uses our fixture.

In the plugin's own module they would cost every run of pytest: it looks at each hook of each plugin.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_flperf.startup import ITEM_RESULTS, RUN, SELECTION

__all__ = ["register"]

_NAME: Final = "flperf-session"
_MARKER_TAKES: Final = frozenset({"model", "suite", "scenario"})


def register(config: pytest.Config) -> None:
    """Register the hooks of this module; a second time does nothing."""
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(_SessionHooks(config), _NAME)


class _SessionHooks:
    """The hooks; some of them have no argument that leads to the config."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    # ---- collecting

    def pytest_report_header(self) -> list[str]:
        """One line, only where suites run, and what the comparisons of this run can't decide."""
        selection = self._config.stash.get(SELECTION, None)
        return [] if selection is None else [selection.header(), *selection.foreseen(self._config)]

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect the suite files that were asked for, and no others."""
        selection = self._config.stash.get(SELECTION, None)
        loaded = None if selection is None else selection.suite_at(file_path)
        if loaded is None:
            return None
        from pytest_flperf.integration.cases import SuiteFile

        return SuiteFile.of(parent, file_path, loaded)

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

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin to start runtime and load process while pytest still reports what it collected."""
        if SELECTION in self._config.stash:
            from pytest_flperf.integration.cases import begin

            begin(session)

    # ---- running

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Judge the budgets of the run when its last test is done."""
        if self._config.getoption("flperf_budget") is None and not self._config.getini("flperf_budget"):
            return (yield)
        from pytest_flperf.integration.run_verdict import judging_run

        return (yield from judging_run(session))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Refuse a marker with arguments that nobody reads."""
        for marker in item.iter_markers("flperf"):
            faults = [repr(argument) for argument in marker.args]
            for key, value in marker.kwargs.items():
                if key not in _MARKER_TAKES:
                    faults.append(key)
                elif value is not None and not isinstance(value, str):
                    faults.append(f"{key}={value!r}")
            if faults:
                takes = "takes model=, suite= and scenario=, each a text"
                pytest.fail(f"@pytest.mark.flperf {takes}; found {', '.join(faults)}", pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report take the item's results along: that way they reach the controller of xdist, too."""
        report = yield
        results = item.stash.get(ITEM_RESULTS, None)
        if results and call.when in ("setup", "call") and (call.when == "call" or not report.passed):
            from pytest_flperf.integration.item_results import attach_results

            attach_results(report, results)
            del item.stash[ITEM_RESULTS]
        return report

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
            run.record.interrupted = True

    # ---- the end

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None]:
        """End our processes and write the results: after the fixtures have been finalised, before the summary."""
        try:
            return (yield)
        finally:
            run = self._config.stash.get(RUN, None)
            if run is not None:
                run.finish(exitstatus)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        run = self._config.stash.get(RUN, None)
        if run is not None and not self._config.getoption("no_summary", default=False):
            run.record.summarise(terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Leave no process behind, whatever went wrong before."""
        run = self._config.stash.get(RUN, None)
        if run is not None:
            run.close()
