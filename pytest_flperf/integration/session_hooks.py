"""Pytest hooks of measuring sessions.

They are registered when a run is expected or a test uses our fixture.  In the plugin's own module they would slow down
every run of pytest, which looks at each hook of each plugin.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf._text import harmless, printable
from pytest_flperf.integration.current_run import RUN, measuring_run
from pytest_flperf.integration.signals import Terminated, stopper_of
from pytest_flperf.integration.xdist import is_controller, is_worker
from pytest_flperf.options import FLEET, SUITE_REFS

if TYPE_CHECKING:
    from pytest_flperf.integration.collection import Selection
    from pytest_flperf.integration.fleet import Machine
    from pytest_flperf.session.run import MeasuringRun

__all__ = ["expects_a_run", "register"]

_NAME: Final = "flperf-session"
_MARKER_TAKES: Final = frozenset({"model", "suite", "scenario"})
_FILES_AND_GATES: Final = frozenset(
    f"--flperf-{name}"
    for name in ("html", "markdown", "code-quality", "csv", "json", "baseline", "against", "fail-on", "budget")
)


def expects_a_run(config: pytest.Config) -> bool:
    """Whether an option on the command line needs a run.

    Such an option writes a file or is a gate.  In ``addopts`` these options also reach sessions without a measurement,
    and have no effect there.
    """
    typed = {str(argument).partition("=")[0] for argument in config.invocation_params.args}
    return not typed.isdisjoint(_FILES_AND_GATES)


def register(config: pytest.Config) -> None:
    """Register the hooks of this module, once."""
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(_SessionHooks(config), _NAME)
        stopper_of(config)


class _SessionHooks:
    """Hooks of a measuring session.

    Some hooks have no argument that leads to the config.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._interrupted = False
        self._faults: list[str] = []
        """Errors that pytest reported and that belong to no test."""

    @property
    def _selection(self) -> Selection | None:
        if SUITE_REFS not in self._config.stash:
            return None
        from pytest_flperf.integration.collection import SELECTION  # late: every session with xdist has these hooks

        return self._config.stash[SELECTION]

    # ---- collecting

    def pytest_report_header(self) -> list[str]:
        """Header lines: suites, notes, and comparisons that can't be decided.

        Only if suites run.
        """
        selection = self._selection
        if selection is None:
            return []
        lines = [selection.header(self._config), *selection.notes(self._config), *selection.foreseen(self._config)]
        return [harmless(line) for line in lines]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Add the suites to pytest's arguments.

        Done here, so that xdist workers get the arguments as typed.
        """
        selection = self._selection
        if selection is not None:
            selection.arrange(self._config)

    @pytest.hookimpl(wrapper=True)
    def pytest_ignore_collect(self, collection_path: Path) -> Generator[None, bool | None, bool | None]:
        """Collect selected suites even in ignored folders.

        Nothing else in such a folder is collected.
        """
        ignored = yield
        selection = self._selection
        return ignored if selection is None else selection.folders.verdict(collection_path, ignored)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect the selected suite files, and no others."""
        selection = self._selection
        loaded = None if selection is None else selection.suite_at(file_path)
        if loaded is None:
            return None
        from pytest_flperf.integration.items import SuiteFile

        return SuiteFile.of(parent, file_path, loaded)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Let ``--lf`` look into suites.

        It skips a file unless a failed id begins with its path, and ids of packaged suites don't.
        """
        plugins = self._config.pluginmanager
        passes_over = plugins.get_plugin("lfplugin-collskip")
        selection = self._selection
        if passes_over is None or selection is None or selection.suite_at(collector.path) is None:
            return None
        collect = plugins.subset_hook_caller("pytest_make_collect_report", [passes_over, self])
        report: pytest.CollectReport = collect(collector=collector)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember files that can't be collected.

        It is unknown what they would have measured.
        """
        if report.failed:
            from pytest_flperf.integration.report_phases import reason_of

            self._faults.append(f"{report.nodeid or 'the session'} could not be collected: {reason_of(report)}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start runtime and load process while pytest reports its collection."""
        if session.testsfailed and not self._faults:  # without a suite, these hooks are registered after collection
            found = "1 error" if session.testsfailed == 1 else f"{session.testsfailed} errors"
            self._faults.append(f"pytest reported {found} while it collected")
        if SUITE_REFS in self._config.stash:
            from pytest_flperf.integration.items import begin, show_to_vscode

            begin(session)
            show_to_vscode(session)

    # ---- running

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Let the suites' judge judge, and judge the run's budgets, after its last test."""
        judge = None if self._selection is None else self._selection.judge
        has_budgets = self._config.getoption("flperf_budget") is not None or self._config.getini("flperf_budget")
        if judge is None and not has_budgets:
            return (yield)
        from pytest_flperf.integration.run_budgets import judging_run

        return (yield from judging_run(session, judge))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Refuse a marker with unknown arguments."""
        for marker in item.iter_markers("flperf"):
            faults = [repr(argument) for argument in marker.args]
            for key, value in marker.kwargs.items():
                if key not in _MARKER_TAKES:
                    faults.append(key)
                elif value is not None and not isinstance(value, str):
                    faults.append(f"{key}={value!r}")
            if faults:
                takes = "takes model=, suite= and scenario=, each a string"
                pytest.fail(f"@pytest.mark.flperf {takes}; found {', '.join(faults)}", pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the item's results to its report.

        That way they also reach xdist's controller.
        """
        del call
        report = yield
        from pytest_flperf.integration.item_phases import tell
        from pytest_flperf.integration.item_state import is_ours

        if is_ours(item) and not self._config.getoption("setupplan"):
            tell(item, report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in reports of our tests, with their results."""
        from pytest_flperf.integration.report_phases import phase_of

        told: dict[str, Any] | None = getattr(report, "flperf", None)
        if told is not None:
            run = self._run()
            if run is not None:
                run.record.hear(phase_of(report, run.record.masked), told)
        elif report.when not in ("setup", "call", "teardown"):
            self._lost_worker(report)

    def _lost_worker(self, report: pytest.TestReport) -> None:
        """Record an xdist worker that ended in the middle of a test.

        The test may be one of ours.
        """
        from pytest_flperf.integration.report_phases import phase_of, reason_of

        selection = self._selection
        planned = selection.planned(report.nodeid) if selection is not None else None
        machine = self._machine(getattr(report, "node", None))
        if planned is not None and machine is not None:
            planned = replace(planned, host=machine.host.name)
        run = self._config.stash.get(RUN, None) if planned is None else self._run()
        if run is None or not run.record.lost_worker(report.nodeid, phase_of(report, run.record.masked), planned):
            self._faults.append(reason_of(report))

    def _machine(self, node: Any) -> Machine | None:
        """Machine of a worker that was asked before it measured."""
        if FLEET not in self._config.stash:
            return None
        from pytest_flperf.integration.fleet import machine_of

        return machine_of(self._config, node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Remember what a machine has to run."""
        machine = self._machine(node)
        if machine is not None:
            machine.nodeids = tuple(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Report what a lost machine did not begin, before the case that it was lost in."""
        node = getattr(report, "node", None)
        machine, selection = self._machine(node), self._selection
        if machine is None or selection is None or self._config.option.maxworkerrestart != "0":
            return  # a new worker runs the rest
        from pytest_flperf.integration.fleet import lost_reports

        run = self._run()
        known = {case.nodeid for case in run.record.cases if case.host == machine.host.name} if run is not None else ()
        reason = f"its worker ended while it ran {crashitem}"
        for lost in lost_reports(machine, node, reason, selection, {*known, crashitem}):
            self._config.hook.pytest_runtest_logreport(report=lost)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Report all cases of a machine that was lost before it had listed them.

        Pytest-xdist ends the session with status 0 then.
        """
        machine, selection = self._machine(node), self._selection
        if not error or machine is None or selection is None or machine.nodeids:
            return
        from pytest_flperf.integration.fleet import lost_reports

        machine.nodeids = tuple(case.nodeid for case in selection.cases)
        for lost in lost_reports(machine, node, "its worker ended before it had listed its tests", selection, ()):
            self._config.hook.pytest_runtest_logreport(report=lost)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self) -> Generator[None]:
        """Refuse a machine that can't be reached, in one line."""
        try:
            yield
        except Exception as error:
            if type(error).__name__ != "HostNotFound":  # execnet's; nothing here imports it
                raise
            raise pytest.UsageError(
                f"{printable(str(error), 300)}: the machine can't be reached, or has no such Python; expected that "
                "'ssh HOST PYTHON -V' works without a question"
            ) from error

    def _run(self) -> MeasuringRun | None:
        """Run of this session; None if its options are wrong.

        Wrong options fail the tests that measure.
        """
        try:
            return measuring_run(self._config)
        except pytest.UsageError:
            return None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell an interrupt from a stop by pytest.

        ``--sw``, and ``-x`` under xdist, end in the same way and with status 2.
        """
        self._interrupted = type(excinfo.value) in (KeyboardInterrupt, Terminated, pytest.exit.Exception)

    # ---- the end

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None]:
        """End our processes and write the results.

        This is after the fixtures have been finalised and before the summary.
        """
        stopper = stopper_of(self._config)
        try:
            with stopper.finalising():
                return (yield)
        except Exception as error:
            self._faults.append(f"pytest could not end the session: {type(error).__name__}: {error}")
            raise
        finally:
            run = self._run_to_write(exitstatus)
            if run is not None:
                run.record.interrupted |= self._interrupted
                run.finish(int(exitstatus), self._faults, self._to_measure(session))

    def _to_measure(self, session: pytest.Session) -> list[str]:
        """Node ids of our tests that this process should run.

        Empty under xdist: a worker does not know where it was stopped.
        """
        from pytest_flperf.integration.item_state import is_ours

        if is_worker(self._config) or is_controller(self._config):
            return []
        return [item.nodeid for item in getattr(session, "items", ()) if is_ours(item)]

    def _run_to_write(self, exitstatus: int) -> MeasuringRun | None:
        """Run whose results must be written, or None.

        Also a run that measured nothing of what it should: older files would be taken for its results.
        """
        known = self._config.stash.get(RUN, None)
        asks_only = self._config.getoption("collectonly") or self._config.getoption("setupplan")
        if known is not None or asks_only or is_worker(self._config) or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return known
        return self._run() if SUITE_REFS in self._config.stash or expects_a_run(self._config) else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and notes that no header has shown.

        Pytest prints no header with ``-q`` and ``--no-header``.
        """
        if self._config.getoption("no_summary", default=False):
            return
        run = self._config.stash.get(RUN, None)
        if run is not None:
            from pytest_flperf.integration.terminal import summarise

            summarise(run.record, terminalreporter)
        selection = self._selection
        without_header = self._config.getoption("verbose") < 0 or self._config.getoption("no_header")
        if selection is not None and without_header and not self._config.getoption("collectonly"):
            for line in selection.notes(self._config):
                terminalreporter.write_line(harmless(line))

    def pytest_unconfigure(self) -> None:
        """End remaining processes, whatever went wrong before."""
        run = self._config.stash.get(RUN, None)
        if run is not None:
            run.close()
