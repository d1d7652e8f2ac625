"""Notes of cases and runs: lines for a person, with a level and a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

__all__ = ["Note", "NoteCode", "labelled", "warning"]

NoteCode: TypeAlias = Literal["", "parameters", "earlier_try", "not_compared"]
_WARNING: Final = "warning: "
_CODES: Final[Mapping[NoteCode, str]] = MappingProxyType(
    {"parameters": "parameters: ", "earlier_try": "an earlier try: ", "not_compared": "not compared: "}
)
"""How a line of each code begins, behind its level."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note.

    Results hold each note as one line, ``str(note)``; :meth:`of` reads it again.
    """

    text: str
    level: Literal["note", "warning"] = "note"
    """A ``warning`` is always shown."""
    code: NoteCode = ""
    """``parameters``: of those that were not sent as requested; ``earlier_try``: how a case ended that was run again;
    ``not_compared``: of a case without a counterpart."""

    def __str__(self) -> str:
        level = _WARNING if self.level == "warning" else ""
        return level + (_CODES[self.code] if self.code else "") + self.text

    @classmethod
    def of(cls, line: str) -> Note:
        """Read a note from its line."""
        level: Literal["note", "warning"] = "warning" if line.startswith(_WARNING) else "note"
        rest = line.removeprefix(_WARNING)
        for code, words in _CODES.items():
            if rest.startswith(words):
                return cls(rest[len(words) :], level, code)
        return cls(rest, level)


def labelled(line: str) -> str:
    """Line of a note with its level in front: ``note: …``, ``warning: …``."""
    return line if line.startswith(_WARNING) else f"note: {line}"


def warning(text: str, code: NoteCode = "") -> str:
    """Line of a note that must not be overlooked."""
    return str(Note(text, "warning", code))
