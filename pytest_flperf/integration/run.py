"""The measuring of one pytest session: what is measured with, what has been measured, and where it is written."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.placing import secrets_of
from pytest_flperf.backends.several import SeveralBackends
from pytest_flperf.experiment.bench import Bench, CaseRun, NotPossibleError, NotReadyError, Prepared
from pytest_flperf.experiment.machine_lock import MachineLock
from pytest_flperf.experiment.recording import Recorder
from pytest_flperf.experiment.side_by_side import Asked, SideBySide
from pytest_flperf.gates.budgets import Budget
from pytest_flperf.gates.run_budgets import parse_run_budgets
from pytest_flperf.gates.text import printable
from pytest_flperf.gates.verdict import judge, verdict_text
from pytest_flperf.integration.asked import FlperfOptions
from pytest_flperf.integration.item_results import add_item_result
from pytest_flperf.integration.locking import MachineBusyError, SessionLock
from pytest_flperf.integration.outcomes import NOT_MEASURED, Standing, after_rerun, run_status, stopped
from pytest_flperf.integration.placing import known_backends, placing_of
from pytest_flperf.integration.playing import begin_beside, limits_of, played
from pytest_flperf.integration.progress import Progress
from pytest_flperf.integration.publishing import Publisher
from pytest_flperf.integration.selection import check_options, default_models
from pytest_flperf.integration.session_hooks import register
from pytest_flperf.integration.time_limit import OutOfTimeError, TimeLimit
from pytest_flperf.integration.workers import is_controller, is_worker, neighbours, run_begun, run_token
from pytest_flperf.load.interrupts import Interrupts
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.host import host_info, versions
from pytest_flperf.results.records import BudgetVerdict, CaseResult, HostInfo, Run, RunStatus
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.run_log import RunLog
from pytest_flperf.startup import RUN, SELECTION, STARTED
from pytest_flperf.stats.clock_quality import merge_clocks
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.targets import TargetSpec
from pytest_flperf.telemetry.sampler import Sampler

__all__ = ["MeasuringRun", "measuring_run"]

_SAVE_EVERY_S: Final = 5.0
_SAVING_SHARE: Final = 0.01
_INTERRUPTS: Final = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)
"""Of the time, at most, goes into results that will be written again: they grow with every case."""
_MESSAGE_CHARACTERS: Final = 8_000


def measuring_run(config: pytest.Config) -> MeasuringRun:
    """The run of this session, begun at its first use."""
    run = config.stash.get(RUN, None)
    if run is None:
        register(config)  # a fixture that was asked for by name while a test runs was in no list before
        run = config.stash[RUN] = MeasuringRun(config)
    return run


class MeasuringRun:
    """One session's measuring."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._options = FlperfOptions.from_pytest_config(config)
        check_options(self._options)
        self._started_at, self._token = run_begun(config)
        self._backends = SeveralBackends(keep_loaded=self._options.keep_loaded)
        self._known_backends = known_backends(config)
        self._bench: Bench | None = None
        self._asked: Sequence[Asked] = ()  # until those of other providers have begun
        self._beside: SideBySide | None = None
        self._folder: RunFolder | None = None
        self._folder_tried = False
        self._importing: threading.Thread | None = None
        self._log: RunLog | None = None
        self._results: dict[tuple[str, str], CaseResult] = {}
        self._notes: list[str] = []
        self._verdicts: tuple[BudgetVerdict, ...] = ()
        self._begun_s = config.stash.get(STARTED, time.monotonic())
        self._gpus: tuple[str, ...] = ()
        self._publisher = Publisher(self._options, config.invocation_params.dir)
        self._save_after = 0.0
        self._finished = False
        self.interrupted = False  # by a person or a signal, and not by pytest after a failure
        self._status: RunStatus = "interrupted"
        self._former_sigterm: Any = None
        self._progress = Progress(config)
        selection = config.stash.get(SELECTION, None)
        self._redactor = Redactor(secrets_of(self._options.api_key_env, selection.targets if selection else ()))
        self._limit = TimeLimit.from_pytest_config(config, self._options)
        self._standing = Standing()
        self._lock = SessionLock(
            MachineLock(" ".join(self._command()), run_token(config)),
            self._options.lock_timeout_s,
            self._progress.line,
            in_turns=neighbours(config) > 0 and SELECTION not in config.stash,
        )

    @property
    def default_model(self) -> str:
        """What a test of the user's measures where nobody says what; raises UsageError for a URL without a model."""
        return (self._options.models or default_models(self._options, None))[0]

    @property
    def options(self) -> FlperfOptions:
        """What was asked for."""
        return self._options

    # ---- measuring

    def prepare(self, cases: Sequence[Asked]) -> None:
        """Start runtime and load process, and import while they start; while another run measures nothing is begun."""
        if not self._lock.try_take():
            return
        with Interrupts():  # see _await_imports
            bench = self._working_bench()
            for asked in cases:
                with contextlib.suppress(BackendError):  # said when the case is made ready
                    self._place(asked.case)
            if self._options.parallel_targets:
                self._asked = cases
            bench.prepare(tuple(dict.fromkeys(asked.case.model for asked in cases)))
            self._importing = threading.Thread(target=self._import_ahead, name="flperf-import", daemon=True)
            self._importing.start()
            self._log_begin()

    def _await_imports(self) -> None:
        """Let nothing interrupt this thread where it imports beside others.

        Python can leave its import lock locked for ever when a Ctrl-C comes in the middle (seen with 3.12.1), and then
        every thread that imports waits for every other.
        """
        if self._importing is not None:
            with Interrupts():
                self._importing.join()
            self._importing = None

    def _import_ahead(self) -> None:
        _import_ahead()
        if not is_worker(self._config):
            self._publisher.warm_up()

    def ready(self, case: Case, nodeid: str) -> Prepared:
        """Make a case's model ready; raises NotReadyError, NotPossibleError and OutOfTimeError."""
        if self._limit.over:
            raise OutOfTimeError
        self._catch_sigterm()
        self._await_imports()
        try:
            self._lock.take(self._limit)
            self._log_begin()
            with self._progress.of(nodeid) as progress:
                bench = self._working_bench()
                self._begin_beside()
                if self._beside is not None and nodeid in self._beside:
                    return self._beside.ready(nodeid, lambda: progress.stage("measured beside others", None))
                try:
                    self._place(case)
                except BackendError as error:
                    raise NotReadyError(str(error)) from error
                return bench.ready(case, on_progress=progress.stage, nodeid=nodeid)
        except BaseException as error:
            self._lock.case_over()
            if self._bench is not None and isinstance(error, _INTERRUPTS):
                planned = self._planned(case, nodeid)
                message = "INTERRUPTED while its model was made ready"
                self.collect([replace(planned, outcome="error", message=message, partial=True).to_dict()])
            raise

    def measure(self, prepared: Prepared, budgets: tuple[str, ...], item: pytest.Item) -> CaseResult:
        """Measure and judge a case; what an exception cuts off is kept, and judged to be no pass."""
        bench = self._working_bench()
        limits = limits_of(budgets, self._options)
        nodeid = prepared.recording.nodeid
        try:
            with self._progress.of(nodeid) as progress:
                if self._beside is not None and nodeid in self._beside:
                    done = self._beside.played(nodeid, lambda: progress.stage("measured beside others", None))
                else:
                    done = played(
                        bench,
                        prepared,
                        limits,
                        self._limit.ends_at,
                        on_request=progress.requests,
                        on_partial=lambda partial: self._cut_off(partial, item),
                    )
        finally:
            self._lock.case_over()
        self._gpus = bench.gpus
        return self._judge(done, limits)

    def _begin_beside(self) -> None:
        """Begin to measure the targets of other providers, once."""
        cases, self._asked = self._asked, ()
        if not cases:
            return
        placing = placing_of(self._options, self._known_backends, self._logs)
        try:
            self._beside = begin_beside(
                cases,
                placing,
                self._options,
                lambda: Recorder(self._folder, self._redactor),
                self._limit.ends_at,
            )
        except BackendError as error:
            self._notes.append(f"nothing is measured at the same time: {printable(str(error), 300)}")
        else:
            if self._beside is None:
                self._notes.append("nothing is measured at the same time: all targets are of one provider")

    def _collect_unclaimed(self, runs: Sequence[tuple[Case, CaseRun]]) -> None:
        """Keep what was measured beside others and nobody asked for, because the session ended before."""
        for case, done in runs:
            result = self._judge(done, limits_of(case.scenario.budgets, self._options))
            if done.trouble:
                result = stopped(result, "INTERRUPTED", "")
            self.collect([result.to_dict()])

    def not_ready(
        self, case: Case, nodeid: str, reason: NotReadyError | NotPossibleError | OutOfTimeError
    ) -> CaseResult:
        """The result of a case of which nothing was measured: an error, or skipped: out of time, or not possible."""
        planned = self._planned(case, nodeid)
        if isinstance(reason, NotPossibleError):
            return self._standing.add(replace(planned, outcome="skipped", message=NOT_MEASURED + str(reason)))
        if isinstance(reason, OutOfTimeError):
            return self._standing.not_measured(planned, self._limit.words)
        what = NOT_MEASURED if isinstance(reason, MachineBusyError) else "the model is not ready: "
        message = _lines(what + self._redactor.text(str(reason)))
        return self._standing.add(replace(planned, outcome="error", message=message))

    def _planned(self, case: Case, nodeid: str) -> CaseResult:
        return CaseResult(
            nodeid=nodeid,
            suite=case.suite,
            scenario=case.scenario.name,
            model=case.model,
            parameters=dict(case.parameters),
            host=self._host_name(),
            description=case.scenario.description,
            expected_output_length=case.scenario.expected_output_length,
            tags=case.scenario.tags,
        )

    def release(self, model: str) -> None:
        """Unload a model."""
        if self._bench is not None:
            self._bench.release(model)

    def _judge(self, done: CaseRun, budgets: Sequence[Budget]) -> CaseResult:
        result = judge(done.result, budgets)
        others = neighbours(self._config)
        if others:
            result = replace(result, notes=(*result.notes, f"measured beside {others} more workers: use -n 1"))
        if done.trouble:
            result = replace(result, notes=(done.trouble, *result.notes), outcome="failed", given_up=True)
            result = replace(result, message=verdict_text(result, done.trouble))
        if done.out_of_time:
            result = self._standing.cut_short(result, self._limit.words)
        if self._lock.problem:
            result = replace(result, notes=(*result.notes, self._lock.problem))
        return self._standing.add(result)

    def _cut_off(self, partial: CaseResult, item: pytest.Item) -> None:
        """Keep what was measured: of an interrupt pytest makes no report, of other exceptions (a timeout) it does."""
        error = sys.exception()
        if isinstance(error, _INTERRUPTS):
            self.collect([stopped(partial, "INTERRUPTED", "").to_dict()])
        else:
            add_item_result(item, self._standing.add(stopped(partial, "stopped", self._redactor.text(str(error)))))

    def _working_bench(self) -> Bench:
        if self._bench is None:
            self._open_folder()
            self._catch_sigterm()
            # The interpreter's last collections go through all that openai and pydantic made: 0.2 to 0.3 s for nothing.
            atexit.register(gc.freeze)
            series = self._folder.journal("resources.jsonl") if self._folder else None
            recorder = Recorder(self._folder, self._redactor)
            sampler, processes = Sampler(series), self._options.load_processes
            self._bench = Bench(self._backends, recorder, self._options.seed, sampler, processes)
        return self._bench

    def _place(self, case: Case) -> None:
        """Say where the model of a case lives; raises BackendError where that can't be."""
        placing = placing_of(self._options, self._known_backends, self._logs)
        self._backends.add(case.model, placing.place(case.target or TargetSpec(case.model)))

    @property
    def _logs(self) -> Path | None:
        return self._folder.path / "logs" if self._folder else None

    def _catch_sigterm(self) -> None:
        """Let SIGTERM end the session in order: by default it would kill pytest without finalisers or results."""
        if threading.current_thread() is not threading.main_thread() or self._former_sigterm is not None:
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._former_sigterm = signal.signal(signal.SIGTERM, _exit_on_sigterm)

    # ---- results

    def collect(self, results: list[dict[str, Any]]) -> None:
        """Take results in, in the process that writes them."""
        for record in results:
            result = CaseResult.from_dict(record)
            key = (result.nodeid, result.host)
            self._results[key] = after_rerun(self._results[key], result) if key in self._results else result
            self._log_begin().result(self._results[key])
            if not is_worker(self._config):
                self._call("pytest_flperf_case_measured", result=self._results[key])
        if is_worker(self._config):
            return
        self._publisher.follow(self._folder)
        if time.monotonic() > self._save_after:
            self._save()

    def _call(self, name: str, **arguments: Any) -> None:
        """Call a hook of ours; what an implementation raises costs nobody a measurement."""
        hook = getattr(self._config.hook, name, None)
        if hook is None:
            return  # nobody implements it
        try:
            hook(config=self._config, **arguments)
        except Exception as error:  # noqa: BLE001 - somebody else's code
            self._notes.append(f"{name}: {type(error).__name__}: {printable(str(error), 300)}")

    def judge_run(self) -> tuple[BudgetVerdict, ...]:
        """The verdicts of the run's own budgets; none where none were asked for, or nothing was to be measured."""
        budgets = parse_run_budgets(self._options.run_budgets)
        if budgets and self._results:
            wall_s = time.monotonic() - self._begun_s
            self._verdicts = tuple(budget.judge(tuple(self._results.values()), wall_s) for budget in budgets)
        return self._verdicts

    def finish(self, exitstatus: int) -> None:
        """End the processes and write the final results."""
        if self._finished:
            return
        self._finished = True
        self.close()
        self._add_unfinished()
        if self._log is not None:
            self._log.close()
        self._status = run_status(int(exitstatus), self.interrupted, self._results.values(), self._verdicts)
        if (self._results or self._folder is not None) and not is_worker(self._config):
            run = self._save()
            if self._folder is not None:
                self._folder.update_latest()
            self._publisher.publish(run, self._folder)
            junit = self._config.getoption("xmlpath", default=None)
            if junit:
                self._publisher.complete_junit(run, junit)
            self._call("pytest_flperf_run_finished", run=run, folder=self._folder.path if self._folder else None)

    def _add_unfinished(self) -> None:
        """Take in what a worker of xdist was measuring when it was ended: its controller has heard nothing of it."""
        if self._folder is None or not is_controller(self._config):
            return
        from pytest_flperf.experiment.recovery import unfinished_cases

        for case in unfinished_cases(self._folder.path):
            self._results.setdefault((case.nodeid, case.host), case)

    def _log_begin(self) -> RunLog:
        """The log, which says what run this is; only the process that writes the results writes it."""
        self._open_folder()
        if self._log is None:
            self._log = RunLog(None if is_worker(self._config) else self._folder)
            self._log.run(self._run())
        return self._log

    def close(self) -> None:
        """End the processes; safe to call twice."""
        if self._beside is not None:
            beside, self._beside = self._beside, None
            self._collect_unclaimed(beside.close())
        if self._bench is not None:
            bench, self._bench = self._bench, None
            bench.close()
        self._lock.release()
        if self._former_sigterm is not None:
            signal.signal(signal.SIGTERM, self._former_sigterm)
            self._former_sigterm = None

    def summarise(self, reporter: pytest.TerminalReporter) -> None:
        """Print the table and where the files are."""
        if not self._results:
            return
        from pytest_flperf.integration.terminal import print_summary

        problems = (*(self._folder.problems if self._folder else ()), *self._publisher.problems)
        print_summary(reporter, self._run(), self._folder.path if self._folder else None, (*self._notes, *problems))

    def _run(self) -> Run:
        cases = tuple(self._results.values())
        selection = self._config.stash.get(SELECTION, None)
        finished_at = datetime.now(UTC) if self._finished else None
        return Run(
            id=self._folder.id if self._folder else "not-written",
            started_at=self._started_at.isoformat(timespec="milliseconds"),
            finished_at=finished_at.isoformat(timespec="milliseconds") if finished_at else None,
            status=self._status,
            suites=tuple(loaded.suite.ref for loaded in selection.loaded.values()) if selection else (),
            command=self._command(),
            host=replace(self._host, gpus=self._gpus or self._host.gpus),
            versions=self._versions,
            clock=merge_clocks(case.clock for case in cases),
            notes=(*self._notes, *absent_lines(cases)),
            budgets=self._verdicts,
            partial=self._status == "interrupted" or any(case.partial for case in cases),
            cases=cases,
        )

    def _command(self) -> tuple[str, ...]:
        return tuple(self._redactor.text(word) for word in ["pytest", *self._config.invocation_params.args])

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
        selection = self._config.stash.get(SELECTION, None)
        names = [loaded.suite.name for loaded in selection.loaded.values()] if selection else ["tests"]
        try:
            self._folder = RunFolder.create(base, self._started_at, names, token=self._token)
        except OSError as error:
            self._notes.append(f"nothing is written: {base} can't be used: {error.strerror or error}")

    def _host_name(self) -> str:
        import platform

        return platform.node()


def _exit_on_sigterm(number: int, frame: FrameType | None) -> None:
    del number, frame
    pytest.exit("SIGTERM", returncode=pytest.ExitCode.INTERRUPTED)


def _import_ahead() -> None:
    """Import beside the start of the runtime what the first case needs, and then what the end of the run needs.

    openai takes 0.3 to 0.6 s; the table's modules (wcwidth above all) 50 to 90 ms, by which the end would be longer.
    """
    for name in ("psutil", "openai", "pytest_flperf.integration.terminal", "wcwidth", "tabulate"):
        importlib.import_module(name)


def _lines(text: str) -> str:
    return "\n".join(printable(line, 500) for line in text[:_MESSAGE_CHARACTERS].splitlines())
