"""Known truth: the right answers of a reference server, by prompt."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.reference_server.checks import OptionError, check, label, overridden

__all__ = [
    "ALL_MISTAKES",
    "DETOURS",
    "MISTAKES",
    "KnownAnswer",
    "PlayedCall",
    "answers_of",
    "calls_of",
    "mistakes_of",
    "read_answers",
]

MISTAKES: Final = ("name", "arguments", "broken", "text", "missing")
"""Ways in which tool calls are played wrongly."""
DETOURS: Final = ("needless", "repeated", "endless")
"""Ways in which more calls are played than it takes."""
ALL_MISTAKES: Final = (*MISTAKES, *DETOURS)
_MOST_TURNS: Final = 100
_MOST_CALLS: Final = 20_000
_MOST_ANSWERS: Final = 100_000
_LONGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PlayedCall:
    """Tool call of a planned answer."""

    name: str = label("", 10_000)
    arguments: str = label("{}", _LONGEST)
    """As they are sent, so that they need be no JSON; an object in a configuration becomes its JSON."""

    def __post_init__(self) -> None:
        if isinstance(self.arguments, Mapping):
            object.__setattr__(self, "arguments", json.dumps(self.arguments, ensure_ascii=False))
        check(self, "call")


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """Right answer to one prompt: a text, or tool calls."""

    prompt: str = label("", _LONGEST)
    """The user's last message, without a prefix that makes it unique."""
    text: str | None = label(None, _LONGEST)
    calls: tuple[PlayedCall, ...] | None = None
    """Empty: no call at all is right."""
    then: tuple[tuple[PlayedCall, ...], ...] = ()
    """Calls of each further turn of a conversation, once the results of the last ones are there; ``text`` follows."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", calls_of(self.calls, "answer.calls"))
        object.__setattr__(self, "then", _turns_of(self.then, "answer.then"))
        check(self, "answer")
        if not self.prompt or (self.text is None and self.calls is None):
            raise OptionError("answer: expected a prompt, and its text or its calls")
        if self.then and not self.calls:
            raise OptionError("answer.then: expected it beside calls, which are those of the first turn")


def calls_of(given: object, where: str) -> tuple[PlayedCall, ...] | None:
    """Calls of a configuration: None, or a list of objects."""
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) > _MOST_CALLS:
        raise OptionError(f"{where}: expected a list of at most {_MOST_CALLS} calls")
    return tuple(
        each if isinstance(each, PlayedCall) else overridden(PlayedCall(), each, f"{where}[{index}]")
        for index, each in enumerate(given)
    )


def _turns_of(given: object, where: str) -> tuple[tuple[PlayedCall, ...], ...]:
    if not isinstance(given, list | tuple) or len(given) > _MOST_TURNS:
        raise OptionError(f"{where}: expected a list of at most {_MOST_TURNS} lists of calls")
    return tuple(calls_of(each, f"{where}[{index}]") or () for index, each in enumerate(given))


def mistakes_of(given: object, where: str) -> tuple[str, ...]:
    """Mistakes of a configuration: a list of their names, or one text with commas."""
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not names or not all(name in ALL_MISTAKES for name in names):
        raise OptionError(f"{where}: expected some of {', '.join(ALL_MISTAKES)}, found {ascii(given)[:60]}")
    return tuple(names)


def answers_of(given: object, where: str) -> tuple[KnownAnswer, ...]:
    """Right answers of a configuration: a list of objects."""
    if not isinstance(given, list | tuple) or len(given) > _MOST_ANSWERS:
        raise OptionError(f"{where}: expected a list of at most {_MOST_ANSWERS} answers")
    return tuple(
        each if isinstance(each, KnownAnswer) else _answer(each, f"{where}[{index}]")
        for index, each in enumerate(given)
    )


def read_answers(text: str, where: str) -> list[dict[str, Any]]:
    """Objects of a file in JSON Lines, one for each prompt; raises OptionError with the line."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
            _answer(found[-1], "answer")
        except (ValueError, RecursionError) as error:
            words = str(error) if isinstance(error, OptionError) else f"expected JSON: {error}"
            raise OptionError(f"{where}:{number}: {words}") from None
    return found


def _answer(given: object, where: str) -> KnownAnswer:
    if not isinstance(given, Mapping):
        raise OptionError(f"{where}: expected an object with 'prompt', and 'text' or 'calls'")
    known = [field.name for field in dataclasses.fields(KnownAnswer)]
    if unknown := [key for key in given if key not in known]:
        raise OptionError(f"{where}: unknown key {ascii(unknown[0])[:60]}; expected {', '.join(known)}")
    return KnownAnswer(**given)
