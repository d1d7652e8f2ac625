"""Clients of a bench: its load processes, or an in-process model.

They play its plans.  A model inside its server's process answers without HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_flperf.loadgen.plan import PlanStats, RequestPlan
from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.loadgen.worker_group import Plays, new_client
from pytest_flperf.wire.exchange import Exchange

__all__ = ["Clients"]


class Clients:
    """Load processes, started at the first use.

    New ones are started where an exception has ended a plan.
    """

    def __init__(self, processes: int) -> None:
        """``processes``: number of load processes that share a case's streams."""
        self._processes = processes
        self._session: Plays | None = None
        self._playing: Plays | None = None
        self._cancelled = False
        self.turns = LoopTurns()
        """Of the plans since somebody set it anew."""

    @property
    def cancelled(self) -> bool:
        """Whether plans are cancelled, until :meth:`renew`."""
        return self._cancelled

    def load(self) -> Plays:
        """The load processes, started where there are none."""
        if self._session is None:
            self._session = new_client(self._processes)
        return self._session

    def play(
        self,
        plan: RequestPlan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
        native: Plays | None = None,
    ) -> PlanStats | None:
        """Play a plan; None where there was nothing to do.

        *native* plays it where that is given, else the load processes do.  Nothing is done for an empty plan, after a
        :meth:`cancel`, or from ``stop_at`` on.
        """
        if self._cancelled or plan.total == 0 or (stop_at is not None and time.monotonic() >= stop_at):
            return None
        try:
            self._playing = native or self.load()
            stats = self._playing.play(plan, on_exchange, on_tick, stop_at=stop_at)
        except BaseException:
            self.stop()  # it has been ended, or doesn't answer: the next plan needs another
            raise
        self.turns += stats.turns
        return stats

    def cancel(self) -> None:
        """Cancel the plan under way, from another thread.

        No other plan is played until :meth:`renew`.
        """
        self._cancelled = True
        for client in {id(each): each for each in (self._playing, self._session) if each is not None}.values():
            client.cancel()

    def renew(self) -> None:
        """Play plans again after a :meth:`cancel`, with new load processes."""
        if self._cancelled:
            self.stop()
            self._cancelled = False

    def stop(self) -> None:
        """Stop the load processes; safe to call twice."""
        if self._session is not None:
            self._session.stop()
            self._session = None
        self._playing = None
