"""Models of a run: loaded, verified, checked again, unloaded."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

from pytest_flperf.backends.base import Backend, BackendError, OnProgress, Served
from pytest_flperf.backends.readiness import Patience
from pytest_flperf.loadgen.native import NativeClient
from pytest_flperf.loadgen.plan import RequestPlan
from pytest_flperf.loadgen.worker_client import LoadProcessError
from pytest_flperf.loadgen.worker_group import Plays
from pytest_flperf.measurement.case_run import Prepared
from pytest_flperf.measurement.clients import Clients
from pytest_flperf.measurement.first_answer import awaited, is_elsewhere, until_over
from pytest_flperf.measurement.load_cost import ensure_with_cost
from pytest_flperf.measurement.paired import AGAINST
from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.measurement.preflight import (
    Calibrations,
    FirstUse,
    NotReadyError,
    learn_lengths,
    planned_on,
    refuse_another,
    refuse_too_long,
    refuse_tools,
    ttft_ms_of,
)
from pytest_flperf.measurement.recording import CaseRecording, Recorder
from pytest_flperf.measurement.request_plans import CasePlans, target_of
from pytest_flperf.measurement.verifying import TRIES_UNTIL_HOPELESS, NoAnswerError, Verifier
from pytest_flperf.results.host import host_name
from pytest_flperf.results.notes import Note
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["Models"]

_PROBLEM_LINES: Final = 2
"""What happened, and where the log is; the log's lines follow."""
_LOG_LINES: Final = 6


class Models:
    """The models of one backend, as far as cases have needed them."""

    def __init__(self, backend: Backend, recorder: Recorder, seed: str, clients: Clients, processes: int) -> None:
        self.backend = backend
        self._recorder = recorder
        self._seed = seed
        self._clients = clients
        self._processes = processes
        self._native: Plays | None = None  # of a model that answers without HTTP, while it is made ready
        self._factories: dict[tuple[Any, ...], RequestFactory] = {}
        self._ready: dict[str, FirstUse] = {}
        self._failures: dict[str, list[str]] = {}
        self._verifier = Verifier()
        self._calibrations = Calibrations(processes)
        self._left_busy: set[str] = set()  # whose last case abandoned requests
        self._released: set[str] = set()  # that may be loaded all the same: somebody wants them kept
        self._loaded: tuple[str, ...] = ()  # those of the last case
        self._moved: dict[Endpoint, Endpoint] = {}  # where the API of a server was found that isn't at its URL
        self._waited: dict[str, str] = {}  # by model, what is to be said of a wait for it
        self._waited_in_vain: set[str] = set()
        self._host = host_name()

    def ready(
        self,
        case: Case,
        on_progress: OnProgress,
        nodeid: str | None,
        keep: tuple[str, ...],
        stop_at: float | None = None,
    ) -> Prepared:
        """Make the model of a case ready.

        Args:
            case: What will be measured.
            on_progress: Told of downloads and loads.
            nodeid: What to file the requests under; None: the case's own id.
            keep: Models that stay loaded.
            stop_at: From when on no server is waited for (monotonic, in seconds); None: never.

        Raises:
            NotReadyError: The model could not be loaded or gave no token.
            NotPossibleError: The model can't play the case.

        """
        recording = self._recorder.case(nodeid or case.nodeid)
        if not recording.nodeid.endswith(AGAINST):  # of the other side of a case nothing is told apart from it
            planned = replace(planned_result(case, host=self._host), nodeid=recording.nodeid)
            settings = self._recorder.redactor.value(planned.settings)
            self._recorder.preparing(replace(planned, settings=settings))
        failures = self._failures.setdefault(case.model, [])
        if len(failures) >= TRIES_UNTIL_HOPELESS:
            last = failures[-1].partition("\n")[0]  # its log was shown with the case that met it
            raise NotReadyError(f"not tried again after {len(failures)} failures, the last one: {last}")
        on_progress = until_over(on_progress, lambda: self._clients.cancelled, stop_at)
        try:
            prepared = self._try_ready(case, recording, on_progress, keep)
        except (BackendError, LoadProcessError) as error:
            if isinstance(error, NoAnswerError) and error.of_case:  # other cases may ask what it answers
                if error.timed_out:
                    self._left_busy.add(case.model)
                raise NotReadyError(str(error)) from error
            self._ready.pop(case.model, None)
            failures.append(str(error))
            raise NotReadyError(str(error)) from error
        except SuiteError as error:  # a prompt that can't be made: the model is not to blame
            raise NotReadyError(str(error)) from error
        failures.clear()
        return prepared

    def has_gone(self, model: str, on_progress: OnProgress) -> bool:
        """Whether a model that was ready had to be loaded again.

        Raises NotReadyError where it can't be loaded.
        """
        try:
            served = self.backend.ensure(model, on_progress)
        except BackendError as error:
            raise NotReadyError(str(error)) from error
        return served.generation != self._ready[model].generation

    def left_busy(self, model: str) -> None:
        """Note that a case left abandoned requests on a model.

        Servers go on with those for a while.
        """
        self._left_busy.add(model)

    def release(self, model: str) -> str:
        """Unload a model, if loaded; why it failed, else empty."""
        self._released.add(model)
        self._loaded = tuple(each for each in self._loaded if each != model)
        try:
            self.backend.release(model)
        except BackendError as error:
            return f"{model} could not be unloaded: {error}"
        return ""

    def look_after_backend(self, model: str) -> tuple[str, ...]:
        """Backend problems after lost requests, as lines for the notes.

        A process that is gone is started anew by the next case.
        """
        problem = self.backend.health()
        if not problem:
            return ()
        self._ready.pop(model, None)
        lines = problem.splitlines()
        # A line each, and the last of a log: where notes are shown, each is cut to one line's length.
        return (*lines[:_PROBLEM_LINES], *lines[_PROBLEM_LINES:][-_LOG_LINES:])

    def _try_ready(
        self, case: Case, recording: CaseRecording, on_progress: OnProgress, keep: tuple[str, ...]
    ) -> Prepared:
        model = case.model
        # only the models of one case at a time: what is loaded beside them takes memory and cores
        left = tuple(filter(None, (self.release(former) for former in self._loaded if former not in keep)))
        self._loaded = tuple(dict.fromkeys((*self._loaded, model)))
        served, cost = ensure_with_cost(self.backend, model, on_progress)
        self._native = NativeClient(served.native) if served.native is not None else None
        served = self._where_found(served)
        plans = self._plans(case, served)
        refuse_too_long(case, served)
        refuse_tools(case, served, self.backend.capabilities(model))
        seen = self._ready.get(model)
        notes: tuple[str, ...] = ()
        if seen is not None and seen.generation == served.generation:
            plans, notes = self._see_again(plans, served, recording, on_progress)
        else:
            phase = Phase.COLD if served.load_s is not None else Phase.VERIFY
            try:
                served, plans, sample = self._verify_somewhere(case, plans, phase, served, recording, on_progress)
            except NoAnswerError as error:
                if error.of_case and error.worked:
                    self._ready[model] = FirstUse(served.generation, None, served.download_s, cost)
                raise
            cold_ttft_ms = ttft_ms_of(sample) if sample.phase is Phase.COLD else None
            seen = FirstUse(served.generation, cold_ttft_ms, served.download_s, cost)
            self._ready[model] = seen
        self._left_busy.discard(model)
        self._released.discard(model)
        self._learn(plans, case, recording, on_progress)
        waited = self._waited.pop(model, "")
        notes = (*served.notes, *left, *notes, *((waited,) if waited else ()))
        return self._prepared(case, served, seen, plans, recording, notes)

    def _plans(self, case: Case, served: Served) -> CasePlans:
        known, target = self.backend.capabilities(case.model), target_of(served.endpoint, served.tls)
        plans = CasePlans(case, served, self._factory(served), target, self._seed, known)
        return self._verifier.spoken(plans, served)

    def _learn(self, plans: CasePlans, case: Case, recording: CaseRecording, on_progress: OnProgress) -> None:
        if plans.asker.needs_usage:
            on_progress("learning how the server counts tokens", None)
        learn_lengths(plans, lambda plan: self._one(plan, recording))
        if not self._calibrations.before(case, self._clients.load, on_progress):
            self._clients.stop()

    def _one(self, plan: RequestPlan, recording: CaseRecording) -> Sample:
        """Play a plan of one request."""
        return self._one_as_seen(plan, recording)[0]

    def _one_as_seen(self, plan: RequestPlan, recording: CaseRecording) -> tuple[Sample, Exchange]:
        """Play a plan of one request; its sample and its exchange."""
        seen: list[Exchange] = []

        def keep(exchange: Exchange) -> None:
            recording.add(exchange)
            seen.append(exchange)

        if self._clients.play(plan, keep, native=self._native) is None:
            raise NotReadyError("it was given up before the model answered")
        return recording.early(seen[0]), seen[0]

    def _see_again(
        self, plans: CasePlans, served: Served, recording: CaseRecording, on_progress: OnProgress
    ) -> tuple[CasePlans, tuple[str, ...]]:
        """Verify a model again, where that is needed.

        It is needed for parameters that the model has not answered yet, after a release, and after abandoned requests.

        Servers work on those for seconds, and a case would pay for it.
        """
        lost, begun = served.model in self._left_busy, time.monotonic()
        known = self._verifier.knows(served, plans)
        if lost or served.model in self._released or not known:
            try:
                plans, _ = self._verify(plans, Phase.VERIFY, served, recording, on_progress)
            except NoAnswerError as error:
                error.of_case |= not known  # it has answered others
                raise
        took = f"{time.monotonic() - begun:.2f} s"
        notes = (
            (f"the previous case lost requests; the server answered a short one again after {took}",) if lost else ()
        )
        return plans, notes

    def _where_found(self, served: Served) -> Served:
        """The served model with the endpoint where its API was found.

        The endpoint changes only where the API isn't at its URL.
        """
        found = self._moved.get(served.endpoint)
        if found is None:
            return served
        said = f"there is no API at {served.endpoint.base_url}: {found.base_url} was used instead"
        return replace(served, endpoint=found, alternatives=(), notes=(*served.notes, said))

    def _verify_somewhere(
        self,
        case: Case,
        plans: CasePlans,
        phase: Phase,
        served: Served,
        recording: CaseRecording,
        on_progress: OnProgress,
    ) -> tuple[Served, CasePlans, Sample]:
        """Verify at the given endpoint, else where the API may be.

        Raises NoAnswerError.
        """
        try:
            return served, *self._verify(plans, phase, served, recording, on_progress)
        except NoAnswerError as error:
            if not served.alternatives or not is_elsewhere(error.sample):
                raise
            first = error
        for endpoint in served.alternatives:
            self._moved[served.endpoint] = endpoint
            there = self._where_found(served)
            try:
                return there, *self._verify(self._plans(case, there), phase, there, recording, on_progress)
            except NoAnswerError as error:
                # What another part of the site says, nearer to its root, says nothing of the API.
                if not is_elsewhere(error.sample) and not served.endpoint.is_version_of(endpoint):
                    raise
                del self._moved[served.endpoint]
        tried = ", ".join(each.base_url for each in served.alternatives)
        first.add(f"; nor is there an API at {tried}: is the base URL right?")
        raise first

    def _verify(
        self, plans: CasePlans, phase: Phase, served: Served, recording: CaseRecording, on_progress: OnProgress
    ) -> tuple[CasePlans, Sample]:
        model = served.model
        limit_s = 0.0 if model in self._waited_in_vain else served.load_timeout_s
        patience = Patience(model, limit_s, on_progress)
        on_progress(f"waiting for the first token of {model}", None)

        def one(plan: RequestPlan) -> Sample:
            return awaited(lambda: self._one_as_seen(plan, recording), patience)

        try:
            plans, sample = self._verifier.verify(plans, served, phase, one, self.backend.health)
        except NoAnswerError as error:
            if patience.gave_up:
                self._waited_in_vain.add(model)
                error.add(f"; {patience.gave_up}")
            if error.sample is not None and error.sample.outcome is Outcome.MODEL_NOT_FOUND:
                error.add("".join(f"; {note.text}" for note in map(Note.of, served.notes) if note.level == "warning"))
            raise
        self._waited[model] = patience.note
        self._waited_in_vain.discard(model)
        refuse_another(sample, served)
        return plans, sample

    def _factory(self, served: Served) -> RequestFactory:
        key = (served.endpoint, served.api_key, *sorted(served.headers.items()))
        if key not in self._factories:
            try:
                self._factories[key] = RequestFactory(served.endpoint, served.api_key, served.headers)
            except ValueError as error:
                raise BackendError(str(error)) from error
        return self._factories[key]

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
        if planned.target is not None and served.model_id != case.model:  # a name of the server's
            shown = self._recorder.redactor.text(served.model_id)
            planned = replace(planned, target=replace(planned.target, model_id=shown))
        planned = replace(
            planned,
            host=self._host,
            nodeid=recording.nodeid,
            # extra may hold anything; what the server refuses of our defaults was asked for by nobody
            settings=self._recorder.redactor.value(
                {key: value for key, value in planned.settings.items() if key not in plans.refused}
            ),
            adjusted=tuple(replace(each, asked=self._recorder.redactor.text(each.asked)) for each in planned.adjusted),
            calibration=calibration,
        )
        server = self.backend.processes(served.model)
        return Prepared(case, planned, plans, recording, server, self._native)
