"""Loop turn durations of the load process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["LAST_BUCKET", "TURN_SHIFT", "LoopTurns"]

TURN_SHIFT: Final = 10
"""A turn's bucket is its ns, shifted by that: about a microsecond each."""
LAST_BUCKET: Final = 16_383
"""Holds what is longer."""


@dataclass(frozen=True, slots=True)
class LoopTurns:
    """Histogram of turn durations of the load process's loop.

    A turn is how long the loop was busy before it looked at its sockets again, while a plan ran.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    """Turns by bucket."""
    longest_ns: int = 0

    @classmethod
    def of(cls, buckets: Iterable[int], longest_ns: int) -> LoopTurns:
        """Build from the count of each bucket, in order."""
        return cls({bucket: count for bucket, count in enumerate(buckets) if count}, longest_ns)

    def __add__(self, other: LoopTurns) -> LoopTurns:
        """Sum of two processes' or two plans' histograms."""
        return LoopTurns(Counter(self.counts) + Counter(other.counts), max(self.longest_ns, other.longest_ns))

    def values_ns(self) -> Iterable[tuple[float, int]]:
        """Middle and count of each bucket, ascending."""
        for bucket, count in sorted(self.counts.items()):
            middle = (bucket + 0.5) * (1 << TURN_SHIFT) if bucket < LAST_BUCKET else self.longest_ns
            yield min(middle, self.longest_ns), count

    def quantile_ns(self, p: float) -> float:
        """Quantile ``p`` of the turn durations, exact to half a microsecond.

        There must be at least one turn.
        """
        rank = p * sum(self.counts.values())
        seen = 0
        for value, count in self.values_ns():
            seen += count
            if seen >= rank:
                return value
        return float(self.longest_ns)
