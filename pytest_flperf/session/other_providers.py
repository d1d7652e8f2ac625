"""Targets of other providers, measured in parallel with this machine's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.router import SeveralBackends
from pytest_flperf.measurement.parallel_targets import THIS_MACHINE, Asked, SideBySide, provider_of
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench, CaseRun, Prepared
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.session.context import RunContext
from pytest_flperf.session.placing import placing_of
from pytest_flperf.session.playing import limits_of, played
from pytest_flperf.session.progress import CaseProgress
from pytest_flperf.session.run_record import RunRecord
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.targets import TargetSpec
from pytest_flperf.telemetry.sampler import Sampler

__all__ = ["OtherProviders"]

_ALONGSIDE: Final = "measured alongside others"


class OtherProviders:
    """Cases of other providers, measured while this machine measures its own."""

    def __init__(
        self,
        context: RunContext,
        record: RunRecord,
        redactor: Redactor,
        make_recorder: Callable[[], Recorder],
        make_sampler: Callable[[], Sampler],
        stop_at: float | None,
    ) -> None:
        """Start nothing yet.

        Args:
            context: What is known of the run.
            record: Takes notes.
            redactor: Removes secrets from them.
            make_recorder: Makes a recorder for each bench.
            make_sampler: Makes a sampler for each bench.
            stop_at: From when on no request is sent (monotonic, in seconds); None: never.

        """
        self._context = context
        self._record = record
        self._redactor = redactor
        self._make_recorder = make_recorder
        self._make_sampler = make_sampler
        self._stop_at = stop_at
        self._cases: Sequence[Asked] = ()  # until they have begun
        self._beside: SideBySide | None = None

    def expect(self, cases: Sequence[Asked]) -> None:
        """Hear which cases will be measured, of all providers."""
        self._cases = cases

    def begin(self) -> None:
        """Start to measure those of other providers, once."""
        cases, self._cases = self._cases, ()
        if not cases:
            return
        try:
            self._beside = self._started(cases)
        except BackendError as error:
            self._record.note(f"nothing is measured at the same time: {printable(str(error), 300)}")
        else:
            if self._beside is None:
                self._record.note("nothing is measured at the same time: all targets are of one provider")

    def _started(self, cases: Sequence[Asked]) -> SideBySide | None:
        """What measures the cases of other providers; None if all are of one, so that nothing is gained.

        Raises BackendError where a target lacks something, such as its key.
        """
        context = self._context
        placing = placing_of(context.options, context.backends, self._record.logs)
        places = {asked.case.model: placing.place(asked.case.target or TargetSpec(asked.case.model)) for asked in cases}
        groups: dict[str, list[Asked]] = {}
        for asked in cases:
            groups.setdefault(provider_of(places[asked.case.model]), []).append(asked)
        if len(groups) < 2:
            return None
        groups.pop(THIS_MACHINE, None)

        def make() -> Bench:
            backends = SeveralBackends(keep_loaded=context.options.keep_loaded)
            for label, place in places.items():
                backends.add(label, place)
            processes, seed = context.options.load_processes, context.options.seed
            return Bench(backends, self._make_recorder(), seed, self._make_sampler(), processes, context.score)

        def play(bench: Bench, prepared: Prepared) -> CaseRun:
            return played(bench, prepared, limits_of(prepared.case.scenario.budgets, context.options), self._stop_at)

        return SideBySide(groups, make, play)

    def __contains__(self, nodeid: str) -> bool:
        """Whether a case is measured there and not claimed yet."""
        return self._beside is not None and nodeid in self._beside

    def ready(self, nodeid: str, progress: CaseProgress) -> Prepared:
        """Wait until the model of a case is ready; raises as ``Bench.ready``."""
        return self._begun.ready(nodeid, lambda: progress.stage(_ALONGSIDE, None))

    def played(self, nodeid: str, progress: CaseProgress) -> CaseRun:
        """Wait until a case is measured."""
        return self._begun.played(nodeid, lambda: progress.stage(_ALONGSIDE, None))

    def close(self, collect: Callable[[Sequence[tuple[Case, CaseRun, bool]]], None]) -> None:
        """End the processes.

        ``collect`` takes the cases that no test has asked for, each with whether it was cut off.
        """
        if self._beside is not None:
            beside, self._beside = self._beside, None
            collect(beside.close())
            for note in beside.notes:
                self._record.note(self._redactor.text(note))

    @property
    def _begun(self) -> SideBySide:
        assert self._beside is not None
        return self._beside
