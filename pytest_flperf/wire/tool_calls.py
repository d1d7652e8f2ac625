"""Tool calls of an answer, assembled from their streamed pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_flperf.wire.surrogates import repair_text

__all__ = ["ToolCall", "ToolCalls"]

_MOST_CALLS: Final = 128
_LONGEST_NAME: Final = 512
_ARGUMENTS: Final = ("arguments", "input", "parameters")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Tool call of a model."""

    index: int
    id: str
    """Empty where the server gives none."""
    name: str
    arguments: str
    """As the model wrote them: JSON, if it kept to it."""


@dataclass(slots=True)
class _Pieces:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ToolCalls:
    """Collects streamed tool calls and the legacy ``function_call``.

    ``tool_calls`` are told apart by their index (or id, or in order).
    """

    __slots__ = ("_calls", "_index_now", "_room")

    def __init__(self, room: int) -> None:
        """``room``: most characters of arguments to keep, over all calls."""
        self._calls: dict[int, _Pieces] = {}
        self._index_now: dict[int, int] = {}
        """Of a server's index that several calls share, the index of the one that is under way."""
        self._room = room

    def take(self, calls: Any, legacy: Any) -> str:
        """Add the pieces of a chunk; returns their names and arguments."""
        found = []
        if isinstance(calls, dict):
            calls = [calls]
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                function = call.get("function") or call.get("custom")
                found.append(self._add(call, function if isinstance(function, dict) else call))
        if isinstance(legacy, dict):
            found.append(self._add({"index": 0}, legacy))
        return "".join(found)

    def result(self) -> tuple[ToolCall, ...]:
        """Tool calls, by index."""
        return tuple(
            ToolCall(index, repair_text(each.id), repair_text(each.name), repair_text("".join(each.arguments)))
            for index, each in sorted(self._calls.items())
        )

    def _add(self, call: dict[str, Any], function: dict[str, Any]) -> str:
        name = function.get("name")
        arguments = next((function[key] for key in _ARGUMENTS if function.get(key)), "")
        name = name[:_LONGEST_NAME] if isinstance(name, str) else ""
        text = arguments if isinstance(arguments, str) else _dumped(arguments)
        pieces = self._pieces(call, name)
        if pieces is not None:
            if not pieces.name:
                pieces.name = name
            if not pieces.id and isinstance(call.get("id"), str):
                pieces.id = call["id"][:_LONGEST_NAME]
            kept = text[: self._room]
            self._room -= len(kept)
            pieces.arguments.append(kept)
        return name + text

    def _pieces(self, call: dict[str, Any], name: str) -> _Pieces | None:
        """Call that a piece belongs to; None beyond the kept maximum."""
        index, call_id = call.get("index"), call.get("id")
        if type(index) is not int or not 0 <= index < 1 << 31:
            index = self._index_of(call_id, name)
        else:
            told, index = index, self._index_now.get(index, index)
            known = self._calls.get(index)
            if known is not None and _is_another(known, call_id, name):
                index = self._index_now[told] = max(self._calls) + 1
        known = self._calls.get(index)
        if known is None and len(self._calls) < _MOST_CALLS:
            known = self._calls[index] = _Pieces()
        return known

    def _index_of(self, call_id: Any, name: str) -> int:
        """Index for a piece without one.

        That of the call with its id, a new one where the piece names a function, else the last.
        """
        if isinstance(call_id, str) and call_id:
            for index, each in self._calls.items():
                if each.id == call_id[:_LONGEST_NAME]:
                    return index
        following = max(self._calls, default=-1) + 1
        return following if name or not self._calls else following - 1


def _is_another(known: _Pieces, call_id: Any, name: str) -> bool:
    """Whether a piece begins a new call.

    Some servers give all calls the same index.
    """
    if not name or not known.name:
        return False
    differs = isinstance(call_id, str) and bool(call_id and known.id) and call_id[:_LONGEST_NAME] != known.id
    return differs or name != known.name


def _dumped(arguments: Any) -> str:
    """JSON of arguments that a server sends as an object."""
    if not isinstance(arguments, dict | list):
        return ""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""
