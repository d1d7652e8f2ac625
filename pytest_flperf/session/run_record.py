"""Results of a run and their files: folder, log, reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf._text import printable
from pytest_flperf.answers.answer import answer
from pytest_flperf.gates.run_budgets import parse_run_budgets
from pytest_flperf.gates.run_status import RunEnd, is_judged, run_status
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.bounds import bounded_case, bounded_run
from pytest_flperf.results.host import host_info, versions
from pytest_flperf.results.records import BudgetVerdict, CaseResult, HostInfo, PlannedCase, Run, RunStatus
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.reported import Phase
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.run_log import RunLog
from pytest_flperf.session.artifacts import Publisher
from pytest_flperf.session.context import Listener, RunContext
from pytest_flperf.session.history import Storing
from pytest_flperf.session.reported_tests import ReportedTests
from pytest_flperf.stats.descriptive.clock_quality import merge_clocks

if TYPE_CHECKING:
    from pytest_flperf.results.judged import Judged
    from pytest_flperf.session.judge.inline import InlineJudgement

__all__ = ["RunRecord"]

_SAVE_EVERY_S: Final = 5.0
_SAVING_SHARE: Final = 0.01
"""Maximum share of time spent on intermediate results, which grow with every case."""


class RunRecord:
    """The results of one run."""

    def __init__(self, context: RunContext, listener: Listener, redactor: Redactor) -> None:
        """Write nothing yet."""
        self._context = context
        self._listener = listener
        self._redactor = redactor
        self._folder: RunFolder | None = None
        self._folder_tried = False
        self._log: RunLog | None = None
        self._logged: tuple[object, ...] | None = None  # what the log says of the run itself
        self._tests = ReportedTests()
        self._notes: list[str] = []
        self._verdicts: tuple[BudgetVerdict, ...] = ()
        self._judged: Judged | None = None
        self._status: RunStatus = "interrupted"
        self._faults: tuple[str, ...] = ()
        self._save_after = 0.0
        self._finished_at: datetime | None = None
        self.gpus: tuple[str, ...] = ()
        """Names, as far as the driver has told them."""
        self.interrupted = False
        """By a person or a signal, and not by pytest after a failure."""
        self.publisher = Publisher(context.options, context.here)
        self.storing = Storing(context.options, context.here)

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
        return tuple(map(self.masked, self._context.command))

    def masked(self, text: str) -> str:
        """Text without the secrets of the run."""
        return self._redactor.text(text)

    def note(self, text: str) -> None:
        """Add a note on the run as a whole."""
        if text not in self._notes:
            self._notes.append(text)

    def begin(self) -> None:
        """Begin the run log, which a recovery of the run needs."""
        self._log_begin()

    def collect(self, results: list[dict[str, Any]]) -> None:
        """Keep results that no report brings, in the writing process."""
        for record in results:
            case = bounded_case(CaseResult.from_dict(record))
            self._tests.keep(case)
            self._tell(case)
        self._follow()

    def hear(self, phase: Phase, told: Mapping[str, Any]) -> None:
        """Take in a phase of a test, with its results."""
        planned = bounded_case(PlannedCase.from_dict(told["planned"]))
        cases = [bounded_case(CaseResult.from_dict(record)) for record in told["cases"]]
        before = self._tests.cases_of(planned.nodeid, planned.host)
        over = self._tests.hear(planned, phase, cases, of_suite=told["of_suite"])
        judged = self._tests.cases_of(planned.nodeid, planned.host)
        for case in judged:
            if case not in before:
                self._log_begin().result(case)
            if over and self._context.writes:
                self._tell_listener(case)
        if cases or over:
            self._follow()

    def lost_worker(self, nodeid: str, phase: Phase, planned: PlannedCase | None) -> bool:
        """Record a crashed process; returns whether its test is ours.

        ``planned``: the planned case, if the test is from a suite.
        """
        if self._tests.crashed(nodeid, phase, None if planned is None else planned.host):
            return True
        if planned is not None:
            self._tests.hear(planned, phase, of_suite=True)
        return planned is not None

    def _tell(self, case: CaseResult) -> None:
        self._log_begin().result(case)
        if self._context.writes:
            self._tell_listener(case)

    def _follow(self) -> None:
        if not self._context.writes:
            return
        self.publisher.follow(self._folder)
        if time.monotonic() > self._save_after:
            self._save()

    def _tell_listener(self, case: CaseResult) -> None:
        self._keep_note(self._listener.case_measured(case, ending=self._finished_at is not None))

    def _keep_note(self, text: str) -> None:
        if text:
            self._notes.append(text)

    @property
    def judged_answers(self) -> Judged | None:
        """What the judge of a suite said; None: there is none, or it gave no verdict."""
        return self._judged

    def keep_judgement(self, found: InlineJudgement) -> None:
        """Keep what came of the judge of a suite."""
        self._judged = found.judged
        self._verdicts = (*self._verdicts, *found.verdicts)
        for note in found.notes:
            self.note(note)

    @property
    def verdicts(self) -> tuple[BudgetVerdict, ...]:
        """Verdicts on the budgets of the run and on the gate of its judge."""
        return self._verdicts

    def judge_run(self) -> tuple[BudgetVerdict, ...]:
        """Judge the run's own budgets; returns the verdicts.

        Empty without such budgets, or if nothing was measured or failed.
        """
        budgets = parse_run_budgets(self._context.options.run_budgets)
        cases = self._tests.cases
        if budgets and any(is_judged(case) or case.outcome in ("failed", "error") for case in cases):
            wall_s = time.monotonic() - self._context.begun_s
            self._verdicts = tuple(budget.judge(cases, wall_s) for budget in budgets)
        return self._verdicts

    def _add_unfinished(self) -> None:
        """Add measured cases that were never collected.

        A killed process tells the one that gathers nothing, and an interrupt may come between the end of a case and
        its report.
        """
        if self._context.gathers and self.interrupted:
            self._open_folder()  # a process that has reported nothing may have made it
        if self._folder is None or not (self._context.gathers or self.interrupted):
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
            self._log = RunLog(self._folder if self._context.writes else None)
        known = (self.gpus, *self._notes)
        if known != self._logged:
            self._logged = known
            self._log.run(replace(self.run(), notes=tuple(self._notes)))
        return self._log

    def finish(self, exit_code: int, faults: Sequence[str], to_measure: Sequence[str] = ()) -> None:
        """Write the final results.

        Args:
            exit_code: Exit code of the process, as pytest has them.
            faults: Errors that belong to no test.
            to_measure: Ids of the tests that were to be run, if they are known.

        """
        self._finished_at = datetime.now(UTC)
        self._add_unfinished()
        if self._log is not None:
            self._log.close()
        self._faults = tuple(printable(self.masked(fault)) for fault in faults)
        left = self._tests.left_out(to_measure)
        if left:
            self.note(f"{left} of {len(to_measure)} tests were not run: the run stopped before them")
        end = RunEnd(exit_code, self.interrupted, self._faults, left)
        self._status = run_status(self._tests.cases, self._verdicts, end)
        if self._tests.unmeasured:
            self.note(f"tests with the flperf fixture that passed without a measurement: {self._tests.unmeasured}")
        if self._context.writes and not self.ended_before_it_began:
            self._open_folder()
            run = self._save()
            if self._folder is not None:
                self._folder.update_latest()
            self.publisher.publish(run, self._folder, self.storing.earlier_runs, self._judged)
            if self._context.junit:
                self.publisher.complete_junit(run, self._context.junit, self._judged)
            self.storing.store(run, self._folder, self._redactor, self.publisher.first_values)
            self._keep_note(self._listener.run_finished(run, self._folder.path if self._folder else None))

    @property
    def said(self) -> tuple[str, ...]:
        """Notes on the run, and problems with its files."""
        of_folder = self._folder.problems if self._folder else ()
        return (*self._notes, *of_folder, *self.publisher.problems, *self.storing.problems)

    @property
    def ended_before_it_began(self) -> bool:
        """Whether the run was interrupted before measuring.

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
        started_at = self._context.started_at.isoformat(timespec="milliseconds")
        return Run("", started_at, host=host, versions=self._versions)

    def run(self) -> Run:
        """The run as it stands."""
        cases = self._tests.cases
        finished_at = self._finished_at
        run = Run(
            id=self._folder.id if self._folder else "not-written",
            started_at=self._context.started_at.isoformat(timespec="milliseconds"),
            finished_at=finished_at.isoformat(timespec="milliseconds") if finished_at else None,
            status=self._status,
            suites=self._context.suites,
            command=self.command,
            host=self._machine,
            hosts=self._context.hosts if len(self._context.hosts) > 1 else (),
            versions=self._versions,
            clock=merge_clocks(case.clock for case in cases),
            notes=(*self._notes, *absent_lines(cases)),
            faults=self._faults,
            budgets=self._verdicts,
            partial=self._status == "interrupted" or any(case.partial for case in cases),
            suite_digests=self._context.suite_digests,
            suite_cases=self._context.suite_cases,
        )
        if finished_at is not None:
            run = replace(run, answer=answer(replace(run, cases=cases)))
        return replace(bounded_run(run), cases=cases)

    @property
    def _machine(self) -> HostInfo | None:
        """The machine that measures; None where several do."""
        hosts = self._context.hosts
        if hosts:
            return hosts[0] if len(hosts) == 1 else None
        return replace(self._host, gpus=self.gpus or self._host.gpus)

    @cached_property
    def _host(self) -> HostInfo:
        return host_info()

    @cached_property
    def _versions(self) -> dict[str, str]:
        return dict(self._context.versions) or versions()

    def _save(self) -> Run:
        begun = time.monotonic()
        run = self.run()
        if self._folder is not None:
            self._folder.write_json("results.json", run.to_dict())
        saved_at = time.monotonic()
        self._save_after = saved_at + max(_SAVE_EVERY_S, (saved_at - begun) / _SAVING_SHARE)
        return run

    def _open_folder(self) -> None:
        if self._folder_tried:
            return
        self._folder_tried = True
        context = self._context
        base = context.here / context.options.report_dir
        try:
            self._folder = RunFolder.create(base, context.started_at, context.names, token=context.token)
        except OSError as error:
            self._notes.append(f"nothing was written: {base} can't be used: {error.strerror or error}")
