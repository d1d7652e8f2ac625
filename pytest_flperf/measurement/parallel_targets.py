"""Parallel targets: providers measured at the same time.

Each has a thread and a bench, and its cases are measured one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pytest_flperf.backends.litellm.options import computes_here
from pytest_flperf.backends.router import Place
from pytest_flperf.measurement.runner import Bench, CaseRun, NotReadyError, Prepared
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["THIS_MACHINE", "Asked", "SideBySide", "provider_of"]

THIS_MACHINE: Final = "this machine"
_THROUGH_A_PROXY: Final = "litellm"
_POLL_S: Final = 0.1
_PATIENCE_S: Final = 5.0
Play: TypeAlias = Callable[[Bench, Prepared], CaseRun]


def provider_of(place: Place) -> str:
    """Provider of a place: :data:`THIS_MACHINE`, or where requests go.

    Models on one machine disturb each other, so they are one provider, however many servers they live in.
    """
    url = place.config.base_url
    remote = url is not None and not Endpoint.parse(url).loopback
    if place.kind.name == _THROUGH_A_PROXY and not remote:
        if computes_here(place.model, place.config.options):
            return THIS_MACHINE
        return f"{_THROUGH_A_PROXY}: {place.model.partition('/')[0]}"
    if url is None or not remote:
        return THIS_MACHINE
    endpoint = Endpoint.parse(url)
    return f"{endpoint.host}:{endpoint.port}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A case to measure."""

    nodeid: str
    case: Case


@dataclass(slots=True)
class _Outcome:
    """Progress and outcome of one case."""

    ready: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    case: Case | None = None
    prepared: Prepared | None = None
    run: CaseRun | None = None
    error: BaseException | None = None
    claimed: bool = False
    cut_off: bool = False


class SideBySide:
    """Measures cases in background threads; callers wait for theirs."""

    def __init__(self, groups: Mapping[str, Sequence[Asked]], make: Callable[[], Bench], play: Play) -> None:
        """Start a bench and a thread for each provider.

        Args:
            groups: The cases of each provider, in their order.
            make: Makes a bench that knows where every model lives.
            play: Measures a case whose model is ready.

        """
        self._outcomes = {asked.nodeid: _Outcome() for cases in groups.values() for asked in cases}
        self._play = play
        self._stopping = False
        self.notes: list[str] = []
        """What went wrong beside the cases."""
        self._benches = {provider: make() for provider in groups}
        self._threads = [
            threading.Thread(target=self._work, args=(self._benches[provider], cases), name=f"flperf-{n}", daemon=True)
            for n, (provider, cases) in enumerate(groups.items())
        ]
        for thread in self._threads:
            thread.start()

    def __contains__(self, nodeid: str) -> bool:
        """Whether a case is measured here and not claimed yet.

        A rerun is measured anew.
        """
        return nodeid in self._outcomes and not self._outcomes[nodeid].claimed

    def ready(self, nodeid: str, on_wait: Callable[[], None]) -> Prepared:
        """Wait until a case's model is ready; raises what the bench raised."""
        outcome = self._outcomes[nodeid]
        _wait(outcome.ready, on_wait)
        if outcome.prepared is None:
            outcome.claimed = True
            assert outcome.error is not None
            raise outcome.error
        return outcome.prepared

    def played(self, nodeid: str, on_wait: Callable[[], None]) -> CaseRun:
        """Wait until a case has been measured; raises what the bench raised."""
        outcome = self._outcomes[nodeid]
        _wait(outcome.done, on_wait)
        outcome.claimed = True
        if outcome.run is None:
            assert outcome.error is not None
            raise outcome.error
        return outcome.run

    def close(self) -> list[tuple[Case, CaseRun, bool]]:
        """Stop all threads; the cases measured but never claimed.

        Each comes with whether this cut it off.
        """
        self._stopping = True
        for bench in self._benches.values():
            bench.cancel()
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        for bench in self._benches.values():
            bench.close()
        return [
            (outcome.case, outcome.run, outcome.cut_off)
            for outcome in self._outcomes.values()
            if outcome.case is not None and outcome.run is not None and not outcome.claimed
        ]

    def _work(self, bench: Bench, cases: Sequence[Asked]) -> None:
        for place, asked in enumerate(cases):
            outcome = self._outcomes[asked.nodeid]
            outcome.case = asked.case
            try:
                self._check_not_stopped()
                outcome.prepared = bench.ready(asked.case, nodeid=asked.nodeid)
                outcome.ready.set()
                outcome.run = self._play(bench, outcome.prepared)
                outcome.cut_off = self._stopping
            except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
                outcome.error = error
            finally:
                outcome.ready.set()
                outcome.done.set()
            if not self._stopping and asked.case.model not in {later.case.model for later in cases[place + 1 :]}:
                self._release(bench, asked.case.model)

    def _release(self, bench: Bench, model: str) -> None:
        try:
            problem = bench.release(model)
        except Exception as error:  # noqa: BLE001 - of others' backends: the cases after it are waited for
            problem = f"{model} could not be unloaded: {type(error).__name__}: {error}"
        if problem:
            self.notes.append(problem)

    def _check_not_stopped(self) -> None:
        if self._stopping:
            raise NotReadyError("the run was stopped before it")


def _wait(event: threading.Event, on_wait: Callable[[], None]) -> None:
    while not event.wait(_POLL_S):  # in steps, because a wait without an end is deaf to Ctrl-C on Windows
        on_wait()
