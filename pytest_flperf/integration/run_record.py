"""Results of a session and their files: folder, log, reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_flperf._text import printable
from pytest_flperf.gates.run_budgets import parse_run_budgets
from pytest_flperf.gates.run_status import RunEnd, is_judged, run_status
from pytest_flperf.integration.artifacts import Publisher
from pytest_flperf.integration.config import FlperfOptions
from pytest_flperf.integration.history import Storing
from pytest_flperf.integration.reported_tests import ReportedTests, phase_of
from pytest_flperf.integration.xdist import is_controller, is_worker, run_begun
from pytest_flperf.options import STARTED, SUITE_NAMES, SUITE_REFS
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.bounds import bounded_case, bounded_run
from pytest_flperf.results.host import host_info, versions
from pytest_flperf.results.records import BudgetVerdict, CaseResult, HostInfo, Run, RunStatus
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.run_log import RunLog
from pytest_flperf.stats.descriptive.clock_quality import merge_clocks

__all__ = ["RunRecord"]

_SAVE_EVERY_S: Final = 5.0
_SAVING_SHARE: Final = 0.01
"""Maximum share of time spent on intermediate results, which grow with every case."""


class RunRecord:
    """The results of one session."""

    def __init__(self, config: pytest.Config, options: FlperfOptions, redactor: Redactor) -> None:
        """Write nothing yet."""
        self._config = config
        self._options = options
        self._redactor = redactor
        self._started_at, self._token = run_begun(config)
        self._begun_s = config.stash.get(STARTED, time.monotonic())
        self._folder: RunFolder | None = None
        self._folder_tried = False
        self._log: RunLog | None = None
        self._logged: tuple[object, ...] | None = None  # what the log says of the run itself
        self._tests = ReportedTests()
        self._notes: list[str] = []
        self._verdicts: tuple[BudgetVerdict, ...] = ()
        self._status: RunStatus = "interrupted"
        self._faults: tuple[str, ...] = ()
        self._save_after = 0.0
        self._finished = False
        self.gpus: tuple[str, ...] = ()
        """Names, as far as the driver has told them."""
        self.interrupted = False
        """By a person or a signal, and not by pytest after a failure."""
        self.publisher = Publisher(options, config.invocation_params.dir)
        self.storing = Storing(options, config.invocation_params.dir)

    @property
    def folder(self) -> RunFolder | None:
        """Folder of the run, created at first use.

        None if nothing can be written.
        """
        self._open_folder()
        return self._folder

    @property
    def logs(self) -> Path | None:
        """Folder for the logs of started processes."""
        folder = self.folder
        return folder.path / "logs" if folder else None

    @property
    def command(self) -> tuple[str, ...]:
        """The command line, without secrets."""
        return tuple(self._redactor.text(word) for word in ["pytest", *self._config.invocation_params.args])

    def note(self, text: str) -> None:
        """Add a note on the run as a whole."""
        if text not in self._notes:
            self._notes.append(text)

    def begin(self) -> None:
        """Begin the run log, which a recovery of the run needs."""
        self._log_begin()

    def collect(self, results: list[dict[str, Any]]) -> None:
        """Keep results without a pytest report, in the writing process."""
        for record in results:
            case = bounded_case(CaseResult.from_dict(record))
            self._tests.keep(case)
            self._tell(case)
        self._follow()

    def hear(self, report: pytest.TestReport, told: Mapping[str, Any]) -> None:
        """Take in pytest's report of our test, with its results."""
        planned = bounded_case(CaseResult.from_dict(told["planned"]))
        cases = [bounded_case(CaseResult.from_dict(record)) for record in told["cases"]]
        before = self._tests.cases_of(planned.nodeid, planned.host)
        over = self._tests.hear(planned, phase_of(report, self._redactor.text), cases, of_suite=told["of_suite"])
        judged = self._tests.cases_of(planned.nodeid, planned.host)
        for case in judged:
            if case not in before:
                self._log_begin().result(case)
            if over and not is_worker(self._config):
                self._call("pytest_flperf_case_measured", result=case)
        if cases or over:
            self._follow()

    def lost_worker(self, report: pytest.TestReport, planned: CaseResult | None) -> bool:
        """Record a crashed xdist worker; returns whether its test is ours.

        ``planned``: the planned case, if the test is from a suite.
        """
        phase = phase_of(report, self._redactor.text)
        if self._tests.crashed(report.nodeid, phase):
            return True
        if planned is not None:
            self._tests.hear(planned, phase, of_suite=True)
        return planned is not None

    def _tell(self, case: CaseResult) -> None:
        self._log_begin().result(case)
        if not is_worker(self._config):
            self._call("pytest_flperf_case_measured", result=case)

    def _follow(self) -> None:
        if is_worker(self._config):
            return
        self.publisher.follow(self._folder)
        if time.monotonic() > self._save_after:
            self._save()

    def _call(self, name: str, **arguments: Any) -> None:
        """Call one of our hooks.

        An exception of an implementation becomes a note, so that no measurement is lost.
        """
        hook = getattr(self._config.hook, name, None)
        if hook is None:
            return  # nobody implements it
        try:
            hook(config=self._config, **arguments)
        except pytest.exit.Exception:
            if self._finished:  # the session ends already, and its table is still to come
                return
            raise
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - somebody else's code
            self._notes.append(f"{name}: {type(error).__name__}: {printable(str(error), 300)}")

    def judge_run(self) -> tuple[BudgetVerdict, ...]:
        """Judge the run's own budgets; returns the verdicts.

        Empty without such budgets, or if nothing was measured or failed.
        """
        budgets = parse_run_budgets(self._options.run_budgets)
        cases = self._tests.cases
        if budgets and any(is_judged(case) or case.outcome in ("failed", "error") for case in cases):
            wall_s = time.monotonic() - self._begun_s
            self._verdicts = tuple(budget.judge(cases, wall_s) for budget in budgets)
        return self._verdicts

    def _add_unfinished(self) -> None:
        """Add measured cases that were never collected.

        A killed xdist worker tells its controller nothing, and an interrupt may come between the end of a
        case and pytest's report of it.
        """
        if is_controller(self._config) and self.interrupted:
            self._open_folder()  # a worker that has reported nothing may have made it
        if self._folder is None or not (is_controller(self._config) or self.interrupted):
            return
        from pytest_flperf.measurement.scoring_deadline import ScoringTime
        from pytest_flperf.session.recovery import unfinished_cases

        until = ScoringTime(None)
        if self.interrupted:
            until.hurry()
        for case in unfinished_cases(self._folder.path, stop=until):
            if not self._tests.knows(case.nodeid, case.host):
                self._tests.keep(case)

    def _log_begin(self) -> RunLog:
        """The run log, which begins with the description of the run.

        Only the process that writes the results writes it.
        """
        self._open_folder()
        if self._log is None:
            self._log = RunLog(None if is_worker(self._config) else self._folder)
        known = (self.gpus, *self._notes)
        if known != self._logged:
            self._logged = known
            self._log.run(replace(self._run(), notes=tuple(self._notes)))
        return self._log

    def finish(self, exit_code: int, faults: Sequence[str], to_measure: Sequence[str] = ()) -> None:
        """Write the final results.

        Args:
            exit_code: Pytest's exit code.
            faults: Errors that pytest reported and that belong to no test.
            to_measure: Ids of the tests that were to be run, if they are known.

        """
        self._finished = True
        self._add_unfinished()
        if self._log is not None:
            self._log.close()
        masked = self._redactor.text
        self._faults = tuple(printable(masked(fault)) for fault in faults)
        left = self._tests.left_out(to_measure)
        if left:
            self.note(f"{left} of {len(to_measure)} tests were not run: pytest stopped before them")
        end = RunEnd(exit_code, self.interrupted, self._faults, left)
        self._status = run_status(self._tests.cases, self._verdicts, end)
        if self._tests.unmeasured:
            self.note(f"tests with the flperf fixture that passed without a measurement: {self._tests.unmeasured}")
        if not is_worker(self._config) and not self._ended_before_it_began:
            self._open_folder()
            run = self._save()
            if self._folder is not None:
                self._folder.update_latest()
            self.publisher.publish(run, self._folder)
            junit = self._config.getoption("xmlpath", default=None)
            if junit:
                self.publisher.complete_junit(run, junit)
            self.storing.store(run, self._folder, self._redactor, self.publisher.first_values)
            self._call("pytest_flperf_run_finished", run=run, folder=self._folder.path if self._folder else None)

    def summarise(self, reporter: pytest.TerminalReporter) -> None:
        """Print the table and the paths of the files."""
        if self._ended_before_it_began:
            return
        from pytest_flperf.integration.terminal import print_summary

        problems = (*(self._folder.problems if self._folder else ()), *self.publisher.problems, *self.storing.problems)
        print_summary(reporter, self._run(), self._folder.path if self._folder else None, (*self._notes, *problems))

    @property
    def _ended_before_it_began(self) -> bool:
        """Whether the session was interrupted before measuring.

        That is, while it collected or waited for another run.
        """
        return self.interrupted and self._folder is None and not self._tests.cases

    @property
    def cases(self) -> tuple[CaseResult, ...]:
        """All measured cases."""
        return self._tests.cases

    def surroundings(self) -> Run:
        """Description of the run without its cases: host and versions."""
        host = replace(self._host, gpus=self.gpus or self._host.gpus)
        return Run("", self._started_at.isoformat(timespec="milliseconds"), host=host, versions=self._versions)

    def _run(self) -> Run:
        cases = self._tests.cases
        finished_at = datetime.now(UTC) if self._finished else None
        run = Run(
            id=self._folder.id if self._folder else "not-written",
            started_at=self._started_at.isoformat(timespec="milliseconds"),
            finished_at=finished_at.isoformat(timespec="milliseconds") if finished_at else None,
            status=self._status,
            suites=self._config.stash.get(SUITE_REFS, ()),
            command=self.command,
            host=replace(self._host, gpus=self.gpus or self._host.gpus),
            versions=self._versions,
            clock=merge_clocks(case.clock for case in cases),
            notes=(*self._notes, *absent_lines(cases)),
            faults=self._faults,
            budgets=self._verdicts,
            partial=self._status == "interrupted" or any(case.partial for case in cases),
        )
        return replace(bounded_run(run), cases=cases)

    @cached_property
    def _host(self) -> HostInfo:
        return host_info()

    @cached_property
    def _versions(self) -> dict[str, str]:
        return versions()

    def _save(self) -> Run:
        begun = time.monotonic()
        run = self._run()
        if self._folder is not None:
            self._folder.write_json("results.json", run.to_dict())
        saved_at = time.monotonic()
        self._save_after = saved_at + max(_SAVE_EVERY_S, (saved_at - begun) / _SAVING_SHARE)
        return run

    def _open_folder(self) -> None:
        if self._folder_tried:
            return
        self._folder_tried = True
        base = Path(self._options.report_dir)
        base = base if base.is_absolute() else self._config.invocation_params.dir / base
        names = self._config.stash.get(SUITE_NAMES, ("tests",))
        try:
            self._folder = RunFolder.create(base, self._started_at, names, token=self._token)
        except OSError as error:
            self._notes.append(f"nothing is written: {base} can't be used: {error.strerror or error}")
