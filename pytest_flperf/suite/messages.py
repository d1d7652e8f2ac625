"""Chat messages, and the values of variables in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Message", "Scalar", "WrittenPrompt"]

Scalar: TypeAlias = str | int | float | bool | None
"""Value of a variable in a prompt, or of a column of a data set."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: str
    content: str
    beside: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    """Further members as they are sent: the calls of an assistant's message, the id of the call that a tool answers."""

    def sent(self) -> dict[str, Any]:
        """As JSON of a request."""
        return {"role": self.role, "content": self.content, **dict(self.beside)}


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """Prompt of a request as people wrote it."""

    id: str
    """The same in every run, for the same texts."""
    messages: tuple[Message, ...]
    row: str = ""
    """Id of its row; empty: it is of none, or of one without an id."""
    category: str = ""
    """Category of its row."""
