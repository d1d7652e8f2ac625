"""Range checks for option dataclasses, and loading from JSON.

The dataclasses are frozen; they are built from JSON objects.

A field says what it takes: in its metadata ``low`` and ``high`` of numbers and ``longest`` of texts, by its annotation
the words of a Literal.  A refusal names the key, what was expected and what was found.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["OptionError", "amount", "check", "count", "label", "overridden"]

_LONGEST_SHOWN = 60


class OptionError(ValueError):
    """Invalid option; the message is one line, ready to show."""


def amount(default: float | None, low: float, high: float) -> Any:
    """Number field from ``low`` to ``high``."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def count(default: int | None, low: int, high: int) -> Any:
    """Integer field from ``low`` to ``high``."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "whole": True})


def label(default: str | None, longest: int) -> Any:
    """Text field of at most ``longest`` characters."""
    return dataclasses.field(default=default, metadata={"longest": longest})


def check(options: DataclassInstance, where: str) -> None:
    """Check all ranges; raises :class:`OptionError`."""
    for name, rule in _rules(type(options)).items():
        value = getattr(options, name)
        expected = _expected(value, rule)
        if expected:
            raise OptionError(f"{where}.{name}: expected {expected}, found {_shown(value)}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    default: object
    words: tuple[object, ...]
    limits: Mapping[str, Any]


@functools.cache
def _rules(kind: type[DataclassInstance]) -> dict[str, _Rule]:
    """Rules of the fields of a class."""
    hints = get_type_hints(kind)
    words = {name: get_args(hint) if get_origin(hint) is Literal else () for name, hint in hints.items()}
    return {field.name: _Rule(field.default, words[field.name], field.metadata) for field in dataclasses.fields(kind)}


def _expected(value: object, rule: _Rule) -> str | None:
    """Expected value where a value is invalid; None: it is valid."""
    limits = rule.limits
    if value is None and rule.default is None:
        return None
    if rule.words:
        return None if value in rule.words else "one of " + ", ".join(map(str, rule.words))
    if "longest" in limits:
        fits = isinstance(value, str) and len(value) <= limits["longest"] and _encodable(value)
        return None if fits else f"a string of at most {limits['longest']} characters"
    if "low" in limits:
        whole = limits.get("whole", False)
        if isinstance(value, int if whole else (int, float)) and not isinstance(value, bool):
            number: Any = value
            if limits["low"] <= number <= limits["high"]:  # never true of NaN
                return None
        return f"a {'whole number' if whole else 'number'} from {limits['low']} to {limits['high']}"
    return "true or false" if isinstance(rule.default, bool) and not isinstance(value, bool) else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    try:
        shown = ascii(value)
    except ValueError:  # a number of more digits than Python writes
        shown = "a very long number"
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."


Options = TypeVar("Options", bound="DataclassInstance")


def overridden(base: Options, given: object, where: str) -> Options:
    """Copy of ``base`` with the keys of a JSON object.

    An unknown key is refused with the nearest right one.
    """
    if not isinstance(given, Mapping):
        raise OptionError(f"{where}: expected an object, found {_shown(given)}")
    known = [field.name for field in dataclasses.fields(base) if field.init]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:_LONGEST_SHOWN], known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"{where}: unknown key {_shown(key)}{hint}")
    return dataclasses.replace(base, **given)
