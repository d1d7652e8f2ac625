"""Log tails: last lines of another program's log, limited and cleaned.

The lines are safe to print on a terminal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["clean", "tail"]

_READ_BYTES: Final = 64 * 1024
_LINE_CHARACTERS: Final = 300


def clean(text: str, limit: int = _LINE_CHARACTERS) -> str:
    """One line, at most ``limit`` characters, without control characters.

    It holds nothing that a terminal would act on.
    """
    shown = "".join(character if character.isprintable() else " " for character in text[: 2 * limit])
    line = " ".join(shown.split())
    return line if len(line) <= limit and len(text) <= 2 * limit else line[: limit - 1] + "…"


def tail(path: Path, lines: int = 20) -> tuple[str, ...]:
    """Last ``lines`` non-empty lines of a file, cleaned.

    Empty if the file can't be read.
    """
    if lines <= 0:
        return ()
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _READ_BYTES))
            raw = file.read(_READ_BYTES)
    except OSError:
        return ()
    found: list[str] = []
    for line in reversed(raw.decode("utf-8", errors="replace").split("\n")):
        cleaned = clean(line)
        if cleaned:
            found.append(cleaned)
        if len(found) == lines:
            break
    return tuple(reversed(found))
