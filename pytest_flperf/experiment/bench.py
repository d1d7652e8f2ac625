"""Measures cases one after the other: makes the model ready, plays the plans, sums up.

A notebook can use it without pytest::

    with Bench(backend) as bench:
        result = bench.run(case).result
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from pytest_flperf.backends.base import Backend, BackendError, OnProgress, Served
from pytest_flperf.experiment.case_run import CaseRun, Prepared
from pytest_flperf.experiment.clients import Clients
from pytest_flperf.experiment.collector import Collector, no_collections
from pytest_flperf.experiment.counting import Counter, gave_up
from pytest_flperf.experiment.interleaving import (
    AGAINST,
    BASELINE,
    CANDIDATE,
    Interleaving,
    OtherSide,
    Standings,
    Until,
    on_own_time,
    until_s,
    why_not_interleaved,
)
from pytest_flperf.experiment.loading import ensure_with_cost
from pytest_flperf.experiment.playing import CasePlans, target_of
from pytest_flperf.experiment.preparing import (
    Calibrations,
    FirstUse,
    NotPossibleError,
    NotReadyError,
    learn_lengths,
    planned_on,
    refuse_another,
    refuse_too_long,
    ttft_ms_of,
)
from pytest_flperf.experiment.recording import CaseRecording, Recorder
from pytest_flperf.load.group import Plays
from pytest_flperf.load.interrupts import Interrupts
from pytest_flperf.load.native import NativeClient
from pytest_flperf.load.plan import OPEN_END, Plan, PlanStats
from pytest_flperf.load.session import LoadProcessError
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_log import RunLog
from pytest_flperf.stats.case import IsGood, planned_result, summarise
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.model import Case
from pytest_flperf.telemetry.sampler import Sampler
from pytest_flperf.telemetry.track import Watch
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory
from pytest_flperf.wire.sample import Sample

__all__ = ["Bench", "CaseRun", "NotPossibleError", "NotReadyError", "Prepared"]

_TRIES_UNTIL_HOPELESS: Final = 2
_PROBLEM_LINES: Final = 2
"""What happened, and where the log is; the log's lines follow."""
_LOG_LINES: Final = 6


def _ignore_progress(what: str, percent: float | None) -> None:
    del what, percent


class Bench:
    """One backend, one load process, one model at a time."""

    def __init__(
        self,
        backend: Backend,
        recorder: Recorder | None = None,
        seed: str | None = None,
        sampler: Sampler | None = None,
        processes: int = 1,
    ) -> None:
        """Start nothing yet.

        Args:
            backend: What serves the models; closed with the bench.
            recorder: Keeps requests on disk; None: nothing is kept.
            seed: Makes the prompts' unique prefixes; None: another one for each run.
            sampler: Looks at the machine meanwhile, closed with the bench; None: one that writes no file.
            processes: Load processes that the streams of a case are spread over.

        """
        self._backend = backend
        self._recorder = recorder or Recorder(None, Redactor())
        self._seed = seed or secrets.token_hex(8)
        self._sampler = sampler or Sampler()
        self._processes = processes
        self._clients = Clients(processes)
        self._native: Plays | None = None  # of a model that answers without HTTP, while it is made ready
        self._factories: dict[tuple[Any, ...], RequestFactory] = {}
        self._ready: dict[str, FirstUse] = {}
        self._failures: dict[str, list[str]] = {}
        self._calibrations = Calibrations(processes)
        self._left_busy: set[str] = set()  # models whose last case abandoned requests
        self._released: set[str] = set()  # models that may be loaded all the same: somebody wants them kept
        self._loaded: tuple[str, ...] = ()  # the models of the last case
        self._host = platform.node()
        self._collector = Collector()

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names of this machine's NVIDIA GPUs, as far as the driver has told them by now."""
        return self._sampler.gpu_names

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start what takes time: the backend's processes and the load process; returns at once."""
        self._backend.prepare(models)
        self._clients.load()
        self._sampler.start()

    def ready(
        self,
        case: Case,
        *,
        beside: Case | None = None,
        on_progress: OnProgress = _ignore_progress,
        nodeid: str | None = None,
    ) -> Prepared:
        """Make the model of a case ready: find, download, load, and see one token of it.

        Args:
            case: What will be measured.
            beside: What it will be measured interleaved with; its model is made ready, too.
            on_progress: Told of downloads and loads.
            nodeid: What to file the requests under; None: the case's own id.

        Raises:
            NotReadyError: The model could not be loaded or gave no token.
            NotPossibleError: The model can't play the case, or the two can't be ready at the same time.

        """
        if beside is None:
            return self._ready_one(case, on_progress, nodeid, (case.model,))
        impossible = why_not_interleaved(case)
        if impossible:
            raise NotPossibleError(impossible)
        models = (case.model, beside.model)
        prepared = self._ready_one(case, on_progress, nodeid, models)
        other = self._ready_one(beside, on_progress, f"{prepared.recording.nodeid} {AGAINST}", models)
        if case.model != beside.model and self._has_gone(case.model):
            both = f"{case.model} and {beside.model}"
            raise NotPossibleError(f"{both} can't be loaded at the same time: one drives out the other")
        return replace(prepared, beside=other)

    def _has_gone(self, model: str) -> bool:
        """Whether a model that was ready had to be loaded again."""
        try:
            served = self._backend.ensure(model, _ignore_progress)
        except BackendError as error:
            raise NotReadyError(str(error)) from error
        return served.generation != self._ready[model].generation

    def _ready_one(self, case: Case, on_progress: OnProgress, nodeid: str | None, keep: tuple[str, ...]) -> Prepared:
        recording = self._recorder.case(nodeid or case.nodeid)
        failures = self._failures.setdefault(case.model, [])
        if len(failures) >= _TRIES_UNTIL_HOPELESS:
            last = failures[-1].partition("\n")[0]  # its log was shown with the case that met it
            raise NotReadyError(f"not tried again after {len(failures)} failures, the last of them: {last}")
        try:
            prepared = self._try_ready(case, recording, on_progress, keep)
        except (BackendError, LoadProcessError) as error:
            self._ready.pop(case.model, None)
            failures.append(str(error))
            raise NotReadyError(str(error)) from error
        except SuiteError as error:  # a prompt that can't be made: the model is not to blame
            raise NotReadyError(str(error)) from error
        failures.clear()
        return prepared

    def play(
        self,
        prepared: Prepared,
        *,
        on_request: Callable[[int, int], None] | None = None,
        on_partial: Callable[[CaseResult], None] | None = None,
        stop_at: float | None = None,
        good: IsGood | None = None,
        until: Until | None = None,
    ) -> CaseRun:
        """Warm up and measure a case whose model is ready, interleaved with its other side where it has one.

        Args:
            prepared: From :meth:`ready`.
            good: Whether a request counts for goodput, by its metrics; None: there is no goodput.
            on_request: Told how many of how many measured requests have ended, about ten times a second; of 0 where
                nobody knows.
            on_partial: Given what was measured where an interrupt ends the case; the interrupt goes on after it.
            stop_at: From when on no request is sent (monotonic, in seconds); None: never.
            until: When a case that has another side is decided; it needs one.

        """
        self._collector.set_aside()
        case = prepared.case
        counter = Counter(on_request)
        result: CaseResult | None = None
        prepared.recording.begin(prepared.planned, case.scenario.budgets)
        watch = self._sampler.watch(prepared.recording.nodeid, prepared.server)
        try:
            if prepared.beside is None:
                trouble, out_of_time, standings = *self._play_case(prepared, counter, watch, stop_at), None
            else:
                assert until is not None
                trouble, out_of_time, standings = self._play_turns(prepared, until, counter, watch, stop_at)
            notes = prepared.planned.notes + prepared.plans.notes
            if trouble or counter.lost:
                notes += self._look_after_backend(case.model)
                self._left_busy.add(case.model)
            with Interrupts():  # summing up twice would write every sample twice
                result = self._sum_up(prepared, notes, watch, good)
                other = self._other_side(prepared, standings, good)
        except BaseException:
            self._left_busy.add(case.model)
            if on_partial is not None:
                on_partial(result or self._sum_up(prepared, prepared.planned.notes, watch, good))
            raise
        if other is not None:
            result = on_own_time(result, other.standings.span_s(CANDIDATE))
        return CaseRun(result, trouble, out_of_time, other)

    def _play_case(self, prepared: Prepared, counter: Counter, watch: Watch, stop_at: float | None) -> tuple[str, bool]:
        """Warm up and measure; why fewer requests were measured than planned, and whether the time was over."""
        recording, plans = prepared.recording, prepared.plans
        try:
            self._play(plans.warmup(), recording.add, stop_at=stop_at, on=prepared)
            measured = plans.measured()
            counter.total = 0 if measured.total == OPEN_END else measured.total
            watch.measured()
            stats = self._play(measured, counter.wrap(recording.add), counter.tick, stop_at=stop_at, on=prepared)
        except LoadProcessError as error:
            return f"{error}; a new one was started for the next case", False
        except SuiteError as error:  # a template that fails on a row that nobody tried before
            return str(error), False
        finally:
            watch.done()  # before anything is summed up: what that takes is not the case's
        return (gave_up(measured, stats), stats.stopped) if stats is not None else ("", True)

    def _play_turns(
        self, prepared: Prepared, until: Until, counter: Counter, watch: Watch, stop_at: float | None
    ) -> tuple[str, bool, Standings]:
        """Warm up both sides and measure them turn by turn; as :meth:`_play_case`, and what was seen of the pairs."""
        other = prepared.beside
        assert other is not None
        sides = (prepared, other)
        turns = Interleaving(
            prepared.plans,
            other.plans,
            seed=f"{self._seed}/{prepared.recording.nodeid}",
            as_one=prepared.native is None and other.native is None,
        )
        stop_at = until_s(prepared.case, stop_at)

        def play(side: int, plan: Plan, keep: Callable[[Exchange], None]) -> PlanStats | None:
            return self._play(plan, keep, counter.tick, stop_at=stop_at, on=sides[side])

        keep = (counter.wrap(prepared.recording.add), counter.wrap(other.recording.add))
        try:
            for side in sides:
                self._play(side.plans.warmup(), side.recording.add, stop_at=stop_at, on=side)
            watch.measured()
            trouble, stopped = turns.play(play, keep, until)
        except LoadProcessError as error:
            trouble, stopped = f"{error}; a new one was started for the next case", False
        except SuiteError as error:
            trouble, stopped = str(error), False
        finally:
            watch.done()
        return trouble, stopped, turns.standings

    def _other_side(self, prepared: Prepared, standings: Standings | None, good: IsGood | None) -> OtherSide | None:
        other = prepared.beside
        if other is None or standings is None:
            return None
        with no_collections():
            result = summarise(other.recording.samples(), other.planned, good)
        return OtherSide(on_own_time(result, standings.span_s(BASELINE)), standings)

    def prepared_at(self, prepared: Prepared, case: Case, where: str) -> Prepared:
        """A case that is ready, played another way; its requests are filed under its node id and ``where``."""
        recording = self._recorder.case(f"{prepared.recording.nodeid} {where}")
        planned = replace(prepared.planned, load=planned_result(case, processes=self._processes).load)
        return replace(prepared, case=case, planned=planned, plans=prepared.plans.at(case), recording=recording)

    def run(self, case: Case) -> CaseRun:
        """Make ready and play in one; raises NotReadyError."""
        return self.play(self.ready(case))

    def release(self, model: str) -> str:
        """Unload a model, if it is loaded; why that couldn't be done, empty where it was."""
        self._released.add(model)
        self._loaded = tuple(each for each in self._loaded if each != model)
        try:
            self._backend.release(model)
        except BackendError as error:
            return f"{model} could not be unloaded: {error}"
        return ""

    def cancel(self) -> None:
        """End the plan under way, from another thread: its case is summed up with what there is."""
        self._clients.cancel()

    def close(self) -> None:
        """End the load process and what the backend started."""
        self._clients.stop()
        self._backend.close()
        self._recorder.close()
        self._sampler.close()
        self._collector.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- a model made ready

    def _try_ready(
        self, case: Case, recording: CaseRecording, on_progress: OnProgress, keep: tuple[str, ...]
    ) -> Prepared:
        model = case.model
        # only the models of one case at a time: what is loaded beside them takes memory and cores
        left = tuple(filter(None, (self.release(former) for former in self._loaded if former not in keep)))
        self._loaded = tuple(dict.fromkeys((*self._loaded, model)))
        served, cost = ensure_with_cost(self._backend, model, on_progress)
        self._native = NativeClient(served.native) if served.native is not None else None
        known, target = self._backend.capabilities(model), target_of(served.endpoint, served.tls)
        plans = CasePlans(case, served, self._factory(served), target, self._seed, known)
        refuse_too_long(case, served)
        seen = self._ready.get(model)
        notes = served.notes + left
        if seen is not None and seen.generation == served.generation:
            notes += self._see_again(plans, served, recording)
        else:
            loaded_by_us = served.load_s is not None
            sample = self._verify(plans, Phase.COLD if loaded_by_us else Phase.VERIFY, served, recording)
            seen = FirstUse(served.generation, ttft_ms_of(sample) if loaded_by_us else None, served.download_s, cost)
            self._ready[model] = seen
        self._left_busy.discard(model)
        self._released.discard(model)
        self._learn(plans, case, recording, on_progress)
        return self._prepared(case, served, seen, plans, recording, notes)

    def _learn(self, plans: CasePlans, case: Case, recording: CaseRecording, on_progress: OnProgress) -> None:
        learn_lengths(plans, lambda plan: self._one(plan, recording))
        if not self._calibrations.before(case, self._clients.load, on_progress):
            self._clients.stop()

    def _one(self, plan: Plan, recording: CaseRecording) -> Sample:
        """Play a plan of one request."""
        mine = CaseRecording("", None, None, RunLog(None), self._recorder.redactor)

        def keep(exchange: Exchange) -> None:
            recording.add(exchange)
            mine.add(exchange)

        self._play(plan, keep)
        return next(iter(mine.samples()))

    def _see_again(self, plans: CasePlans, served: Served, recording: CaseRecording) -> tuple[str, ...]:
        """After a while, or after abandoned requests: servers work on those for seconds, a case would pay for it."""
        lost, begun = served.model in self._left_busy, time.monotonic()
        if lost or served.model in self._released:
            self._verify(plans, Phase.VERIFY, served, recording)
        took = f"{time.monotonic() - begun:.2f} s"
        return (f"the case before lost requests; the server answered a short one again after {took}",) if lost else ()

    def _verify(self, plans: CasePlans, phase: Phase, served: Served, recording: CaseRecording) -> Sample:
        sample = self._one(plans.verify(phase), recording)
        if sample.ok:
            refuse_another(sample, served)
            return sample
        where = f"{served.model_id} at {served.endpoint.base_url}"
        said = sample.evidence.detail if sample.evidence else ""
        log = self._backend.health()
        raise BackendError(
            f"{where} gave no token when asked for one before measuring: {sample.outcome.value}"
            + (f" ({said})" if said else "")
            + (f"\n{log}" if log else "")
        )

    def _factory(self, served: Served) -> RequestFactory:
        key = (served.endpoint.base_url, served.api_key, *sorted(served.headers.items()))
        if key not in self._factories:
            try:
                self._factories[key] = RequestFactory(served.endpoint, served.api_key, served.headers)
            except ValueError as error:
                raise BackendError(str(error)) from error
        return self._factories[key]

    # ---- plans played

    def _play(
        self,
        plan: Plan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
        on: Prepared | None = None,
    ) -> PlanStats | None:
        """Play a plan on the client of a model that is ready, or of the one that is being made so."""
        native = self._native if on is None else on.native
        return self._clients.play(plan, on_exchange, on_tick, stop_at=stop_at, native=native)

    def _look_after_backend(self, model: str) -> tuple[str, ...]:
        """After lost requests: what the backend says; a process that is gone is started anew by the next case."""
        problem = self._backend.health()
        if not problem:
            return ()
        self._ready.pop(model, None)
        lines = problem.splitlines()
        # A line each, and the last of a log: where notes are shown, each is cut to one line's length.
        return (*lines[:_PROBLEM_LINES], *lines[_PROBLEM_LINES:][-_LOG_LINES:])

    def _sum_up(self, prepared: Prepared, notes: tuple[str, ...], watch: Watch, good: IsGood | None) -> CaseResult:
        with no_collections():
            result = summarise(prepared.recording.samples(), replace(prepared.planned, notes=notes), good)
        resources = watch.result()
        return replace(result, resources=resources.use, resources_absent=resources.absent)

    def _prepared(
        self,
        case: Case,
        served: Served,
        seen: FirstUse,
        plans: CasePlans,
        recording: CaseRecording,
        notes: tuple[str, ...],
    ) -> Prepared:
        calibration, why_none = self._calibrations.of(case)
        planned = planned_on(case, served, seen, plans.adjustments, (*notes, *why_none), self._processes)
        planned = replace(
            planned,
            host=self._host,
            nodeid=recording.nodeid,
            settings=self._recorder.redactor.value(planned.settings),  # extra may hold anything
            adjusted=tuple(replace(each, asked=self._recorder.redactor.text(each.asked)) for each in planned.adjusted),
            calibration=calibration,
        )
        server = self._backend.processes(served.model)
        return Prepared(case, planned, plans, recording, server, self._native)
