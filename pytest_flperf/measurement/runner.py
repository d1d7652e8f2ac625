"""Bench: measures cases one after the other.

It makes the model ready, plays the plans and sums up.

A notebook can use it without pytest::

    with Bench(backend) as bench:
        result = bench.run(case).result
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from pytest_flperf.backends.base import Backend, OnProgress
from pytest_flperf.loadgen.interrupts import Interrupts
from pytest_flperf.loadgen.plan import PlanStats, RequestPlan
from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.loadgen.worker_client import LoadProcessError
from pytest_flperf.measurement.case_run import CaseRun, Prepared
from pytest_flperf.measurement.case_scoring import CaseScoring
from pytest_flperf.measurement.clients import Clients
from pytest_flperf.measurement.gc_control import Collector, no_collections
from pytest_flperf.measurement.models import Models
from pytest_flperf.measurement.paired import AGAINST, Interleaving, Until, until_s, why_not_interleaved
from pytest_flperf.measurement.paired_turns import BASELINE, CANDIDATE
from pytest_flperf.measurement.plan_progress import Counter, gave_up
from pytest_flperf.measurement.planned import load_of
from pytest_flperf.measurement.preflight import (
    NotPossibleError,
    NotReadyError,
)
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.recovery_log import log_plan, played_record
from pytest_flperf.measurement.standings import OtherSide, with_not_scored
from pytest_flperf.measurement.summing import Evidence, result_of
from pytest_flperf.quality.scorers.hook_calls import Hook
from pytest_flperf.results.capacity import step_label
from pytest_flperf.results.measured import ClockQuality
from pytest_flperf.results.records import Measured
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_log import SearchLoad
from pytest_flperf.stats.descriptive.case import IsGood
from pytest_flperf.stats.descriptive.clock_quality import with_turns
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.model import Case
from pytest_flperf.telemetry.sampler import Sampler
from pytest_flperf.telemetry.sums import CaseResources
from pytest_flperf.telemetry.track import Watch
from pytest_flperf.wire.exchange import Exchange

__all__ = ["Bench", "CaseRun", "NotPossibleError", "NotReadyError", "Prepared"]


def _ignore_progress(what: str, percent: float | None) -> None:
    del what, percent


class Bench:
    """Bench: one backend, one load process, one model at a time."""

    def __init__(
        self,
        backend: Backend,
        recorder: Recorder | None = None,
        seed: str | None = None,
        sampler: Sampler | None = None,
        processes: int = 1,
        hook: Hook | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            backend: What serves the models; closed with the bench.
            recorder: Keeps requests on disk; None: nothing is kept.
            seed: Makes the prompts' unique prefixes; None: another one for each run.
            sampler: Looks at the machine meanwhile, closed with the bench; None: one that writes no file.
            processes: Load processes that the streams of a case are spread over.
            hook: Scores answers in place of what is expected of them; None: no one implements it.

        """
        self._recorder = recorder or Recorder(None, Redactor())
        self._seed = seed or secrets.token_hex(8)
        self._sampler = sampler or Sampler()
        self._processes = processes
        self._clients = Clients(processes)
        self._models = Models(backend, self._recorder, self._seed, self._clients, processes)
        self._collector = Collector()
        self._scoring = CaseScoring(hook)

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names of this machine's NVIDIA GPUs.

        As far as the driver has reported them by now.
        """
        return self._sampler.gpu_names

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start the backend's and the load processes; returns at once.

        Both take time to start.
        """
        self._models.backend.prepare(models)
        with contextlib.suppress(LoadProcessError):  # said when a case is made ready
            self._clients.load()
        self._sampler.start()

    def ready(
        self,
        case: Case,
        *,
        beside: Case | None = None,
        on_progress: OnProgress = _ignore_progress,
        nodeid: str | None = None,
        stop_at: float | None = None,
        keep: tuple[str, ...] = (),
    ) -> Prepared:
        """Make the model of a case ready.

        It is found, downloaded and loaded, and must answer one token.

        Args:
            case: What will be measured.
            beside: What it will be measured interleaved with; its model is made ready, too.
            on_progress: Told of downloads and loads.
            nodeid: What to file the requests under; None: the case's own id.
            stop_at: From when on no server is waited for (monotonic, in seconds); None: never.
            keep: Models that stay loaded beside it.

        Raises:
            NotReadyError: The model could not be loaded or gave no token.
            NotPossibleError: The model can't play the case, or the two can't be ready at the same time.

        """
        if beside is None:
            return self._models.ready(case, on_progress, nodeid, (case.model, *keep), stop_at)
        impossible = why_not_interleaved(case)
        if impossible:
            raise NotPossibleError(impossible)
        models = (case.model, beside.model, *keep)
        prepared = self._models.ready(case, on_progress, nodeid, models, stop_at)
        other = self._models.ready(beside, on_progress, f"{prepared.recording.nodeid} {AGAINST}", models, stop_at)
        if case.model != beside.model and self._models.has_gone(case.model, on_progress):
            both = f"{case.model} and {beside.model}"
            raise NotPossibleError(f"{both} can't be loaded at the same time: loading one unloads the other")
        return replace(_in_turns(prepared), beside=_in_turns(other))

    def play(
        self,
        prepared: Prepared,
        *,
        on_request: Callable[[Counter], None] | None = None,
        on_partial: Callable[[CaseRun], None] | None = None,
        stop_at: float | None = None,
        good: IsGood | None = None,
        until: Until | None = None,
    ) -> CaseRun:
        """Warm up and measure a case whose model is ready.

        A case with another side is measured interleaved with it.

        Args:
            prepared: From :meth:`ready`.
            good: Whether a request counts for goodput, by its metrics; None: there is no goodput.
            on_request: Given the count of requests that have ended, about ten times a second, also while it warms up;
                the count knows the current speed.
            on_partial: Given what was measured where an interrupt ends the case; the interrupt goes on after it.
            stop_at: From when on no request is sent (monotonic, in seconds); None: never.
            until: When a case that has another side is decided; it needs one.

        """
        self._collector.set_aside()
        self._clients.turns = LoopTurns()
        case = prepared.case
        counter = Counter(on_request)
        done: CaseRun | None = None
        self._scoring.begin(stop_at)
        turns = self._turns_of(prepared, good)
        server, beside = prepared.server, prepared.beside
        if beside is not None:
            server = replace(server, beside=beside.server.pids)
        log_plan(prepared, server, turns, until, by_hook=self._scoring.by_hook)
        watch = self._sampler.watch(prepared.recording.nodeid, server)
        try:
            if turns is None:
                trouble, out_of_time = self._play_case(prepared, counter, watch, stop_at)
            else:
                assert until is not None
                trouble, out_of_time = self._play_turns(prepared, turns, until, counter, watch, stop_at)
            notes = prepared.planned.notes + prepared.plans.notes
            if trouble or counter.lost:
                notes += self._models.look_after_backend(case.model)
                self._models.left_busy(case.model)
            with Interrupts() as interrupts:  # summing up twice would write every sample twice
                self._scoring.time.begin(interrupts)
                done = self._sum_up_sides(prepared, turns, notes, watch, good)
                done = replace(done, trouble=trouble or _unread(prepared), out_of_time=out_of_time)
                prepared.recording.played(prepared.planned, played_record(done, notes))
        except BaseException:
            with Interrupts():  # what was measured is kept, however often somebody presses Ctrl-C
                self._models.left_busy(case.model)
                if on_partial is not None:
                    self._scoring.time.hurry()
                    notes = prepared.planned.notes + prepared.plans.notes
                    on_partial(done or self._sum_up_sides(prepared, turns, notes, watch, good))
            raise
        return done

    def _play_case(self, prepared: Prepared, counter: Counter, watch: Watch, stop_at: float | None) -> tuple[str, bool]:
        """Warm up and measure a case.

        Returns why fewer requests were measured than planned, and whether the time was over.
        """
        recording, plans, native = prepared.recording, prepared.plans, prepared.native
        try:
            warmup = plans.warmup()
            counter.warming(warmup)
            self._clients.play(warmup, counter.wrap(recording.add), counter.tick, stop_at=stop_at, native=native)
            measured = plans.measured(recording.early)
            counter.measuring(measured)
            watch.measured(measured.schedule.steady_from_ns, measured.schedule.steady_until_ns)
            self._clients.turns = LoopTurns()
            stats = self._clients.play(
                measured, counter.wrap(recording.add), counter.tick, stop_at=stop_at, native=native
            )
        except LoadProcessError as error:
            return f"{error}; a new one was started for the next case", False
        except SuiteError as error:  # a template that fails on a row that nobody tried before
            return str(error), False
        finally:
            watch.done()  # before anything is summed up: what that takes is not the case's
        return (gave_up(measured, stats), stats.stopped) if stats is not None else ("", True)

    def _turns_of(self, prepared: Prepared, good: IsGood | None) -> Interleaving | None:
        """The turns of a case that has another side, not started yet."""
        other = prepared.beside
        if other is None:
            return None
        return Interleaving(
            prepared.plans,
            other.plans,
            seed=f"{self._seed}/{prepared.recording.nodeid}",
            as_one=prepared.native is None and other.native is None,
            good=good,
            scorers=(self._scoring.scorer(prepared, in_turns=True), self._scoring.scorer(other, in_turns=True)),
            decoders=(prepared.recording.early, other.recording.early),
            prices=(prepared.planned.price, other.planned.price),
        )

    def _play_turns(
        self,
        prepared: Prepared,
        turns: Interleaving,
        until: Until,
        counter: Counter,
        watch: Watch,
        stop_at: float | None,
    ) -> tuple[str, bool]:
        """Warm up both sides and measure them turn by turn; as :meth:`_play_case`."""
        other = prepared.beside
        assert other is not None
        sides = (prepared, other)
        ends_at = until_s(prepared.case, stop_at)

        def play(side: int, plan: RequestPlan, keep: Callable[[Exchange], None]) -> PlanStats | None:
            return self._clients.play(plan, keep, counter.tick, stop_at=ends_at, native=sides[side].native)

        keep = (counter.wrap(prepared.recording.add), counter.wrap(other.recording.add, other_side=True))
        try:
            for side, kept in zip(sides, keep, strict=True):
                warmup = side.plans.warmup(other_side=side is other)
                counter.warming(warmup)
                self._clients.play(warmup, kept, counter.tick, stop_at=ends_at, native=side.native)
            counter.measuring(None)
            watch.measured()
            self._clients.turns = LoopTurns()
            trouble, stopped = turns.play(play, keep, until)
        except LoadProcessError as error:
            trouble, stopped = f"{error}; a new one was started for the next case", False
        except SuiteError as error:
            trouble, stopped = str(error), False
        finally:
            watch.done()
        return trouble, stopped and ends_at == stop_at  # a case's own duration cuts nothing short

    def _sum_up_sides(
        self,
        prepared: Prepared,
        turns: Interleaving | None,
        notes: tuple[str, ...],
        watch: Watch,
        good: IsGood | None,
    ) -> CaseRun:
        """Sum up a case, and its other side.

        The other side counts as of the last look; each side has its rates by its own time.
        """
        beside, loop = prepared.beside, with_turns(ClockQuality(), self._clients.turns)

        def summed(side: Prepared, notes: tuple[str, ...], resources: Callable[[], CaseResources] | None) -> Measured:
            requests = turns.requests[BASELINE if side is beside else CANDIDATE] if turns is not None else 0
            known = Evidence(
                side.planned,
                lambda: notes,
                good,
                side.plans.prompts.prompt_of,
                requests,
                loop,
                resources,
                self._scoring.scorer(side, in_turns=turns is not None),
                side.recording.values,
                self._scoring.shown_rows(side),
            )
            with no_collections():
                return result_of(
                    side.recording.filed(side.recording.samples(), side.plans.prompts.written_prompt_of), known
                )

        result = summed(prepared, notes, watch.result)
        if beside is None or turns is None:
            return CaseRun(result)
        theirs, sides = summed(beside, beside.planned.notes, None), (prepared, beside)
        standings = turns.standings(lambda side: sides[side].recording.measured())
        other = OtherSide(with_not_scored(theirs, standings, BASELINE), standings, turns.shared_cache)
        return CaseRun(with_not_scored(result, standings, CANDIDATE), other=other)

    def prepared_at(self, prepared: Prepared, case: Case, load: SearchLoad) -> Prepared:
        """A prepared case at one load of its search.

        Its requests are filed under its node id and that load.
        """
        where = step_label(load.over, load.load)
        recording = self._recorder.case(f"{prepared.recording.nodeid} {where}")
        planned = replace(prepared.planned, load=load_of(case.scenario.settings, self._processes))
        return replace(
            prepared, case=case, planned=planned, plans=prepared.plans.at(case), recording=recording, load=load
        )

    def run(self, case: Case) -> CaseRun:
        """Make a case ready and measure it; raises NotReadyError."""
        return self.play(self.ready(case))

    def release(self, model: str) -> str:
        """Unload a model, if loaded; why it failed, else empty."""
        return self._models.release(model)

    def cancel(self) -> None:
        """Cancel the case under way, from another thread.

        It is summed up with what there is.
        """
        self._scoring.time.hurry()
        self._clients.cancel()

    def renew(self) -> None:
        """Measure again after a :meth:`cancel`."""
        self._clients.renew()

    def close(self) -> None:
        """End the load process and what the backend started."""
        self._clients.stop()
        self._scoring.close()
        self._models.backend.close()
        self._recorder.close()
        self._sampler.close()
        self._collector.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _in_turns(prepared: Prepared) -> Prepared:
    """A side for measuring in turns: no ramp-up, no cool-down.

    What they would leave out is measured as well.
    """
    load = prepared.planned.load
    plain = None if load is None else replace(load, ramp_up_s=None, cool_down_s=None)
    return replace(prepared, planned=replace(prepared.planned, load=plain))


def _unread(prepared: Prepared) -> str:
    """Why not all requests could be summed up; empty where all were."""
    return prepared.recording.trouble or (prepared.beside.recording.trouble if prepared.beside else "")
