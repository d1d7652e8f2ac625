"""Paired measurement: two sides in turn, in random balanced order.

Turns go on until the comparison is decided.

What the machine does meanwhile hits both sides alike.  Chance decides which side begins a pair, so order and drift
favour either side equally often.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_flperf.loadgen.plan import PlanStats, RequestPlan
from pytest_flperf.measurement.paired_turns import BASELINE, CANDIDATE, Both, Turn, TurnReader, turn_requests
from pytest_flperf.measurement.request_plans import CasePlans
from pytest_flperf.quality.scoring import AnswerScorer
from pytest_flperf.results.cost import Price
from pytest_flperf.stats.descriptive.case import IsGood
from pytest_flperf.stats.inference.schedule import draw_orders
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.decode import Decoder, decode
from pytest_flperf.wire.exchange import Exchange

if TYPE_CHECKING:
    pass
from pytest_flperf.measurement.standings import Standings, TurnPlan, read_standings

__all__ = [
    "AGAINST",
    "Interleaving",
    "Until",
    "until_s",
    "why_not_interleaved",
]

AGAINST: Final = "[against]"
"""Stands behind a case's node id in journal and samples where its other side is meant."""
_AT_ONCE: Final = 8
"""Pairs in one plan: between plans it is seen whether a side has died."""
_HOPELESS: Final = 3

PlayTurns: TypeAlias = Callable[[int, RequestPlan, Callable[[Exchange], None]], PlanStats | None]
"""Plays a plan on a side's client; None: there was no time left."""


@dataclass(frozen=True, slots=True)
class Until:
    """Stopping rule of a paired measurement."""

    looks: tuple[int, ...]
    """After how many pairs to ask; the last one ends it for good."""
    decided: Callable[[Standings], bool]
    """Whether what has been measured is enough."""
    gaps: bool = False
    """Whether the gaps between arrivals are compared."""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """By what the sides are compared, as plain data: a recovery reads it."""
    same_requests: bool = False
    """Whether both sides have the same requests in a turn, however many streams each has."""


def why_not_interleaved(case: Case) -> str:
    """Why a case can't be measured in turns; else empty."""
    load = case.scenario.settings.load
    if case.scenario.plays_tools:
        return "--flperf-against measures request by request; conversations with played tool results are not cut up"
    if load.kind == "closed":
        return ""
    return f"two sides are measured in closed loops, turn by turn; load {load.kind} can't be cut into turns"


@dataclass(slots=True)
class _Side:
    """A side's requests of the plan under way, by pair."""

    reader: TurnReader
    exchanges: dict[int, list[Exchange]] = field(default_factory=dict)
    lost_in_a_row: int = 0

    def add(self, pair: int, exchange: Exchange) -> None:
        self.exchanges.setdefault(pair, []).append(exchange)
        self.lost_in_a_row = 0 if exchange.ending.value == "complete" else self.lost_in_a_row + 1

    def turn(self, pair: int) -> Turn:
        """Turn of a pair, decoded after its plan is over.

        Decoding it earlier would take the processor from the server.
        """
        return self.reader.turn(self.exchanges.pop(pair, []))


class Interleaving:
    """Plays the turns of a case and of its other side."""

    def __init__(
        self,
        candidate: CasePlans,
        baseline: CasePlans,
        *,
        seed: str,
        as_one: bool,
        good: IsGood | None = None,
        scorers: tuple[AnswerScorer | None, AnswerScorer | None] = (None, None),
        decoders: tuple[Decoder, Decoder] = (decode, decode),
        prices: tuple[Price | None, Price | None] = (None, None),
    ) -> None:
        """Plan nothing yet.

        Args:
            candidate: The plans of the case.
            baseline: Those of the other side.
            seed: Says which side begins each pair.
            as_one: Whether one client plays both sides.
            good: Whether a request counts for goodput, by its metrics; None: there is no goodput.
            scorers: What scores the answers of the case and of the other side; None: nothing is expected of them.
            decoders: What decodes the requests of the case and of the other side.
            prices: Of the models of the case and of the other side.

        """
        self._plans = (candidate, baseline)
        self.order_seed = _number(seed)
        """As of :class:`TurnPlan`."""
        self.shared_cache = candidate.avoids_cache and candidate.shares_cache_with(baseline)
        """As of :class:`OtherSide`."""
        self.requests = (candidate.streams, baseline.streams)
        """As of :class:`TurnPlan`; known when turns are played."""
        self._as_one = as_one
        self._sides = tuple(
            _Side(TurnReader(plans.prompts, good, scorer, decoder))
            for plans, scorer, decoder in zip(self._plans, scorers, decoders, strict=True)
        )
        for side, price in zip(self._sides, prices, strict=True):
            side.reader.price = price
        self._turns: list[Both] = []
        self._played = 0
        self._looks: tuple[int, ...] = (1,)
        self._ended = False
        self._standings = Standings()

    def standings(self, exchanges: Callable[[int], Iterable[Exchange]]) -> Standings:
        """Measurements of both sides at the last look.

        For an interrupted case, they come from its measured requests, which ``exchanges`` gives by side.
        """
        if self._ended:
            return self._standings
        plan = TurnPlan(self._looks, self.order_seed, self.requests)
        readers = (self._sides[CANDIDATE].reader, self._sides[BASELINE].reader)
        return read_standings(plan, (exchanges(CANDIDATE), exchanges(BASELINE)), readers)

    def play(
        self,
        play: PlayTurns,
        keep: tuple[Callable[[Exchange], None], Callable[[Exchange], None]],
        until: Until,
    ) -> tuple[str, bool]:
        """Measure in turns until the comparison is decided.

        Returns why it ended before that, and whether the time was over.

        Args:
            play: Plays a plan.
            keep: For each side, takes its requests.
            until: When it is enough.

        """
        trouble, stopped = "", False
        self._looks = until.looks
        self.requests = turn_requests(self.requests, same_requests=until.same_requests)
        for side in self._sides:
            side.reader.gaps = until.gaps
        orders = iter(draw_orders(until.looks[-1], self.order_seed))
        for number, pairs in enumerate(until.looks, 1):
            while self._played < pairs and not (trouble or stopped):
                count = min(pairs - self._played, _AT_ONCE)
                trouble, stopped = self._some(list(itertools.islice(orders, count)), play, keep)
            self._standings = Standings(tuple(self._turns), number, len(until.looks))
            if trouble or stopped or until.decided(self._standings):
                break
        self._ended = True
        return trouble, stopped

    def _some(
        self,
        orders: Sequence[bool],
        play: PlayTurns,
        keep: tuple[Callable[[Exchange], None], Callable[[Exchange], None]],
    ) -> tuple[str, bool]:
        first, self._played = self._played, self._played + len(orders)
        turns = [
            (first + number, side)
            for number, candidate_first in enumerate(orders)
            for side in ((CANDIDATE, BASELINE) if candidate_first else (BASELINE, CANDIDATE))
        ]
        stopped = False
        # Of one stream each, turns follow each other in one plan as requests of a closed loop do.
        for some in [turns] if self._as_one and self.requests == (1, 1) else [[turn] for turn in turns]:
            stats = play(some[0][1], self._plan(some), lambda exchange: self._take(exchange, keep))
            stopped = stats is None or stats.stopped
            if stopped:
                break
        self._turns += self._whole(first, orders)
        hopeless = [max(_HOPELESS, requests) for requests in self.requests]
        dead = [side for side, each in enumerate(self._sides) if each.lost_in_a_row >= hopeless[side]]
        if dead and not stopped:
            whose = "the baseline's" if dead == [BASELINE] else "the candidate's" if dead == [CANDIDATE] else "both"
            lost = max(self._sides[side].lost_in_a_row for side in dead)
            return f"stopped after {len(self._turns)} pairs: {whose} last {lost} had no complete answer", False
        return "", stopped

    def _plan(self, turns: Sequence[tuple[int, int]]) -> RequestPlan:
        ours, theirs = self._plans
        return ours.of_turns(theirs, turns, self.requests)

    def _take(self, exchange: Exchange, keep: tuple[Callable[[Exchange], None], Callable[[Exchange], None]]) -> None:
        keep[exchange.target](exchange)
        self._sides[exchange.target].add(exchange.index // self.requests[exchange.target], exchange)

    def _whole(self, first: int, orders: Sequence[bool]) -> Iterator[Both]:
        """Pairs that were measured to their end.

        All of them are, unless the time was over.
        """
        for number, candidate_first in enumerate(orders):
            ours, theirs = (side.turn(first + number) for side in self._sides)
            if not (ours.total and theirs.total):
                return
            yield Both(ours, theirs, candidate_first)


def _number(seed: str) -> int:
    return int.from_bytes(hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def until_s(case: Case, stop_at: float | None) -> float | None:
    """Time from which no further turn begins (monotonic, in seconds).

    A case's own duration ends it, too.
    """
    duration_s = case.scenario.settings.load.duration_s
    if duration_s is None:
        return stop_at
    own = time.monotonic() + duration_s
    return own if stop_at is None else min(own, stop_at)
