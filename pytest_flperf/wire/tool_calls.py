"""Tool calls of an answer, assembled from their streamed pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_flperf.wire.surrogates import repair_text

__all__ = ["ToolCall", "ToolCalls"]

_MOST_CALLS: Final = 128
_LONGEST_NAME: Final = 512
_LOOKS: Final = 16
_ARGUMENTS: Final = ("arguments", "input", "parameters")
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Tool call of a model."""

    index: int
    id: str
    """Empty where the server gives none."""
    name: str
    arguments: str
    """As the model wrote them: JSON, if it kept to it."""
    cut: bool = False
    """Whether there were more arguments than are kept."""


@dataclass(slots=True)
class _Pieces:
    is_kept: bool
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    cut: bool = False
    looked_at: int = 0


class ToolCalls:
    """Collects streamed tool calls and the legacy ``function_call``.

    ``tool_calls`` are told apart by their index (or id, or in order).  The time is linear in the pieces.
    """

    __slots__ = ("_by_id", "_calls", "_index_now", "_kept", "_last", "_room")

    def __init__(self, room: int) -> None:
        """``room``: most characters of arguments to keep, over all calls."""
        self._calls: dict[int, _Pieces] = {}
        self._by_id: dict[str, int] = {}
        """Index of the first call with an id."""
        self._kept = 0
        self._last = -1
        """The highest index."""
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
        if isinstance(legacy, dict) and not found:  # some servers send both, with the same call
            found.append(self._add({"index": 0}, legacy))
        return "".join(found)

    def result(self) -> tuple[ToolCall, ...]:
        """Tool calls, by index."""
        return tuple(
            ToolCall(
                index, repair_text(each.id), repair_text(each.name), repair_text("".join(each.arguments)), each.cut
            )
            for index, each in sorted(self._calls.items())
            if each.is_kept
        )

    @property
    def left_out(self) -> int:
        """Number of calls beyond those that are kept."""
        return len(self._calls) - self._kept

    def _add(self, call: dict[str, Any], function: dict[str, Any]) -> str:
        name = function.get("name")
        arguments = next((function[key] for key in _ARGUMENTS if function.get(key) not in _NOTHING), "")
        name = name[:_LONGEST_NAME] if isinstance(name, str) else ""
        text = arguments if isinstance(arguments, str) else _dumped(arguments)
        index = self._index(call, name, text)
        pieces = self._calls[index]
        if not pieces.name:
            pieces.name = name
        if not pieces.id and isinstance(call.get("id"), str):
            pieces.id = call["id"][:_LONGEST_NAME]
            self._by_id.setdefault(pieces.id, index)
        if pieces.is_kept:
            kept = text[: self._room]
            self._room -= len(kept)
            pieces.arguments.append(kept)
            pieces.cut |= len(kept) < len(text)
        return name + text

    def _index(self, call: dict[str, Any], name: str, text: str) -> int:
        """Index of the call that a piece belongs to, which is there then."""
        index, call_id = call.get("index"), call.get("id")
        if type(index) is not int or not 0 <= index < 1 << 31:
            index = self._index_of(call_id, name)
        else:
            told, index = index, self._index_now.get(index, index)
            known = self._calls.get(index)
            if known is not None and _is_another(known, call_id, name, text):
                index = self._index_now[told] = self._last + 1
        if index not in self._calls:
            is_kept = self._kept < _MOST_CALLS
            self._calls[index] = _Pieces(is_kept)
            self._kept += is_kept
            self._last = max(self._last, index)
        return index

    def _index_of(self, call_id: Any, name: str) -> int:
        """Index for a piece without one.

        That of the call with its id, a new one where the piece names a function, else the last.
        """
        if isinstance(call_id, str) and call_id and call_id[:_LONGEST_NAME] in self._by_id:
            return self._by_id[call_id[:_LONGEST_NAME]]
        following = self._last + 1
        return following if name or not self._calls else following - 1


def _is_another(known: _Pieces, call_id: Any, name: str, text: str) -> bool:
    """Whether a piece begins a new call.

    Some servers give all calls the same index, and some of these no id.
    """
    if not name or not known.name:
        return False
    if name != known.name:
        return True
    if isinstance(call_id, str) and call_id and known.id:
        return call_id[:_LONGEST_NAME] != known.id
    return text.startswith("{") and _is_whole(known)


def _is_whole(known: _Pieces) -> bool:
    """Whether the arguments of a call are all there; looked at a few times only, for it takes time."""
    known.looked_at += 1
    if known.looked_at > _LOOKS or not known.arguments or not known.arguments[-1].endswith("}"):
        return False
    try:
        return isinstance(json.loads("".join(known.arguments)), dict)
    except (ValueError, RecursionError):
        return False


def _dumped(arguments: Any) -> str:
    """JSON of arguments that a server sends as an object, or as another value."""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""
