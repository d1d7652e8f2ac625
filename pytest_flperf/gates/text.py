"""Words and numbers for people: hostile text made harmless, values with their unit."""

from __future__ import annotations

import math
from typing import Final

from pytest_flperf._text import harmless

__all__ = ["amount", "printable", "shorten"]

_SHOWN: Final = frozenset({"ms", "s", "tokens/s", "requests/s", "%", "MB", "W", "°C"})


def printable(text: str, limit: int = 500) -> str:
    r"""``text`` in one line that is no command to a terminal or a CI system (``\x1b``, ``\u202e``, ``#\x23[error]``).

    Cut to ``limit`` characters, with ``…`` where something was left out.
    """
    shown = harmless(text[:limit])
    return shown + "…" if len(text) > limit else shown


def shorten(text: str, limit: int = 60) -> str:
    """``printable`` in quotes, for quoting what was found in a message."""
    return f"'{printable(text, limit)}'"


def amount(value: float | None, unit: str) -> str:
    """A value with its unit, four significant digits or more: ``812.4 ms``, ``1.25 %`` (of a fraction), ``none``."""
    if value is None:
        return "none"
    if unit == "fraction":
        return f"{_number(100 * value)} %"
    return _number(value) + (f" {unit}" if unit in _SHOWN else "")


def _number(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}"
