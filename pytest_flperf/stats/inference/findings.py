"""Findings: thresholds, error rates and results of comparisons.

No arithmetic: cheap to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "BLOCKS",
    "COUNTS",
    "FEWEST_RUNS",
    "GRADED",
    "MATCHED",
    "MEANS",
    "MEAN_REQUESTS",
    "RANKS",
    "SCORES",
    "SUMMARIES",
    "SWAPS",
    "TWO_SHARES",
    "ErrorRates",
    "Finding",
    "Threshold",
    "Word",
]

FEWEST_RUNS: Final = 3
"""Stored runs from which on they say how much a number varies of which a run has one only."""
MEAN_REQUESTS: Final = 90
"""Requests a side from which on a mean may be called unchanged or improved: a tail of 5 % of all requests is missed by
one in a hundred such sides."""

Word = Literal["regressed", "improved", "unchanged", "undecided"]

RANKS: Final = "signed ranks of pairs"
MEANS: Final = "sign flips of pairs"
SWAPS: Final = "label swaps of pairs"
BLOCKS: Final = "block bootstrap of two runs"
SUMMARIES: Final = "summaries of two runs"
COUNTS: Final = "exact test of counts"
MATCHED: Final = "exact test of matched shares"
GRADED: Final = "studentised bootstrap of matched scores"
TWO_SHARES: Final = "exact test of two shares"
SCORES: Final = "t test of two runs' scores"


@dataclass(frozen=True, slots=True)
class Threshold:
    """Threshold of a rule: the share and the floor it allows.

    Worse by more than the share and by more than the floor is a regression.
    """

    share: float
    """0.10 for 10 %; 0.0: any change.  Below 1 where less is worse."""
    floor: float = 0.0
    """In the metric's unit; a change must exceed both."""
    higher_is_worse: bool = True
    """False for rates (``gen_tps``): worse is a fall, below baseline × (1 − share)."""

    def __post_init__(self) -> None:
        if self.share < 0 or self.floor < 0:
            raise ValueError(f"a threshold is never negative: share {self.share}, floor {self.floor}")
        if not self.higher_is_worse and self.share >= 1:
            raise ValueError(f"nothing falls by {self.share:.0%} or more")


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """How often a decision may be wrong."""

    false_alarm: float = 0.01
    """Chance that a *whole run* without any regression says ``regressed``."""
    false_pass: float = 0.05
    """Chance, per comparison, that ``unchanged`` or ``improved`` is said of a true regression."""
    comparisons: int = 1
    """How many are judged in the run.  Each gets an equal part of ``false_alarm`` (Bonferroni), as the verdict of one
    item can't wait for the others."""

    def __post_init__(self) -> None:
        if not (0 < self.false_alarm < 1 and 0 < self.false_pass < 1 and self.comparisons >= 1):
            raise ValueError(f"error rates lie between 0 and 1, for one comparison or more: {self}")

    def alarm_level(self, spent: float = 1.0) -> float:
        """Significance level of one comparison at one look.

        It is the p-value needed at a look that may spend this part of the rate.
        """
        return self.false_alarm / self.comparisons * spent


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding: verdict and numbers of one comparison."""

    word: Word
    baseline: float | None
    """The statistic of all requests of that side, in the metric's unit."""
    candidate: float | None
    change: float | None
    """As a share, positive where the number grew: candidate / baseline − 1 as the method estimates it; None where the
    baseline is 0.  Of a number that is a share itself (quality, error rate): candidate − baseline."""
    interval: tuple[float, float] | None
    """Of the change, 95 %; valid under the looks.  An end may be open (−1, infinite) while pairs are few; None where
    both would be."""
    probability: float | None
    """That the change for the worse exceeds the threshold: the share of the confidence distribution that lies beyond
    it (where there is a floor: of the one that lies less beyond)."""
    p_value: float | None
    """Of the test that decides ``regressed``, before any correction."""
    n_baseline: int
    """Requests."""
    n_candidate: int
    pairs: int | None
    method: str
    """One of the names above: :data:`RANKS`, :data:`SWAPS`, :data:`MATCHED` …"""
    reason: str = ""
    """Why undecided, why not improved, why it failed closed, or that it rose from 0."""
