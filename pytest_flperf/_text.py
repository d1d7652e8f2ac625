r"""Escaping of foreign text for terminals and CI logs.

A CI system reads what a job prints: ``::error::…`` at the start of a line and ``##[…]`` anywhere are commands to
GitHub, ``##vso[…]`` is one to Azure Pipelines, ``##teamcity[…]`` to TeamCity, ``section_start:…`` to GitLab.  A model,
a server or a suite that is named so must not give any.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["harmless", "harmless_json", "harmless_lines"]

_ANYWHERE: Final = re.compile(r"##(?=\w*\[)|section_(?=(?:start|end):)", re.IGNORECASE)
_AT_START: Final = re.compile(r"(\s*)(?:(:)(?=:[^\W\d])|(%)(?=%))")
_ESCAPES: Final = {"#": r"\x23", "_": r"\x5f", ":": r"\x3a", "%": r"\x25"}


def harmless(text: str) -> str:
    r"""``text`` as one line that is no command to a terminal or a CI system: ``\x3a:error::…``, ``#\x23[error]…``."""
    text = text if text.isprintable() else "".join(map(_escaped, text))
    if "##" in text or "_" in text:
        text = _ANYWHERE.sub(lambda found: found[0][:-1] + _ESCAPES[found[0][-1]], text)
    start = _AT_START.match(text)
    if start is not None:
        text = start[1] + _ESCAPES[start[2] or start[3]] + text[start.end() :]
    return text


def harmless_lines(text: str) -> str:
    """As :func:`harmless`, each line for itself."""
    return "\n".join(harmless(line.removesuffix("\r")) for line in text.split("\n"))


def harmless_json(text: str) -> str:
    """JSON that means the same, and whose strings are no commands."""
    text = _ANYWHERE.sub(lambda found: found[0][:-1] + f"\\u{ord(found[0][-1]):04x}", text)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()
