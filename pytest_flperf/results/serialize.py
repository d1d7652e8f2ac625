"""Serialization of records: to exact builtins, which JSON and execnet accept, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date
from typing import Any, ClassVar, Final, Self, TypeAlias, TypeVar

__all__ = ["Interval", "Reader", "Record", "interval_of", "many", "plain", "plain_text"]

_DEEPEST: Final = 64
Interval: TypeAlias = tuple[float, float]
Reader: TypeAlias = Callable[[Any], Any]
_T = TypeVar("_T")


def plain_text(text: str) -> str:
    r"""``text`` as an exact ``str`` that UTF-8 can hold.

    A lone surrogate becomes its escape (``\udc80``).
    """
    exact = str.__str__(text)
    try:
        exact.encode()
    except UnicodeEncodeError:
        return exact.encode("utf-8", "backslashreplace").decode()
    return exact


def plain(value: Any, _depth: int = 0) -> Any:  # noqa: PLR0911 - one return for each kind
    """``value`` as exact builtins: no enum, Path, tuple or numpy scalar.

    NaN and infinities become None.  Any other type becomes its ``str``.  Never raises for depth: below 64 levels it
    gives ``…``.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if _depth >= _DEEPEST:
        return "…"
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), _depth + 1) for field in fields(value)}
    if isinstance(value, Mapping):
        return {plain_text(str(key)): plain(item, _depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, _depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item, _depth + 1) for item in sorted(value, key=str)]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    item = getattr(value, "item", None)  # a numpy scalar that is no subclass of a builtin
    if callable(item) and not getattr(value, "shape", (1,)):
        return plain(item(), _depth + 1)
    return plain_text(str(value))


def many(read: Callable[[Any], _T]) -> Callable[[Any], tuple[_T, ...]]:
    """A reader of a list, whose items ``read`` reads."""
    return lambda values: tuple(read(value) for value in values)


def interval_of(value: Any) -> Interval:
    """Read an interval: its two ends."""
    low, high = value
    return (float(low), float(high))


@dataclass(frozen=True, slots=True)
class Record:
    """Base of all records: to exact builtins and back.

    Reading raises ValueError and never TypeError, because readers of foreign files catch ValueError.
    """

    _readers: ClassVar[Mapping[str, Reader]] = {}

    def to_dict(self) -> dict[str, Any]:
        """The record as exact builtins, keys in results-file order."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def of(cls, base: Record, **values: Any) -> Self:
        """A record with the values of a record of its base class, and more."""
        return cls(**{each.name: getattr(base, each.name) for each in fields(base)} | values)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read the output of ``to_dict``.

        Unknown keys are ignored; null stands for a field's default.  Raises ValueError where ``record`` is no mapping,
        lacks a field that has no default, or holds a nested record of the wrong kind.
        """
        return cls._read(record)

    @classmethod
    def _read(cls, record: Mapping[str, Any]) -> Self:
        if not isinstance(record, Mapping):
            raise ValueError(f"{cls.__name__}: expected an object, found {type(record).__name__}")  # noqa: TRY004
        values: dict[str, Any] = {}
        for each in fields(cls):
            name, value = each.name, record.get(each.name)
            optional = each.default is not MISSING or each.default_factory is not MISSING
            if value is None and optional:
                continue
            if name not in record:
                raise ValueError(f"{cls.__name__}: {name!r} is missing")
            if value is not None and name in cls._readers:
                try:
                    value = cls._readers[name](value)
                except (TypeError, KeyError, AttributeError) as error:
                    raise ValueError(f"{cls.__name__}: {name!r} is not what it should be: {error}") from error
            values[name] = value
        return cls(**values)
