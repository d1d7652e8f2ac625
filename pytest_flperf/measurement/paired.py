"""Paired measurement: two sides in turn, in random balanced order.

Turns go on until the comparison is decided.

What the machine does meanwhile hits both sides alike.  Chance decides which side begins a pair, so order and drift
favour either side equally often.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_flperf.loadgen.plan import PlanStats, RequestPlan
from pytest_flperf.measurement.paired_turns import BASELINE, CANDIDATE, RATES, Both, Turn, TurnReader, turn_requests
from pytest_flperf.measurement.request_plans import CasePlans
from pytest_flperf.quality.scoring import AnswerScorer
from pytest_flperf.results.cost import Price
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.descriptive.case import IsGood
from pytest_flperf.stats.inference.schedule import draw_orders
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.decode import Decoder, decode
from pytest_flperf.wire.exchange import Exchange

if TYPE_CHECKING:
    from pytest_flperf.stats.inference.paired import Pair

__all__ = [
    "AGAINST",
    "BASELINE",
    "CANDIDATE",
    "RATES",
    "Both",
    "Interleaving",
    "OtherSide",
    "Standings",
    "Turn",
    "TurnPlan",
    "Until",
    "read_standings",
    "until_s",
    "why_not_interleaved",
    "with_not_scored",
]

AGAINST: Final = "[against]"
"""Stands behind a case's node id in journal and samples where its other side is meant."""
_AT_ONCE: Final = 8
"""Pairs in one plan: between plans it is seen whether a side has died."""
_HOPELESS: Final = 3

PlayTurns: TypeAlias = Callable[[int, RequestPlan, Callable[[Exchange], None]], PlanStats | None]
"""Plays a plan on a side's client; None: there was no time left."""


@dataclass(frozen=True, slots=True)
class Standings:
    """Measurements of both sides at one look."""

    turns: tuple[Both, ...] = ()
    look: int = 0
    """The how many-th look, from 1."""
    looks: int = 1
    """How many there can be."""

    def pairs(self, metric: str, category: str | None = None) -> tuple[Pair, ...]:
        """Values of a metric on both sides, pair by pair.

        They are in order; a side without values has none.

        Args:
            metric: Its name.
            category: Only of rows of this category; None: of all.

        """
        from pytest_flperf.stats.inference.paired import Pair

        def pair(both: Both) -> Pair:
            ours, theirs = both.candidate, both.baseline
            spans = (ours.span_s, theirs.span_s) if metric in RATES else None
            requests = (ours.total, theirs.total) if metric in RATES else None
            if metric == "itl_ms":
                requests = len(ours.gaps_ms), len(theirs.gaps_ms)
            values = ours.of(metric, category), theirs.of(metric, category)
            return Pair(*values, both.candidate_first, spans, requests, both.matched(metric, category))

        return tuple(map(pair, self.turns))

    def rate(self, metric: str, side: int) -> float | None:
        """A side's rate so far.

        It is the sum of all amounts over the sum of all times.
        """
        turns = [pair.side(side) for pair in self.turns]
        amounts, span_s = [turn.amount(metric) for turn in turns], self.span_s(side)
        known = [amount for amount in amounts if amount is not None]
        return sum(known) / span_s if span_s > 0 and len(known) == len(amounts) else None

    def values(self, metric: str, side: int, category: str | None = None) -> list[float]:
        """A metric's values on one side; with a category, of its rows alone."""
        return [value for pair in self.turns for value in pair.side(side).of(metric, category)]

    def counts(self, side: int) -> tuple[int, int]:
        """Requests of a side: ended ok, and in all."""
        turns = [pair.side(side) for pair in self.turns]
        return sum(len(turn.values) for turn in turns), sum(turn.total for turn in turns)

    def timeouts(self, side: int) -> int:
        """Number of a side's requests that ran into a time limit."""
        return sum(answer.timed_out for pair in self.turns for answer in pair.side(side).answers)

    def not_scored(self, side: int) -> Mapping[str, int]:
        """Number of a side's answers without a score, by reason."""
        answers = (answer for pair in self.turns for answer in pair.side(side).answers)
        return Counter(answer.not_scored for answer in answers if answer.not_scored)

    def span_s(self, side: int) -> float:
        """Time in which a side had requests under way."""
        return sum(pair.side(side).span_s for pair in self.turns)


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


@dataclass(frozen=True, slots=True)
class TurnPlan:
    """Plan of the turns of two sides: looks, order, streams."""

    looks: tuple[int, ...]
    """As of :class:`Until`."""
    order_seed: int
    """Says which side begins each pair."""
    requests: tuple[int, int]
    """Requests in a turn of each side, as of :func:`turn_requests`."""


@dataclass(frozen=True, slots=True)
class OtherSide:
    """Result of the side that a case was compared with."""

    result: Measured
    standings: Standings
    shared_cache: bool = False
    """Whether prompts differ in their prefixes, as one server's cache knows those of both sides."""


def why_not_interleaved(case: Case) -> str:
    """Why a case can't be measured in turns; else empty."""
    load = case.scenario.settings.load
    if case.scenario.plays_tools:
        return "--flperf-against measures request by request; conversations with played tool results are not cut up"
    if load.kind == "closed":
        return ""
    return f"two sides are measured in closed loops, turn by turn; load {load.kind} can't be cut into turns"


def read_standings(
    plan: TurnPlan,
    exchanges: tuple[Iterable[Exchange], Iterable[Exchange]],
    readers: tuple[TurnReader, TurnReader],
    ended: tuple[int, int] | None = None,
) -> Standings:
    """Measurements of both sides at the last look, from their requests.

    Where there is one look only, it is taken whenever a case ends: of all pairs that were measured to their end.

    Args:
        plan: How the turns were planned.
        exchanges: Measured requests of each side, in the order in which they ended.
        readers: Of each side.
        ended: The last look and its pairs; None: the measuring was interrupted, what ended says which look it was.

    """
    sides = (
        _turns_of(each, reader, count) for each, reader, count in zip(exchanges, readers, plan.requests, strict=True)
    )
    turns: list[tuple[Turn, Turn]] = []
    for number, ((mine, ours), (other, theirs)) in enumerate(zip(*sides, strict=False)):
        needed = (1, 1) if ended is not None else plan.requests
        whole = mine == other == number and ours.total >= needed[0] and theirs.total >= needed[1]
        if not whole or len(turns) == (plan.looks[-1] if ended is None else ended[1]):
            break
        turns.append((ours, theirs))
    count = len(plan.looks)
    if ended is not None:
        look = ended[0]
    elif count == 1:
        look = 1
    else:
        look = sum(pairs <= len(turns) for pairs in plan.looks)
        turns = turns[: plan.looks[look - 1] if look else 0]
    orders = draw_orders(len(turns), plan.order_seed)
    found = (Both(*both, candidate_first) for both, candidate_first in zip(turns, orders, strict=True))
    return Standings(tuple(found), look, count)


def with_not_scored(result: Measured, standings: Standings, side: int) -> Measured:
    """A side's result with its answers that were not scored.

    An answer that was not scored in its turn is missing in the pairs.
    """
    return replace(result, not_scored=result.not_scored or standings.not_scored(side))


def _turns_of(exchanges: Iterable[Exchange], reader: TurnReader, requests: int) -> Iterator[tuple[int, Turn]]:
    """One side's turns, each with the number of its pair."""
    for pair, some in itertools.groupby(exchanges, lambda exchange: exchange.index // requests):
        yield pair, reader.turn(tuple(some))


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
