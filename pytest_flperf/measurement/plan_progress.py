"""Plan progress: requests counted, and why a plan ended early."""

from __future__ import annotations

from collections.abc import Callable

from pytest_flperf.loadgen.plan import OPEN_END, PlanStats, RequestPlan
from pytest_flperf.wire.exchange import Exchange, Phase

__all__ = ["Counter", "gave_up"]


class Counter:
    """Counts measured requests, and those that the transport lost."""

    def __init__(self, on_request: Callable[[int, int], None] | None) -> None:
        self.total = 0
        self._on_request = on_request
        self._done = 0
        self.lost = 0

    def wrap(self, keep: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
        """Wrap a callback, to count the exchanges that it gets."""

        def count(exchange: Exchange) -> None:
            keep(exchange)
            self._done += exchange.phase is not Phase.RETRY
            self.lost += exchange.ending.value != "complete"

        return count

    def tick(self) -> None:
        """Report the counts."""
        if self._on_request is not None:
            self._on_request(self._done, self.total)


def gave_up(plan: RequestPlan, stats: PlanStats) -> str:
    """Why requests of a plan were left out; empty where none were."""
    if not stats.gave_up:
        return ""
    planned = "" if plan.total == OPEN_END else f" of {plan.total}"
    return f"stopped after {stats.finished}{planned} requests: {plan.give_up_after} in a row had no complete answer"
