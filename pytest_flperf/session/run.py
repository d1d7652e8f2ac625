"""Measuring run: prepare, measure, judge and record cases."""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.resolver import PlacingError, secrets_of
from pytest_flperf.backends.router import SeveralBackends
from pytest_flperf.loadgen.interrupts import Interrupts
from pytest_flperf.measurement.machine_lock import MachineLock
from pytest_flperf.measurement.parallel_targets import Asked
from pytest_flperf.measurement.parameters import known_ahead
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench, CaseRun, NotPossibleError, NotReadyError, Prepared
from pytest_flperf.results.metrics import VALUES_KEPT
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.session.baselines import Baseline
from pytest_flperf.session.context import Listener, RunContext
from pytest_flperf.session.default_model import DefaultModels
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.history import store_password
from pytest_flperf.session.imports_ahead import ImportsAhead
from pytest_flperf.session.machine_lock import MachineBusyError, SessionLock
from pytest_flperf.session.model_order import take_turns
from pytest_flperf.session.mutual_exclusion import Turns
from pytest_flperf.session.options import RunOptions
from pytest_flperf.session.other_providers import OtherProviders
from pytest_flperf.session.paired import opposition_of
from pytest_flperf.session.placing import placing_of
from pytest_flperf.session.planned_cases import PlannedTest
from pytest_flperf.session.planning import check_options
from pytest_flperf.session.playing import limits_of, played
from pytest_flperf.session.run_record import RunRecord
from pytest_flperf.session.time_left import Expected
from pytest_flperf.session.time_limit import OutOfTimeError, TimeLimit
from pytest_flperf.session.unfinished import stopped
from pytest_flperf.session.verdicts import Verdicts
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.targets import TargetSpec
from pytest_flperf.telemetry.sampler import Sampler

if TYPE_CHECKING:
    from pytest_flperf.session.judge.inline import InlineJudge

__all__ = ["MeasuringRun"]


class MeasuringRun:
    """Measuring run: prepares, measures, judges and records cases."""

    def __init__(
        self, context: RunContext, listener: Listener, baseline: Baseline | None, default_models: DefaultModels
    ) -> None:
        """Check the options, and start nothing yet; raises OptionsError."""
        self._context = context
        self._options = context.options
        check_options(self._options)
        try:
            placing = placing_of(self._options, self._context.backends)
            placing.check_run()
            placing.check(self._options.targets)
        except PlacingError as error:
            raise OptionsError(str(error)) from error
        self._backends = SeveralBackends(keep_loaded=self._options.keep_loaded)
        self._bench: Bench | None = None
        self._in_turns: tuple[str, ...] = ()
        """Models that stay loaded, because their cases take turns."""
        self._imports = ImportsAhead(self._warm_up_the_end)
        self._finished = False
        self._stopper = listener.stopper
        self._stopper.install()
        self.turns = Turns(lambda: self._bench)
        """Which thread measures now."""
        self._stopper.on_signal = self.turns.cancel_elsewhere
        self._progress = listener.progress
        self._opposition = opposition_of(self._options)
        targets = (*self._options.targets, *context.targets)
        if self._opposition is not None:
            targets = (*targets, *self._opposition.targets(targets))
        secrets = secrets_of(self._options.api_key_env, targets, self._options.base_url)
        self._secrets = (*secrets, store_password(self._options, context.here))
        self._redactor = Redactor(self._secrets)
        self.record = RunRecord(context, listener, self._redactor)
        """Results so far, and the files that they go to."""
        self._default_models = default_models
        self._baseline = baseline
        if self._baseline is not None and self._baseline.nothing:
            self.record.note(self._baseline.nothing)
        self._limit = TimeLimit.of(self._options, context.begun_s)
        self._lock = SessionLock(
            MachineLock(" ".join(self.record.command), context.lock_token),
            self._options.lock_timeout_s,
            self._progress.line,
            in_turns=context.takes_turns,
        )
        self._others = OtherProviders(
            context, self.record, self._redactor, self._new_recorder, self._new_sampler, self._limit.ends_at
        )
        self._verdicts = Verdicts(
            self._opposition, baseline, self.record, self._redactor, self._limit, self._lock, context.neighbours
        )

    @property
    def default_model(self) -> str:
        """Model of tests that name none; raises OptionsError.

        The error means that no default model is known.
        """
        named = tuple(target.label for target in self._options.targets)
        return (self._options.models or named or self._default_models.models(self._options))[0]

    def target(self, model: str) -> TargetSpec:
        """Target of a named model: the command line's, else the default."""
        named = [each for each in self._options.targets if model in (each.label, each.model)]
        return named[0] if named else TargetSpec(model)

    @property
    def options(self) -> RunOptions:
        """Options of the run."""
        return self._options

    # ---- measuring

    def prepare(self, cases: Sequence[Asked]) -> None:
        """Start runtime and load process; import modules meanwhile.

        Nothing is started while another run measures.
        """
        if take_turns(self._options, [asked.case for asked in cases]):
            self._in_turns = tuple(dict.fromkeys(asked.case.model for asked in cases))
        self._progress.expect(lambda: self._expected(cases), self._limit.ends_at)
        if not self._lock.try_take():
            return
        with Interrupts():  # see ImportsAhead.wait
            bench = self._working_bench()
            sides = [asked.case for asked in cases]
            if self._opposition is not None:
                sides += [other for case in tuple(sides) if (other := self._opposition.of(case)) is not None]
            for case in sides:
                with contextlib.suppress(BackendError):  # said when the case is made ready
                    self._place(case)
            if self._options.parallel_targets:
                self._others.expect(cases)
            models = tuple(dict.fromkeys(case.model for case in sides))
            bench.prepare(models)
            backends = self._backends
            ahead = known_ahead(sides, backends.capabilities, backends.kind_of)
            if ahead:
                self._progress.line(f"parameters: {self._redactor.text(ahead)}")
            compares = self._options.compares or len(sides) > len(cases) or len(models) > 1
            self._imports.start(compares=compares)
            self.record.begin()

    def _expected(self, cases: Sequence[Asked]) -> dict[str, Expected]:
        """How long each case may take."""
        from pytest_flperf.session.duration_estimate import expected_durations

        by_nodeid = {asked.nodeid: asked.case for asked in cases}
        return expected_durations(by_nodeid, self._context.here / self._options.report_dir, self._is_in_turns)

    def _is_in_turns(self, case: Case) -> bool:
        return self._opposition is not None and self._opposition.of(case) is not None

    def _warm_up_the_end(self) -> None:
        if self._context.writes:
            self.record.publisher.warm_up()
            self.record.storing.warm_up()

    def ready(self, case: Case, nodeid: str) -> Prepared:
        """Prepare a case's model.

        Raises NotReadyError, NotPossibleError and OutOfTimeError.
        """
        if self._limit.over:
            raise OutOfTimeError
        with self._progress.of(""):
            self._imports.wait()
        try:
            self._stopper.check()
            self._lock.take(self._limit)
            self.record.begin()
            with self._progress.of(nodeid) as progress:
                bench = self._working_bench()
                self._others.begin()
                if nodeid in self._others:
                    return self._others.ready(nodeid, progress)
                beside = self._opposition.of(case) if self._opposition is not None else None
                try:
                    for side in (case, beside):
                        if side is not None:
                            self._place(side)
                except BackendError as error:
                    raise NotReadyError(str(error)) from error
                ends_at, told = self._limit.ends_at, progress.stage
                prepared = bench.ready(
                    case, beside=beside, on_progress=told, nodeid=nodeid, stop_at=ends_at, keep=self._in_turns
                )
                self._stopper.check()
                return prepared
        except BaseException as error:
            with Interrupts():
                self._lock.case_over()
                if self._bench is not None and isinstance(error, self._context.interrupts):
                    self.collect([self._verdicts.interrupted_ahead(case, nodeid).to_dict()])
            raise

    def measure(
        self,
        prepared: Prepared,
        budgets: tuple[str, ...],
        tests: Iterable[PlannedTest],
        keep: Callable[[CaseResult], None],
    ) -> CaseResult:
        """Measure and judge a case.

        If an exception cuts it off, its results are kept, and it does not pass.

        Args:
            prepared: The prepared case.
            budgets: Its budgets, as written.
            tests: All tests of the run that measure; they share its error rate.  Iterated several times.
            keep: Takes the result of a case that an exception cut off, unless it is an interrupt.

        """
        bench = self._working_bench()
        limits = limits_of(budgets, self._options)
        nodeid = prepared.recording.nodeid
        opposition = self._opposition if prepared.beside is not None else None
        try:
            with self._progress.of(nodeid) as progress:
                if nodeid in self._others:
                    done = self._others.played(nodeid, progress)
                else:
                    done = played(
                        bench,
                        prepared,
                        limits,
                        self._limit.ends_at,
                        on_request=progress.requests,
                        on_partial=lambda partial: self._cut_off(partial, prepared.case, keep),
                        until=opposition.until(prepared, tests) if opposition is not None else None,
                    )
        finally:
            self._lock.case_over()
        self.record.gpus = bench.gpus
        result = done.result
        try:
            with Interrupts():  # an interrupt in the middle of it would leave nothing of the case
                result = self._verdicts.judged(done, prepared.case, limits, prepared.recording, tests)
            self._stopper.check()
        except self._context.interrupts:
            with Interrupts():
                self.collect([stopped(result, "INTERRUPTED", "").to_dict()])
            raise
        return result

    def _collect_unclaimed(self, runs: Sequence[tuple[Case, CaseRun, bool]]) -> None:
        """Keep parallel results of cases whose tests did not run.

        The session ended before these tests.
        """
        for case, done, cut_off in runs:
            result = self._verdicts.judged(done, case, limits_of(case.scenario.budgets, self._options))
            if cut_off:
                result = stopped(result, "INTERRUPTED", "")
            self.collect([result.to_dict()])

    def not_ready(
        self, case: Case, nodeid: str, reason: NotReadyError | NotPossibleError | OutOfTimeError
    ) -> CaseResult:
        """Result of an unmeasured case: error, or skipped.

        Skipped if the time is over or the measurement is not possible.
        """
        return self._verdicts.not_ready(case, nodeid, reason)

    def go_on(self) -> None:
        """End the wait for a turn if a signal came.

        Also if the time is over; then it raises OutOfTimeError.
        """
        self._stopper.check()
        if self._limit.over:
            raise OutOfTimeError

    def release_unless_shared(self, model: str) -> None:
        """Unload a model, unless its cases take turns with those of others."""
        if model not in self._in_turns:
            self.release(model)

    def release(self, model: str) -> None:
        """Unload a model."""
        problem = self._bench.release(model) if self._bench is not None else ""
        if problem:
            self.record.note(self._redactor.text(problem))

    def _cut_off(self, done: CaseRun, case: Case, keep: Callable[[CaseResult], None]) -> None:
        """Keep the partial result of a case.

        Pytest makes no report of an interrupt, but it does of other exceptions (a timeout).
        """
        error = sys.exception()
        if isinstance(error, self._context.interrupts):
            self.collect([self._verdicts.interrupted(done, case).to_dict()])
        else:
            keep(self._verdicts.stopped(done, case, str(error)))

    def _working_bench(self) -> Bench:
        if self._bench is None:
            # The last garbage collections would visit all objects of pytest and pydantic, for nothing.
            atexit.register(gc.freeze)
            processes = self._options.load_processes
            self._bench = Bench(
                self._backends,
                self._new_recorder(),
                self._options.seed,
                self._new_sampler(),
                processes,
                self._context.score,
            )
        return self._bench

    def _new_recorder(self) -> Recorder:
        """Recorder that keeps the values that a baseline is compared with."""
        most_values = 0 if self._baseline is None else VALUES_KEPT
        return Recorder(self.record.folder, self._redactor, most_values=most_values)

    def _new_sampler(self) -> Sampler:
        folder = self.record.folder
        return Sampler(folder.journal("resources.jsonl") if folder else None)

    def _place(self, case: Case) -> None:
        """Register where a case's model lives; raises BackendError."""
        placing = placing_of(self._options, self._context.backends, self.record.logs)
        self._backends.add(case.model, placing.place(case.target_spec))

    def collect(self, results: list[dict[str, Any]]) -> None:
        """Record results, in the process that writes them."""
        self.record.collect(results)

    def finish(self, exit_code: int, faults: Sequence[str], to_measure: Sequence[str]) -> None:
        """End the processes and write the final results."""
        if not self._finished:
            self._finished = True
            left = self.turns.end_elsewhere()
            if left:
                self.record.note(f"not measured: {left}, in a thread that did not end with the session")
            self.close()
            if self._baseline is not None:
                self._baseline.note_unpaired(self.record)
            self.record.finish(exit_code, faults, to_measure)

    def judge_answers(self, inline: InlineJudge) -> None:
        """Let the judge of a suite judge the answers, once nothing is measured any more.

        The models that were measured are unloaded before it is loaded.  Raises KeyboardInterrupt where one ended it;
        the verdicts that came by then are kept.
        """
        from pytest_flperf.session.judge.inline import judge_run, not_judged

        self._end_measuring()
        folder, run = self.record.folder, self.record.run()
        if not any(case.nodeid in inline.nodeids and case.requests.total for case in run.cases):
            self.record.note("the judge was not asked: there are no answers")
            return
        if folder is None:
            self.record.keep_judgement(not_judged(inline, run, "the answers could not be written"))
            return
        redactor = Redactor([*self._secrets, *secrets_of(None, [inline.spec.target])])
        try:
            self._lock.take(self._limit)
            place = placing_of(self._options, self._context.backends, self.record.logs).place(inline.spec.target)
        except (BackendError, MachineBusyError, OutOfTimeError) as error:
            self.record.keep_judgement(not_judged(inline, run, redactor.text(str(error)) or self._limit.words))
            return
        with self._progress.of("flperf::judge") as progress:
            found = judge_run(inline, run, folder.path, place, redactor, progress.stage, self._limit.ends_at)
        self.record.keep_judgement(found)
        if found.was_interrupted:
            self._stopper.check()
            raise KeyboardInterrupt

    def leave_unjudged(self, inline: InlineJudge, why: str) -> None:
        """Note that the judge of a suite is not asked; its gate is missed."""
        from pytest_flperf.session.judge.inline import not_judged

        self.record.keep_judgement(not_judged(inline, self.record.run(), why))

    def close(self) -> None:
        """End the processes; safe to call twice."""
        self._end_measuring()
        self._lock.release()

    def _end_measuring(self) -> None:
        """End the processes that measure; the lock is kept."""
        self._others.close(self._collect_unclaimed)
        if self._bench is not None:
            for model in self._in_turns:
                self.release(model)
            bench, self._bench = self._bench, None
            bench.close()
