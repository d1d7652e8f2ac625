"""Own scorers: the answer that they are given, and what they return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, SupportsFloat

from pytest_flperf._text import encodable, printable
from pytest_flperf.bounded.worker import ImpossibleError
from pytest_flperf.quality.tools.answered import SentCall

__all__ = ["AnswerScore", "AnswerToScore", "read_score"]

_MOST_PARTS: Final = 20
_LONGEST_NAME: Final = 60
_LONGEST_REASON: Final = 500
_EXPECTED: Final = "expected a number from 0 to 1, a bool or an AnswerScore"


@dataclass(frozen=True, slots=True)
class AnswerToScore:
    """Answer for a scorer of one's own, with what is known of its request."""

    text: str
    """What was said, without reasoning."""
    expected: Any = None
    """What stands beside ``scorer`` in the suite, or in the row's ``expect``; for the hook the whole expectation."""
    messages: tuple[Mapping[str, str], ...] = ()
    """The prompt as it was written, each with ``role`` and ``content``; empty in chats and for prompts of filler."""
    id: str = ""
    """Of the row of the data set."""
    category: str = ""
    """Of the row, likewise."""
    calls: tuple[SentCall, ...] = ()
    """Tool calls as the server sent them: ``name``, and ``arguments`` as text."""
    scenario: str = ""
    model: str = ""

    @property
    def prompt(self) -> str:
        """The last message of the user; empty without any."""
        return next((each["content"] for each in reversed(self.messages) if each["role"] == "user"), "")


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """Score of an answer with its parts and a reason, from a scorer of one's own."""

    score: float
    """From 0 to 1."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Scores of its parts by name, 0 to 1 each, told as those of checks are; 20 at most."""
    reason: str = ""
    """Shown beside the answer."""


def read_score(returned: object) -> AnswerScore:
    """Score of what a scorer returned, checked and bounded.

    Raises ImpossibleError for anything but a number from 0 to 1, and what ``float`` raises for it.
    """
    if not isinstance(returned, AnswerScore):
        return AnswerScore(_number(returned, "returned"))
    parts = returned.parts
    if not isinstance(parts, Mapping) or len(parts) > _MOST_PARTS:
        raise ImpossibleError(f"its scorer returned parts that are not a mapping of at most {_MOST_PARTS} names")
    return AnswerScore(
        _number(returned.score, "returned a score of"),
        {encodable(str(name))[:_LONGEST_NAME]: _number(each, "returned a part of") for name, each in parts.items()},
        encodable(str(returned.reason))[:_LONGEST_REASON],
    )


def _number(value: object, what: str) -> float:
    number = float(value) if isinstance(value, SupportsFloat) else math.nan
    if 0 <= number <= 1:
        return number
    shown = str(value) if isinstance(value, (int, float)) or value is None else f"a {type(value).__name__}"
    raise ImpossibleError(f"its scorer {what} {printable(shown, 60)}, {_EXPECTED}")
