"""Pieces of an answer: text, reasoning and tool calls, as deltas."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.reference_server.options import Schedule
from pytest_flperf.reference_server.truth import PlayedCall

__all__ = ["ID_MARK", "Piece", "call_message", "call_pieces", "cut_to", "text_pieces", "with_ids"]

ID_MARK: Final = "\x01" * 8
"""Place for the number of the request."""
_ESCAPED: Final = json.dumps(ID_MARK)[1:-1]


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an answer that goes into one chunk."""

    kind: str
    """reasoning, text or call."""
    text: str
    """Of text and reasoning; of a call what its tokens are counted by."""
    tokens: int
    delta: str = ""
    """Members of the delta as JSON; empty: by the kind, from the text."""


def text_pieces(schedule: Schedule, kind: str, tokens: int) -> Iterator[Piece]:
    """Chunks of so many tokens of text or reasoning."""
    step = schedule.tokens_per_chunk
    for start in range(0, tokens, step):
        several = min(step, tokens - start)
        yield Piece(kind, "".join(_token(schedule, n) for n in range(start, start + several)), several)


def call_pieces(schedule: Schedule) -> list[Piece]:
    """Chunks of the schedule's tool calls, one call after the other."""
    chars = schedule.chars_per_token * schedule.tokens_per_chunk
    calls = schedule.calls or ()
    if schedule.call_form == "function_call":
        return [each for call in calls[:1] for each in _legacy(schedule, call, chars)]
    found = []
    for index, call in enumerate(calls):
        parts = _parts(schedule, call, chars)
        first = {"index": index, **_whole(index, call, parts[0])}
        found.append(_piece(schedule, call.name + parts[0], {"tool_calls": [first]}))
        for part in parts[1:]:
            delta = {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            found.append(_piece(schedule, part, delta))
    return found


def call_message(schedule: Schedule) -> dict[str, Any]:
    """Members of a message that holds the schedule's tool calls whole."""
    calls = schedule.calls or ()
    if schedule.call_form == "function_call":
        return {"function_call": {"name": calls[0].name, "arguments": calls[0].arguments}}
    return {"tool_calls": [_whole(index, call, call.arguments) for index, call in enumerate(calls)]}


def cut_to(pieces: list[Piece], tokens: int) -> list[Piece]:
    """The pieces that begin within so many tokens."""
    kept, count = [], 0
    for piece in pieces:
        if count >= tokens:
            break
        kept.append(piece)
        count += piece.tokens
    return kept


def _whole(index: int, call: PlayedCall, arguments: str) -> dict[str, Any]:
    return {
        "id": f"call_{ID_MARK}_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def with_ids(written: str) -> str:
    """JSON of calls, whose ids get the mark that the number of the request replaces."""
    return written.replace(_ESCAPED, ID_MARK)


def _legacy(schedule: Schedule, call: PlayedCall, chars: int) -> Iterator[Piece]:
    parts = _parts(schedule, call, chars)
    first = {"function_call": {"name": call.name, "arguments": parts[0]}}
    yield _piece(schedule, call.name + parts[0], first)
    for part in parts[1:]:
        yield _piece(schedule, part, {"function_call": {"arguments": part}})


def _piece(schedule: Schedule, text: str, delta: dict[str, Any]) -> Piece:
    members = json.dumps(delta, separators=(",", ":"))[1:-1]
    return Piece("call", text, max(1, -(-len(text) // schedule.chars_per_token)), members)


def _parts(schedule: Schedule, call: PlayedCall, chars: int) -> list[str]:
    """Arguments as they are streamed; the first part goes with the name."""
    text = call.arguments
    if schedule.call_split == "whole":
        return [text]
    if schedule.call_split == "even":
        return ["", *(text[start : start + chars] for start in range(0, len(text), chars))]
    rng = random.Random(f"{schedule.seed or 0}:{text}:split")  # noqa: S311
    parts: list[str] = []
    start = 0
    while start < len(text) or not parts:
        length = rng.randint(0 if not parts else 1, 3 * chars)
        parts.append(text[start : start + length])
        start += length
    return parts


def _token(schedule: Schedule, number: int) -> str:
    chars, text = schedule.chars_per_token, schedule.text
    if text:
        start = number * chars
        if not schedule.repeat_text:
            return text[start : start + chars]
        start %= len(text)
        piece = text[start : start + chars]
        return piece if len(piece) == chars else (piece + text * (chars // len(text) + 1))[:chars]
    if chars == 1:
        return str(number % 10)
    return str(number).zfill(chars - 1)[1 - chars :] + " "
