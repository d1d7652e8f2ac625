"""Options of checks: case, white space, tolerance of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

__all__ = ["CheckOptions", "Score", "Tolerance"]

Score: TypeAlias = Callable[[str], float]
"""From an answer to its score, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Tolerance of a number: absolute, or relative to what is expected."""

    size: float = 0.0
    relative: bool = False

    @classmethod
    def of(cls, value: Any) -> Self:
        """Read a tolerance: ``0.5``, or ``1%`` of the expected number.

        Raises ValueError for anything else, and for a negative one.
        """
        text = value if isinstance(value, str) else ""
        found = cls(float(text[:-1]) / 100, relative=True) if text.endswith("%") else cls(float(value))
        if not 0 <= found.size < float("inf"):
            raise ValueError(f"a tolerance of {value}")
        return found

    def holds(self, found: float, expected: float) -> bool:
        """Whether two numbers are so near to each other."""
        return abs(found - expected) <= (self.size * abs(expected) if self.relative else self.size)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Options of the checks of one mapping."""

    ignore_case: bool = False
    strip: bool = True
    """Whether white space around the whole answer doesn't count."""
    tolerance: Tolerance = Tolerance()

    @classmethod
    def of(cls, expected: Mapping[str, Any]) -> Self:
        """Read the options that stand beside checks."""
        tolerance = expected.get("tolerance")
        return cls(
            ignore_case=expected.get("ignore_case") is True,
            strip=expected.get("strip") is not False,
            tolerance=Tolerance() if tolerance is None else Tolerance.of(tolerance),
        )

    def folded(self, text: str) -> str:
        """The text as it is compared."""
        return text.casefold() if self.ignore_case else text
