"""Bounds of results: cut long texts and lists, and say so.

Suites, models, servers and branches may have any name, and a server may word every error differently.  Everything that
is kept or shown of a run passes through here, and stays the same object where nothing had to be cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from pytest_flperf.results.records import PlannedCase, Run
from pytest_flperf.results.serialize import Record

__all__ = ["bounded_case", "bounded_run", "bounded_text", "first_lines"]

_Record = TypeVar("_Record", bound=Record)
_Case = TypeVar("_Case", bound=PlannedCase)

_TEXT: Final = 1_000
_TEXTS: Final[Mapping[str, int]] = MappingProxyType({"message": 20_000, "detail": 2_100, "body_head": 2_100})
"""Longest texts, in characters, by the name of their field; :data:`_TEXT` for all others."""
_KEY: Final = 200
_ITEMS: Final = 500
_LISTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "failures": 20,
        "notes": 100,
        "faults": 100,
        "tags": 50,
        "adjusted": 50,
        "parameters": 50,
        "finish_reasons": 50,
        "settings": 100,
        "metrics": 200,
        "resources": 100,
        "resources_absent": 100,
        "versions": 100,
        "differs": 50,
    }
)
"""Longest lists and mappings, by the name of their field; :data:`_ITEMS` for all others."""
_WHOLE: Final = frozenset({"nodeid", "cases", "prompt_scores", "by_outcome", "suite_cases", "merged"})
"""Never cut: used as a key elsewhere, small for each prompt, or bounded by nature."""
_SETTINGS: Final = 50_000
"""Characters of all settings of a case together."""
_PLAIN: Final = (int, float, bool, type(None))


def bounded_text(text: str, limit: int = _TEXT) -> str:
    """The text in at most ``limit`` characters.

    A longer text is cut to its beginning, followed by its length and digest: two long texts that differ anywhere still
    differ.
    """
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    end = f"… ({len(text):,} characters in all, sha256 {digest})"
    return text[: max(limit - len(end), 0)] + end


def first_lines(lines: Sequence[str], most: int, what: str) -> list[str]:
    """The first ``most`` lines, and one that counts the rest."""
    return [*lines[:most], f"… and {len(lines) - most:,} more {what}"] if len(lines) > most else list(lines)


def bounded_case(case: _Case) -> _Case:
    """The case with texts and lists cut to their bounds.

    A note says what was left out of lists.
    """
    cutter = _Cutter()
    found = cutter.record(case)
    return replace(found, notes=(*found.notes, cutter.words)) if cutter.words else found


def bounded_run(run: Run) -> Run:
    """The run, cases included, with texts and lists cut to bounds."""
    cutter = _Cutter()
    found = cutter.record(run)
    cases = tuple(map(bounded_case, run.cases))
    if any(new is not old for new, old in zip(cases, run.cases, strict=True)):
        found = replace(found, cases=cases)
    return replace(found, notes=(*found.notes, cutter.words)) if cutter.words else found


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


class _Cutter:
    """Cuts long texts and lists, and counts what is left out."""

    def __init__(self) -> None:
        self._left_out: dict[str, int] = {}
        self._room = _SETTINGS

    @property
    def words(self) -> str:
        """The note on what was left out of lists; empty without any."""
        if not self._left_out:
            return ""
        parts = ", ".join(f"{count:,} of {name}" for name, count in self._left_out.items())
        return f"left out here, for their number: {parts}"

    def record(self, record: _Record) -> _Record:
        """The record with its values cut; the same object where nothing is."""
        changed = {}
        for name in _names(cast(Any, type(record))):
            value = getattr(record, name)
            if type(value) in _PLAIN or not value or name in _WHOLE:
                continue
            new = self._settings(value) if name == "settings" else self._value(value, name)
            if new is not value:
                changed[name] = new
        return replace(record, **changed) if changed else record

    def _value(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            return bounded_text(value, _TEXTS.get(name, _TEXT))
        if isinstance(value, Mapping):
            return self._mapping(value, name)
        if isinstance(value, list | tuple):
            return self._sequence(value, name)
        return self.record(value) if isinstance(value, Record) else value

    def _mapping(self, value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        most = self._most(value, name)
        found = {
            bounded_text(key, _KEY): item if type(item) in _PLAIN else self._value(item, name)
            for key, item in list(value.items())[:most]
        }
        same = len(found) == len(value) and all(key in found and found[key] is item for key, item in value.items())
        return value if same else found

    def _sequence(self, value: Sequence[Any], name: str) -> Sequence[Any]:
        most = self._most(value, name)
        items = value if most == len(value) else _worst_first(value)[:most]
        found = [item if type(item) in _PLAIN else self._value(item, name) for item in items]
        if most == len(value) and all(new is old for new, old in zip(found, value, strict=True)):
            return value
        return found if isinstance(value, list) else tuple(found)

    def _most(self, value: Any, name: str) -> int:
        most = _LISTS.get(name, _ITEMS)
        if name == "notes" and len(value) == most + 1:
            return most + 1  # the one behind them says what is left out
        if len(value) > most:
            self._left_out[name] = self._left_out.get(name, 0) + len(value) - most
        return min(most, len(value))

    def _settings(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settings cut to a common bound.

        What a scenario expects, or passes through to the server, may be a whole document.
        """
        found = dict(self._value(value, "settings"))
        for key, item in value.items():  # a cut value is replaced by its text, whose digest tells it apart
            if key in found and found[key] is not item and not isinstance(item, str):
                found[key] = bounded_text(repr(item))
        kept = {}
        for key, item in found.items():
            size = len(repr(item))
            self._room -= size
            kept[key] = item if self._room >= 0 else bounded_text(repr(item))
        same = len(kept) == len(value) and all(key in kept and kept[key] is item for key, item in value.items())
        return value if same else kept


def _worst_first(items: Sequence[Any]) -> Sequence[Any]:
    """Failing verdicts first; otherwise in the same order."""
    return sorted(items, key=lambda item: (not getattr(item, "fails", False), getattr(item, "met", False) is True))
