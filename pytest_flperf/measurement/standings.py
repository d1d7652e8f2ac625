"""Standings of a paired measurement: both sides at one look."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_flperf.measurement.paired_turns import RATES, Both, Turn, TurnReader
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.schedule import draw_orders
from pytest_flperf.wire.exchange import Exchange

if TYPE_CHECKING:
    from pytest_flperf.stats.inference.paired import Pair

__all__ = ["OtherSide", "Standings", "TurnPlan", "read_standings", "with_not_scored"]


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
class TurnPlan:
    """Plan of the turns of two sides: looks, order, streams."""

    looks: tuple[int, ...]
    """As of :class:`~pytest_flperf.measurement.paired.Until`."""
    order_seed: int
    """Says which side begins each pair."""
    requests: tuple[int, int]
    """Requests in a turn of each side, as of :func:`~pytest_flperf.measurement.paired_turns.turn_requests`."""


@dataclass(frozen=True, slots=True)
class OtherSide:
    """Result of the side that a case was compared with."""

    result: Measured
    standings: Standings
    shared_cache: bool = False
    """Whether prompts differ in their prefixes, as one server's cache knows those of both sides."""


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
