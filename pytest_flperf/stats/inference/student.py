"""Student's t distribution: quantiles and prediction bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["prediction_bound", "t_quantile"]


def prediction_bound(values: Sequence[float], confidence: float = 0.99) -> float:
    """One-sided upper prediction bound of a normal sample.

    The next value stays below it with this probability.

    mean + t(confidence, n - 1) × stdev × √(1 + 1/n) (Hahn and Meeker, "Statistical Intervals", 1991, section 4.8).
    Raises ValueError for fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"found {n} values, expected at least two")
    mean = math.fsum(values) / n
    stdev = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean + t_quantile(confidence, n - 1) * stdev * math.sqrt(1 + 1 / n)


def t_quantile(p: float, freedom: int) -> float:
    """Quantile of Student's t distribution.

    For 0.5 ≤ p < 1 and whole degrees of freedom from 1 on.
    """
    if not 0.5 <= p < 1 or freedom < 1:
        raise ValueError(f"found p {p} and {freedom} degrees of freedom, expected 0.5 ≤ p < 1 and at least one")
    from scipy.special import stdtrit  # late: a run that suggests nothing does not use it

    return float(stdtrit(freedom, p))
