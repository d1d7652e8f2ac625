"""Scores of answers, with their parts."""

from __future__ import annotations

from typing import Self, TypeAlias

from pytest_flperf.bounded.process import NoResult
from pytest_flperf.quality.tools.expected import CallScore

__all__ = ["PartedScore", "Score"]

Score: TypeAlias = float | NoResult | None
"""None: nothing is expected of the answer, and no hook took it."""


class PartedScore(float):
    """A score with those of its checks."""

    __slots__ = ("calls", "parts", "reason")
    parts: tuple[tuple[str, float], ...]
    """Name and score of each check, in order."""
    calls: CallScore | None
    """What the answer's tool calls were; None where none are expected or unwanted."""
    reason: str
    """What a scorer of one's own said."""

    @classmethod
    def of(
        cls,
        score: float,
        parts: tuple[tuple[str, float], ...],
        calls: CallScore | None = None,
        reason: str = "",
    ) -> Self:
        """A score and its parts."""
        made = cls(score)
        made.parts = parts
        made.calls = calls
        made.reason = reason
        return made
