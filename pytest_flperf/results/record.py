"""Base class of records: to exact builtins and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

from pytest_flperf.results.serialize import plain

__all__ = ["Interval", "Reader", "Record", "interval_of", "many"]

Interval: TypeAlias = tuple[float, float]
Reader: TypeAlias = Callable[[Any], Any]
_T = TypeVar("_T")


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
