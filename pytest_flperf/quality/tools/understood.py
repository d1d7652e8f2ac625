"""The three outcomes of an answer with tools: called, abstained, malformed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pytest_flperf.quality.strict_json import decode
from pytest_flperf.quality.tools.answered import Answered, SentCall
from pytest_flperf.quality.tools.written import AS_JSON, written_call

__all__ = ["Call", "CallOutcome", "Understood", "understood"]

_BROKEN: Final = "arguments that are not JSON"
_NO_OBJECT: Final = "arguments that are not a JSON object"
_NO_NAME: Final = "a call without a name"


class CallOutcome(StrEnum):
    """Outcome of an answer to a request with tools."""

    CALLED = "called"
    ABSTAINED = "abstained"
    """A text that holds nothing like a call."""
    MALFORMED = "malformed"
    """Broken arguments, no name, or a call as text."""


@dataclass(frozen=True, slots=True)
class Call:
    """Tool call with its arguments."""

    name: str
    arguments: Mapping[str, Any] | None
    """None: too long or nested too deep to be read, so that none of them is right."""


@dataclass(frozen=True, slots=True)
class Understood:
    """Answer as it was understood."""

    outcome: CallOutcome
    calls: tuple[Call, ...] = ()
    total: int = 0
    """Calls of the answer, with those that are not kept."""
    why: str = ""
    """Why it is malformed."""

    @property
    def as_json(self) -> bool:
        """Whether it is malformed because JSON came as text."""
        return self.why == AS_JSON


def understood(answer: Answered, tools: Collection[str]) -> Understood:
    """Outcome of an answer, or of a conversation; never raises.

    One malformed call makes the whole answer malformed.

    Args:
        answer: As the server sent it.
        tools: Names of the tools that were offered.

    """
    if not answer.calls and not answer.left_out:
        why = written_call(answer.text, tools)
        return Understood(CallOutcome.MALFORMED, why=why) if why else Understood(CallOutcome.ABSTAINED)
    calls = []
    total = len(answer.calls) + answer.left_out
    for sent in answer.calls:
        read = _read(sent)
        if isinstance(read, str):
            return Understood(CallOutcome.MALFORMED, total=total, why=read)
        calls.append(read)
    if answer.turns and not answer.turns[-1]:
        why = written_call(answer.text, tools)
        if why:
            return Understood(CallOutcome.MALFORMED, total=total, why=why)
    return Understood(CallOutcome.CALLED, tuple(calls), total)


def _read(sent: SentCall) -> Call | str:
    """A call, or why it is malformed."""
    name = sent.name.strip()
    if not name:
        return _NO_NAME
    if sent.cut:
        return Call(name, None)
    written = sent.arguments.strip()
    if not written:
        return Call(name, {})
    try:
        arguments = decode(written)
    except RecursionError:
        return Call(name, None) if written.startswith("{") and written.endswith("}") else _BROKEN
    except ValueError:
        return _BROKEN
    if arguments is None:
        return Call(name, {})  # some servers write the arguments of a function without any like this
    return Call(name, arguments) if isinstance(arguments, dict) else _NO_OBJECT
