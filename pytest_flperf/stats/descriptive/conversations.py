"""Conversations with tools: their turns put together, so that each is scored as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.quality.tools.answered import opened
from pytest_flperf.quality.tools.conversations import Conversation, TurnScore, goes_on
from pytest_flperf.results.measured import ToolConversations
from pytest_flperf.wire.sample import Outcome, Sample
from pytest_flperf.wire.scored import scored_text

__all__ = ["TOOL_TURNS", "ConversationTally", "Ended", "turns_of"]

TOOL_TURNS: Final = "tool_turns"
"""Key of the most turns of a conversation, in the settings of a case that plays tool results."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A conversation that has ended."""

    index: int
    """Of its last request."""
    text: str | None
    """As scoring takes it; None: a request failed."""


def turns_of(settings: Mapping[str, Any]) -> int | None:
    """Most turns of a case's conversations; None: it plays no tool results."""
    found = settings.get(TOOL_TURNS)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


class ConversationTally:
    """Conversations of a case, request by request."""

    def __init__(self, most_turns: int) -> None:
        """``most_turns``: the requests of a conversation have so many numbers in a row."""
        self._most = most_turns
        self._under_way: dict[int, Conversation] = {}
        self._over: set[int] = set()
        """Conversations with a failed request, which may go on after a retry."""
        self._ended: list[TurnScore] = []
        self._malformed = self._failed = self._cut = 0

    def add(self, sample: Sample) -> Ended | None:
        """Take in a measured request; returns its conversation where that has ended."""
        number = sample.index // self._most
        if number in self._over:
            return None
        if not sample.ok:
            self._under_way.pop(number, None)
            self._over.add(number)
            if sample.outcome is Outcome.CANCELLED:
                self._cut += 1
                return None
            self._failed += 1
            return Ended(sample.index, None)
        turn = opened(scored_text(sample))
        conversation = self._under_way.setdefault(number, Conversation())
        conversation.add(turn)
        if goes_on(turn, sample.index % self._most + 1, self._most) is not None:
            return None
        del self._under_way[number]
        return Ended(sample.index, conversation.enclosed(turn.text))

    def scored(self, found: TurnScore, *, malformed: bool) -> None:
        """Count a conversation that was scored."""
        self._ended.append(found)
        self._malformed += malformed

    def result(self) -> ToolConversations | None:
        """The counts; None where none has ended."""
        ended = self._ended
        if not ended:
            return None
        answered = sum(each.is_answered for each in ended)
        return ToolConversations(
            conversations=len(ended) + self._failed,
            answered=answered,
            malformed=self._malformed,
            unfinished=len(ended) - answered - self._malformed,
            failed=self._failed,
            cut_short=len(self._under_way) + self._cut,
            turns=sum(each.turns for each in ended) / len(ended),
            calls=sum(each.calls for each in ended),
            repeated=sum(each.repeated for each in ended),
            needless=sum(each.needless for each in ended),
            unknown=sum(each.unknown for each in ended),
            without_result=sum(each.without_result for each in ended),
        )
