"""Lead of one model over another in scores of the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pytest_flperf.stats.inference.graded import BootstrapT
from pytest_flperf.stats.inference.matched import law_of_signs
from pytest_flperf.stats.inference.matched_shares import MatchedCounts, score_interval
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE

__all__ = ["ScoreLead", "score_lead"]

_MOST_NUMBERS: Final = 20_000_000
"""Of a bootstrap: a run of many models has many of them."""


@dataclass(frozen=True, slots=True)
class ScoreLead:
    """Mean difference of scores, ours − theirs, with its interval."""

    value: float
    low: float
    high: float
    decided: bool
    """Whether ours are higher, beyond doubt."""


def score_lead(scores: Sequence[tuple[float, float]], level: float) -> ScoreLead | None:
    """Lead of our scores over theirs: its interval, and whether it is beyond doubt.

    Decided as a rule of "any fall" is for the other side: by the law of random signs, each prompt once (of scores of 0
    and 1 the exact test of McNemar 1947), and by the interval; of other scores also by the studentised bootstrap.  An
    interval that the law does not support is drawn to 0.

    Args:
        scores: Ours and theirs, of each prompt.
        level: Chance to call models different, one way, that are alike; each limit of the interval is wrong as often.

    Returns:
        None with fewer than :data:`LEAST_EVIDENCE` prompts.

    """
    if len(scores) < LEAST_EVIDENCE:
        return None
    differences = np.array([ours - theirs for ours, theirs in scores], dtype=np.float64)
    more, less = law_of_signs(differences)
    if all(score in (0.0, 1.0) for both in scores for score in both):
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        low, high = score_interval(MatchedCounts(len(scores), wins, losses), level)
    else:
        bootstrap = BootstrapT(differences, level, _MOST_NUMBERS)
        low, high = bootstrap.interval(level)
        of_bootstrap = bootstrap.tails(0.0)
        more, less = max(more, of_bootstrap[0]), max(less, of_bootstrap[1])
    ahead, behind = more <= level and low > 0, less <= level and high < 0
    return ScoreLead(
        float(differences.mean()),
        low if ahead else min(low, 0.0),
        high if behind else max(high, 0.0),
        decided=ahead,
    )
