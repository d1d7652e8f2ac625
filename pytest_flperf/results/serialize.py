"""Serialization to exact builtins: the types that JSON and execnet accept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any, Final

__all__ = ["plain", "plain_text"]

_DEEPEST: Final = 64


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
