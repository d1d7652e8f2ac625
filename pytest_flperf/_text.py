r"""Text for people: foreign text escaped, numbers with their unit.

A CI system reads what a job prints: ``::error::…`` at the start of a line and ``##[…]`` anywhere are commands to
GitHub, ``##vso[…]`` is one to Azure Pipelines, ``##teamcity[…]`` to TeamCity, ``section_start:…`` to GitLab.  The
name of a model, a server or a suite must never become such a command.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Final

__all__ = [
    "amount",
    "encodable",
    "harmless",
    "harmless_json",
    "harmless_lines",
    "printable",
    "shorten",
    "significant",
]

_ANYWHERE: Final = re.compile(r"##(?=\w*\[)|section_(?=(?:start|end):)", re.IGNORECASE)
_AT_START: Final = re.compile(r"(\s*)(?:(:)(?=:[^\W\d])|(%)(?=%))")
_ESCAPES: Final = {"#": r"\x23", "_": r"\x5f", ":": r"\x3a", "%": r"\x25"}


def encodable(text: str) -> str:
    """Return *text* with lone surrogates escaped.

    Any terminal and file takes it then.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def harmless(text: str) -> str:
    r"""Escape text to one line without terminal or CI commands.

    Such as ``\x3a:error::…`` and ``#\x23[error]…``.
    """
    text = text if text.isprintable() else "".join(map(_escaped, text))
    if "##" in text or "_" in text:
        text = _ANYWHERE.sub(lambda found: found[0][:-1] + _ESCAPES[found[0][-1]], text)
    start = _AT_START.match(text)
    if start is not None:
        text = start[1] + _ESCAPES[start[2] or start[3]] + text[start.end() :]
    return text


def harmless_lines(text: str) -> str:
    """Escape each line on its own, as :func:`harmless` does."""
    return "\n".join(harmless(line.removesuffix("\r")) for line in text.split("\n"))


def harmless_json(text: str) -> str:
    """Escape commands inside JSON strings; the JSON keeps its meaning."""
    text = _ANYWHERE.sub(lambda found: found[0][:-1] + f"\\u{ord(found[0][-1]):04x}", text)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


_SMALLEST: Final = 1e-9
"""From here on numbers are written without an exponent: people read prices."""
_SHOWN: Final = frozenset({"ms", "s", "tokens/s", "requests/s", "%", "MB", "W", "J", "°C"})


def printable(text: str, limit: int = 500) -> str:
    r"""``text`` on one line, harmless to terminals and CI systems.

    Commands to them are escaped (``\x1b``, ``\u202e``, ``#\x23[error]``).  Cut to ``limit`` characters, with ``…``
    where something was left out.
    """
    shown = harmless(text[:limit])
    return shown + "…" if len(text) > limit else shown


def shorten(text: str, limit: int = 60) -> str:
    """``printable`` in quotes, for quoting what was found in a message."""
    return f"'{printable(text, limit)}'"


def amount(value: float | None, unit: str) -> str:
    """A value with its unit: ``812.4 ms``, ``1.25 %``, ``none``.

    Four significant digits or more; fractions in percent.
    """
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
    return significant(value, 4)


def significant(value: float, digits: int) -> str:
    """A number below 1,000 to so many significant digits, without an exponent from 1e-9 on: ``0.0000128``."""
    shown = f"{value:.{digits}g}"
    return shown if "e" not in shown or abs(value) < _SMALLEST else f"{Decimal(shown):f}"
