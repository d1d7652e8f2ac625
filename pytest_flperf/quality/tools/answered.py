"""Answers with tool calls as one text, and as scoring reads them again.

Scorers take texts.  An answer with calls is enclosed in a text, and the calls stand in it as the server sent them: in
their own fields, never taken out of the answer's words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

__all__ = ["Answered", "SentCall", "enclosed", "opened", "said_in", "shown_answer"]

_MARK: Final = "\0calls\0"
_END: Final = "\0"
_CALLS_SHOWN: Final = 20


class SentCall(NamedTuple):
    """Tool call as the server sent it."""

    name: str
    arguments: str
    """As the model wrote them: JSON, if it kept to it."""
    cut: bool = False
    """Whether there were more of them than are kept."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer: its text and its tool calls."""

    text: str
    calls: tuple[SentCall, ...] = ()
    left_out: int = 0
    """Calls beyond those that are kept."""
    turns: tuple[int, ...] = ()
    """Calls of each turn of a conversation, whose last text this is; empty: it is a single answer."""


def enclosed(text: str, calls: Iterable[SentCall], left_out: int = 0, turns: Sequence[int] = ()) -> str:
    """One text of an answer and its calls; the text itself where there are none.

    ``turns``: of a conversation the number of calls in each turn.
    """
    called = [list(call) for call in calls]
    if not called and not left_out and not turns and not text.startswith(_MARK):
        return text
    # JSON escapes control characters, so that the first one behind the mark is the end.
    return f"{_MARK}{json.dumps([left_out, called, list(turns)])}{_END}{text}"


def opened(answer: str) -> Answered:
    """Answer of a text from :func:`enclosed`."""
    if not answer.startswith(_MARK):
        return Answered(answer)
    written, _, text = answer[len(_MARK) :].partition(_END)
    found: Any = json.loads(written)
    return Answered(text, tuple(SentCall(*each) for each in found[1]), found[0], tuple(found[2]))


def said_in(answer: str) -> str:
    """Text of an answer, without its calls."""
    return answer if not answer.startswith(_MARK) else answer[len(_MARK) :].partition(_END)[2]


def shown_answer(answer: str) -> str:
    """Answer for a person: a line for each call, ``weather({"city": "Oslo"})``, then the text."""
    if not answer.startswith(_MARK):
        return answer
    found = opened(answer)
    lines = [f"{call.name}({call.arguments}{'…' if call.cut else ''})" for call in found.calls[:_CALLS_SHOWN]]
    more = len(found.calls) - len(lines) + found.left_out
    return "\n".join([*lines, *([f"and {more} more calls"] if more else []), *([found.text] if found.text else [])])
