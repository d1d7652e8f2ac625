"""Chat messages, and the values of variables in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Message", "Scalar"]

Scalar: TypeAlias = str | int | float | bool | None
"""Value of a variable in a prompt, or of a column of a data set."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: str
    content: str
