"""Played tool results: what a tool answers, from a table in the suite.

An entry holds the name of a tool, the arguments that it is for, as expected calls have them, and the result.  The first
entry that fits a call answers it.  Nothing is executed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.quality.tools.matchers import ArgumentMatcher, FormError, argument_matcher, share_of_arguments
from pytest_flperf.quality.tools.understood import Call

__all__ = ["MOST_RESULTS", "PlayedResults", "without_results"]

MOST_RESULTS: Final = 1_000
"""Most entries of a table."""
_LONGEST: Final = 1 << 20
_SHOWN: Final = 60
_KEYS: Final = frozenset({"name", "args", "result"})
_SLOW: Final = ("regex", "fuzzy")
"""Matchers that may take long, which the next request would wait for."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    arguments: Mapping[str, ArgumentMatcher] | None
    result: str


class PlayedResults:
    """Table of tool results."""

    def __init__(self, entries: Sequence[Mapping[str, Any]], tools: Collection[str]) -> None:
        """Read a table; raises FormError, whose text begins with the place: ``[0].args.city: expected …``.

        Args:
            entries: Mappings with name, args and result.
            tools: Names of the tools that are offered.

        """
        if not isinstance(entries, list | tuple) or len(entries) > MOST_RESULTS:
            raise FormError("", f"expected a list of at most {MOST_RESULTS:,} results")
        self._tools = tools
        self._entries = tuple(_entry(each, f"[{index}]") for index, each in enumerate(entries))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tools that have results, in order."""
        return tuple(dict.fromkeys(each.name for each in self._entries))

    def is_known(self, call: Call) -> bool:
        """Whether the tool of a call was offered."""
        return call.name in self._tools

    def has(self, call: Call) -> bool:
        """Whether a call has a result."""
        return self._result(call) is not None

    def answer(self, call: Call) -> str:
        """Text of the message that answers a call: the result, or what is wrong with the call."""
        found = self._result(call) if self.is_known(call) else None
        if found is not None:
            return found
        words = "no result for these arguments" if self.is_known(call) else "there is no such tool"
        return json.dumps({"error": words})

    def _result(self, call: Call) -> str | None:
        for each in self._entries:
            if each.name != call.name:
                continue
            if each.arguments is None or share_of_arguments(each.arguments, call.arguments) == 1:
                return each.result
        return None


def without_results(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries as scoring needs them: which calls have a result, not which."""
    return [{**{key: value for key, value in each.items() if key != "result"}, "result": ""} for each in entries]


def _entry(value: Any, place: str) -> _Entry:
    if not isinstance(value, Mapping):
        raise FormError(place, "expected a mapping with name, args and result")
    unknown = [str(key) for key in value if key not in _KEYS]
    if unknown:
        raise FormError(place, f"unknown key {unknown[0][:_SHOWN]!r}, expected name, args and result")
    name, arguments = value.get("name"), value.get("args")
    if not isinstance(name, str) or not name.strip():
        raise FormError(f"{place}.name", "expected the name of a tool")
    if "result" not in value:
        raise FormError(f"{place}.result", "missing, expected a text, or what JSON can hold")
    result = _text(value["result"], f"{place}.result")
    if "args" not in value:
        return _Entry(name, None, result)
    if not isinstance(arguments, Mapping):
        raise FormError(f"{place}.args", "expected a mapping of arguments to values")
    slow = next((each for spec in arguments.values() for each in _kinds(spec) if each in _SLOW), None)
    if slow is not None:
        words = f"found {slow}, which may take long, expected another way to compare: the next request waits for it"
        raise FormError(f"{place}.args", words)
    matchers = {
        str(key): argument_matcher(each, "exact", f"{place}.args.{str(key)[:_SHOWN]}")
        for key, each in arguments.items()
    }
    return _Entry(name, matchers, result)


def _kinds(spec: Any) -> Iterator[str]:
    """Names of all matchers in a specification, however deep."""
    left = [spec]
    while left:
        one = left.pop()
        if not isinstance(one, Mapping):
            continue
        yield from map(str, one)
        inner = one.get("object")
        left += inner.values() if isinstance(inner, Mapping) else ()
        for key in ("items", "either"):
            left += one[key] if isinstance(one.get(key), list) else ()


def _text(value: Any, place: str) -> str:
    """Result as the text of a message."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except (TypeError, ValueError, RecursionError):
        raise FormError(place, "expected a text, or what JSON can hold") from None
    if len(text) > _LONGEST:
        raise FormError(place, f"found {len(text):,} characters, expected {_LONGEST:,} at most")
    return text
