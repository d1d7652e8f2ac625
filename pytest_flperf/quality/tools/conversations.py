"""Conversations with tools: turns, repeated and needless calls, and their score."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from pytest_flperf.quality.tools.answered import Answered, SentCall, enclosed
from pytest_flperf.quality.tools.played import PlayedResults
from pytest_flperf.quality.tools.understood import Call, CallOutcome, Understood, understood

__all__ = ["Conversation", "TurnScore", "goes_on", "turn_score"]

DEDUCTION: Final = 0.1
"""Of a repeated or a needless call."""


class TurnScore(NamedTuple):
    """How a conversation with tools went."""

    turns: int
    """Answers of the model, the last one included."""
    fewest: int
    """Turns of the shortest right conversation."""
    calls: int
    repeated: int
    """Calls that were made before with the same arguments, beyond those that are expected."""
    needless: int
    """Other calls that are not expected."""
    unknown: int
    """Calls of tools that were not offered."""
    without_result: int
    """Calls of offered tools for which no result is played."""
    is_answered: bool
    """Whether its last answer holds no call, and nothing was malformed."""

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Self:
        """Read its fields as numbers."""
        turns, fewest, calls, repeated, needless, unknown, without_result, is_answered = map(int, numbers)
        return cls(turns, fewest, calls, repeated, needless, unknown, without_result, bool(is_answered))

    def score(self, completion: float) -> float:
        """Completion × min(1, fewest / turns), less 0.1 per repeated or needless call; from 0 to 1.

        A conversation without an answer at its end is not completed.
        """
        if not self.is_answered:
            return 0.0
        found = completion * min(1.0, self.fewest / self.turns) - DEDUCTION * (self.repeated + self.needless)
        return min(max(found, 0.0), 1.0)


@dataclass(slots=True)
class Conversation:
    """Turns of one conversation, as they come."""

    calls: tuple[SentCall, ...] = ()
    counts: tuple[int, ...] = ()
    """Calls of each turn."""
    left_out: int = 0

    def add(self, turn: Answered) -> None:
        """Add the answer of a turn."""
        self.calls += turn.calls
        self.counts += (len(turn.calls) + turn.left_out,)
        self.left_out += turn.left_out

    def enclosed(self, text: str) -> str:
        """One text of the conversation; ``text`` is that of its last answer."""
        return enclosed(text, self.calls, self.left_out, self.counts)


def goes_on(turn: Answered, turns: int, most: int) -> Understood | None:
    """The calls of a turn that are to be answered; None where the conversation has ended.

    It ends with an answer without calls, with a malformed call, with more calls or arguments than are kept, and after
    the last turn that it may have.

    Args:
        turn: The last answer.
        turns: Turns so far, with this one.
        most: Turns that it may have.

    """
    if turns >= most or turn.left_out or not turn.calls or any(call.cut for call in turn.calls):
        return None
    found = understood(turn, ())
    return found if found.outcome is CallOutcome.CALLED else None


def turn_score(
    answer: Answered, found: Understood, results: PlayedResults, fewest: int, matched: Collection[int]
) -> TurnScore:
    """How a conversation went.

    Args:
        answer: The conversation.
        found: Its calls.
        results: What was played.
        fewest: Turns of the shortest right conversation.
        matched: Places of the calls that are expected ones.

    """
    repeated, needless = _not_expected(found.calls, matched)
    known = [call for call in found.calls if results.is_known(call)]
    return TurnScore(
        turns=len(answer.turns),
        fewest=fewest,
        calls=found.total,
        repeated=repeated,
        needless=needless + answer.left_out,
        unknown=len(found.calls) - len(known),
        without_result=sum(not results.has(call) for call in known),
        is_answered=found.outcome is not CallOutcome.MALFORMED and not answer.turns[-1],
    )


def _not_expected(calls: Sequence[Call], matched: Collection[int]) -> tuple[int, int]:
    """Repeated and needless calls."""
    seen: set[str] = set()
    repeated = needless = 0
    for place, call in enumerate(calls):
        key = _key(call)
        if place not in matched:
            repeated += key in seen
            needless += key not in seen
        seen.add(key)
    return repeated, needless


def _key(call: Call) -> str:
    return f"{call.name}\0{json.dumps(call.arguments, sort_keys=True)}"
