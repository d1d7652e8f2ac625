"""Tool turns: conversations in which tool results are played from a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_flperf.loadgen.plan import Entry
from pytest_flperf.quality.tools.answered import opened
from pytest_flperf.quality.tools.conversations import goes_on
from pytest_flperf.quality.tools.definitions import tool_names
from pytest_flperf.quality.tools.played import PlayedResults
from pytest_flperf.quality.tools.understood import Call
from pytest_flperf.suite.generator import Ask, PromptGenerator
from pytest_flperf.suite.messages import Message
from pytest_flperf.wire.decode import Decoder, decode
from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.sample import Outcome, Sample
from pytest_flperf.wire.scored import scored_text
from pytest_flperf.wire.tool_calls import ToolCall

__all__ = ["ToolTurns"]


class ToolTurns:
    """Conversations of a case: each call is answered with its played result, until the model answers.

    The requests of a conversation are numbered in a row; the first has a multiple of the most turns.
    """

    def __init__(
        self,
        asker: PromptGenerator,
        entry: Callable[[int, Ask], Entry],
        first_number: int,
        most_turns: int,
        decoder: Decoder = decode,
    ) -> None:
        """Begin with no conversation under way.

        Args:
            asker: Says what is asked, and what tools answer.
            entry: Makes the entry of a request.
            first_number: Added to a conversation's number for its unique prefix.
            most_turns: Turns after which a conversation is left where it is.
            decoder: Decodes the answers.

        """
        self._asker = asker
        self._entry = entry
        self._first_number = first_number
        self._most_turns = most_turns
        self._decode = decoder
        self._under_way: dict[int, _Talk] = {}
        self._tables: dict[tuple[int, int], PlayedResults] = {}
        self.broken = 0
        """Conversations that ended because a request failed."""

    def openings(self, numbers: Iterator[int]) -> Iterator[Entry]:
        """The first request of each conversation, by its number."""
        for number in numbers:
            ask = self._asker.ask(number, number + self._first_number)
            index = number * self._most_turns
            self._under_way[index] = _Talk(ask, self._table(number))
            yield self._entry(index, ask)

    def _table(self, number: int) -> PlayedResults:
        """Results of a conversation; prompts with the same ones share a table, since others are measured meanwhile."""
        results, tools = self._asker.tool_results(number), self._asker.offered_tools(number)
        key = id(results), id(tools)  # both belong to the case, which outlives this
        if key not in self._tables:
            self._tables[key] = PlayedResults(results, tool_names(tools))
        return self._tables[key]

    def after(self, exchange: Exchange) -> Entry | None:
        """The next turn of a conversation; None where it has ended."""
        talk = self._under_way.pop(exchange.index, None)
        if talk is None:
            return None
        sample = self._decode(exchange)
        if not sample.ok:
            self.broken += sample.outcome is not Outcome.CANCELLED
            return None
        turn = exchange.index % self._most_turns + 1
        found = goes_on(opened(scored_text(sample)), turn, self._most_turns)
        if found is None:
            return None
        ask = replace(talk.ask, messages=(*talk.ask.messages, *_answered(sample, found.calls, talk.results)))
        index = exchange.index + 1
        self._under_way[index] = replace(talk, ask=ask)
        return self._entry(index, ask)


@dataclass(frozen=True, slots=True)
class _Talk:
    """A conversation before the answer to its last message."""

    ask: Ask
    results: PlayedResults


def _answered(sample: Sample, calls: Sequence[Call], results: PlayedResults) -> Iterator[Message]:
    """The calls as an assistant's message, and a message with the result of each."""
    ids = [each.id or f"call_{place}" for place, each in enumerate(sample.tool_calls)]
    made = [_made(each, identity) for each, identity in zip(sample.tool_calls, ids, strict=True)]
    yield Message("assistant", sample.output_text, (("tool_calls", made),))
    for call, identity in zip(calls, ids, strict=True):
        yield Message("tool", results.answer(call), (("tool_call_id", identity),))


def _made(call: ToolCall, identity: str) -> dict[str, Any]:
    # Arguments that are left out mean none; some servers refuse an empty text where they wrote one.
    function = {"name": call.name, "arguments": call.arguments.strip() or "{}"}
    return {"id": identity, "type": "function", "function": function}
