"""Right and wrong answers: what a request is answered with, as drawn."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_flperf.reference_server.options import Schedule
from pytest_flperf.reference_server.truth import DETOURS, KnownAnswer, PlayedCall

__all__ = ["Asked", "drawn", "plain_prompt"]

_UNIQUE_PREFIX: Final = re.compile(r"\A\[\d{9}\] ", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """Part of a request that its right answer depends on."""

    number: int
    """Of the request, from 1."""
    prompt: str
    tools: tuple[str, ...]
    """Names of the tools that it offers; empty also where it forbids calls."""
    turn: int = 0
    """Of its conversation, from 0: how many answers with calls stand behind the prompt."""
    conversation: int = 0
    """Number of the request that began the conversation."""
    under_way: int = 1
    """Requests that the server answers at the moment, this one included."""


def plain_prompt(prompt: str) -> str:
    """Prompt without the prefix that makes it unique."""
    return _UNIQUE_PREFIX.sub("", prompt, count=1)


def drawn(schedule: Schedule, known: KnownAnswer | None, asked: Asked, own_seed: int) -> Schedule:
    """Schedule with this request's text or calls, right or wrong.

    Args:
        schedule: Of the request.
        known: The right answer to its prompt; None: that of the schedule.
        asked: The request.
        own_seed: Of this server, for what goes by prompts where the schedule has no seed.

    """
    rng = _draws(schedule, asked, own_seed)
    share = _wrong_share(schedule, asked.under_way)
    is_wrong = bool(share) and rng.random() < share
    right = schedule
    if known is not None:
        text = schedule.text if known.text is None else known.text
        right = replace(schedule, text=text, repeat_text=known.text is None, calls=known.calls)
    if right.calls is None or not asked.tools:
        right = replace(right, calls=None)
        wrong = replace(right, text=schedule.wrong_text, repeat_text=known is None and schedule.repeat_text)
    else:
        mistake = rng.choice(schedule.wrong_calls) if is_wrong else ""
        turns = (right.calls, *(known.then if known is not None else ()))
        right = wrong = _turn(right, turns, mistake, asked)
    return replace(wrong if is_wrong else right, wrong_share=0.0, busy_wrong_share=None, wrong_text="")


def _wrong_share(schedule: Schedule, under_way: int) -> float:
    if schedule.busy_wrong_share is None or under_way < schedule.busy_from:
        return schedule.wrong_share
    return schedule.busy_wrong_share


def _turn(schedule: Schedule, right: tuple[tuple[PlayedCall, ...], ...], mistake: str, asked: Asked) -> Schedule:
    """Schedule of one turn of a conversation: its calls, or the text at its end."""
    turn, tool = asked.turn, asked.tools[0]
    if mistake in DETOURS:
        return replace(schedule, calls=_detour(right, mistake, tool, turn))
    if mistake and not turn:
        return _wrong_calls(schedule, right[0], mistake, tool)
    return replace(schedule, calls=right[turn] if turn < len(right) else ())


def _detour(right: tuple[tuple[PlayedCall, ...], ...], mistake: str, tool: str, turn: int) -> tuple[PlayedCall, ...]:
    """Calls of one turn, where there are more than it takes."""
    turns = [each for each in right if each]
    last = (turns[-1] if turns else (PlayedCall(tool, "{}"),))[-1:]
    if mistake == "endless":
        return turns[turn] if turn < len(turns) else last
    more = last if mistake == "repeated" else (replace(last[0], arguments=_other_arguments(last[0].arguments)),)
    if len(right) == 1:  # perhaps no conversation: beside the others
        turns = [(*(turns[0] if turns else ()), *more, *(more if mistake == "repeated" and not turns else ()))]
    else:
        turns.append(more)
    return turns[turn] if turn < len(turns) else ()


def _draws(schedule: Schedule, asked: Asked, own_seed: int) -> random.Random:
    if schedule.wrong_by == "prompt":
        seed = own_seed if schedule.seed is None else schedule.seed
        return random.Random(f"{seed}:{plain_prompt(asked.prompt)}:wrong")  # noqa: S311
    return random.Random(f"{schedule.seed or 0}:{asked.conversation or asked.number}:wrong")  # noqa: S311


def _wrong_calls(schedule: Schedule, right: tuple[PlayedCall, ...], mistake: str, tool: str) -> Schedule:
    """Schedule that plays one mistake; where no call is right, a needless one."""
    calls = right or (PlayedCall(tool, "{}"),)
    first, rest = calls[0], calls[1:]
    match mistake:
        case "broken":
            return replace(schedule, calls=(replace(first, arguments=first.arguments[:-1]), *rest))
        case "text":
            return replace(schedule, calls=(), text=_as_text(calls), repeat_text=False)
        case _ if not right:
            return replace(schedule, calls=calls)
        case "name":
            return replace(schedule, calls=(replace(first, name=f"other_{first.name}"), *rest))
        case "arguments":
            return replace(schedule, calls=(replace(first, arguments=_other_arguments(first.arguments)), *rest))
        case _:
            return replace(schedule, calls=(), text=schedule.wrong_text, repeat_text=False)


def _as_text(calls: tuple[PlayedCall, ...]) -> str:
    """Calls as a model writes them that knows no tool calls: JSON in its text."""
    written = [f'{{"name": {json.dumps(each.name)}, "arguments": {each.arguments}}}' for each in calls]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _other_arguments(arguments: str) -> str:
    """Valid arguments of which the first has another value."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, Mapping) or not given:
        return '{"unknown": 1}'
    name = next(iter(given))
    return json.dumps({**given, name: _another(given[name])}, ensure_ascii=False)


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1_000
    return f"{value} or elsewhere" if isinstance(value, str) else "something else"
