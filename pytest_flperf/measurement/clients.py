"""What plays a bench's plans: its load processes, or a model that answers inside its server's process."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_flperf.loadgen.loop_turns import LoopTurns
from pytest_flperf.loadgen.plan import Plan, PlanStats
from pytest_flperf.loadgen.worker_group import Plays, new_client
from pytest_flperf.wire.exchange import Exchange

__all__ = ["Clients"]


class Clients:
    """Load processes, started at the first use and again where a plan was left by an exception."""

    def __init__(self, processes: int) -> None:
        """``processes``: that the streams of a case are spread over."""
        self._processes = processes
        self._session: Plays | None = None
        self._playing: Plays | None = None
        self._cancelled = False
        self.turns = LoopTurns()
        """Of the plans since somebody set it anew."""

    @property
    def cancelled(self) -> bool:
        """Whether nothing may be played any more."""
        return self._cancelled

    def load(self) -> Plays:
        """The load processes."""
        if self._session is None:
            self._session = new_client(self._processes)
        return self._session

    def play(
        self,
        plan: Plan,
        on_exchange: Callable[[Exchange], None],
        on_tick: Callable[[], None] | None = None,
        *,
        stop_at: float | None = None,
        native: Plays | None = None,
    ) -> PlanStats | None:
        """Play a plan, on *native* where it is given; None where nothing was to be played or may be."""
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
        """End the plan under way, from another thread, and play no other one until :meth:`renew`."""
        self._cancelled = True
        for client in {id(each): each for each in (self._playing, self._session) if each is not None}.values():
            client.cancel()

    def renew(self) -> None:
        """Play plans again after a :meth:`cancel`, with new load processes."""
        if self._cancelled:
            self.stop()
            self._cancelled = False

    def stop(self) -> None:
        """End what was started; safe to call twice."""
        if self._session is not None:
            self._session.stop()
            self._session = None
        self._playing = None
