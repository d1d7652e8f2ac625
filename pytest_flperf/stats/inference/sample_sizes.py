"""Smallest samples: how much data a decision takes at least.

No numpy.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["LEAST_EVIDENCE", "fewest_losses", "fewest_to_exclude"]

LEAST_EVIDENCE: Final = 6
"""Matched requests, repeats counted once: fewer can't tell anything."""


def fewest_to_exclude(points: float, level: float) -> int | None:
    """Pairs without a difference that exclude a change of ``points``.

    None: no number does.

    Where the change is all there is, n pairs show none of it with the chance (1 − points)ⁿ.

    Args:
        points: As a share: 0.02 for two percentage points.
        level: The chance that may be.

    """
    if points <= 0:
        return None
    if points >= 1:
        return 1
    return math.ceil(math.log(level) / math.log1p(-points) - 1e-9)


def fewest_losses(pairs: int, points: float, level: float) -> int | None:
    """Worse pairs needed to show a change of more points.

    Of so many pairs, and none better; None: not even all of them show it.

    By chance alone k pairs come out alike in 2⁻ᵏ; a change of just so many points gives k of n by the binomial law.
    """
    least = math.ceil(-math.log2(level) - 1e-9)
    beyond, chance = 0.0, [_binomial(pairs, k, points) for k in range(pairs + 1)]
    by_limit = pairs + 1
    for k in range(pairs, -1, -1):
        beyond += chance[k]
        if beyond > level:
            break
        by_limit = k
    found = max(least, by_limit)
    return found if found <= pairs else None


def _binomial(n: int, k: int, p: float) -> float:
    if p <= 0:
        return float(k == 0)
    if p >= 1:
        return float(k == n)
    logs = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    return math.exp(logs)
