"""A load process that serves all runs that tests make in one process: starting one takes half of a small run's time."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_flperf.loadgen import worker_group
from pytest_flperf.loadgen.plan import Deadlines, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.loadgen.worker_group import Plays
from pytest_flperf.measurement import clients
from pytest_flperf.wire.exchange import Exchange

_NEW_CLIENT = worker_group.new_client
_START = LoadSession.__init__
_OF_A_PROCESS = ("COVERAGE_", "LD_", "PYTHON", "SSL_", "TMP")
"""Beginnings of the variables that change a process from its start on."""
_MOST_KEPT = 2
"""With coverage and without."""
_NOTHING = RequestPlan((), Deadlines(0, 0, 0, 0, 0), concurrency=1, total=0, entries=())
"""Closes the connections of the plan before: its server must not wait for them."""


class KeptLoadProcess:
    """Lends one load process to one run after the other."""

    def __init__(self) -> None:
        self._idle: dict[tuple[object, ...], LoadSession] = {}
        atexit.register(self.close)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Runs in this process take the kept load process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clients, "new_client", self._take)
            yield

    def close(self) -> None:
        """End what is kept."""
        while self._idle:
            self._end_oldest()

    def _end_oldest(self) -> None:
        self._idle.pop(next(iter(self._idle))).stop()

    def _take(self, processes: int) -> Plays:
        if processes != 1 or LoadSession.__init__ is not _START:
            return _NEW_CLIENT(processes)
        conditions = _conditions()
        session = self._idle.pop(conditions, None)
        if session is None or not session.alive:
            session = LoadSession()
        return _Lent(session, lambda: self._keep(conditions, session))

    def _keep(self, conditions: tuple[object, ...], session: LoadSession) -> None:
        if conditions in self._idle:  # of a run within a run
            session.stop()
            return
        self._idle[conditions] = session
        if len(self._idle) > _MOST_KEPT:
            self._end_oldest()


class _Lent:
    """The load process, as one run has it."""

    def __init__(self, session: LoadSession, give_back: Callable[[], None]) -> None:
        self._session = session
        self._give_back = give_back
        self._playing = self._cancelled = self._stopped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def play(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
    ) -> PlanStats:
        self._playing = True  # until it ends well: whatever is raised meanwhile ends the load process
        stats = self._session.play(plan, on_exchange, on_tick, stop_at=stop_at)
        self._playing = False
        return stats

    def cancel(self) -> None:
        self._cancelled = True
        self._session.cancel()

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._session.alive and not (self._playing or self._cancelled):
            self._session.play(_NOTHING, lambda exchange: None)
            self._give_back()
        else:
            self._session.stop()


def _conditions() -> tuple[object, ...]:
    """What a load process has from its start."""
    variables = tuple(sorted(each for each in os.environ.items() if each[0].startswith(_OF_A_PROCESS)))
    if sys.platform == "win32":
        return variables
    import resource

    return (*variables, resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_AS))
