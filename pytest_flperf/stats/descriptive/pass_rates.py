"""pass@k and pass^k: chances that one, or all, of k answers are right."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum
from typing import Final

__all__ = ["MOST_TRIES", "pass_rates"]

MOST_TRIES: Final = 20
"""Largest k that is told."""


def pass_rates(prompts: Iterable[tuple[int, int]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """pass@1, pass@2 … and pass^1, pass^2 …, up to the fewest answers of a prompt.

    Of n answers to a prompt c are right: pass@k = 1 - C(n-c, k) / C(n, k), the chance that at least one of k is (Chen
    and others, "Evaluating Large Language Models Trained on Code", 2021); pass^k = C(c, k) / C(n, k), the chance that
    all are (Yao and others, "tau-bench", 2024).  Both are means over prompts.  Empty where a prompt was asked once.

    ``prompts``: n and c of each.
    """
    counts = list(prompts)
    most = min((n for n, _ in counts), default=0)
    if most < 2:
        return (), ()
    tries = range(1, min(most, MOST_TRIES) + 1)
    at = tuple(1 - fsum(_all_of(n - c, n, k) for n, c in counts) / len(counts) for k in tries)
    return at, tuple(fsum(_all_of(c, n, k) for n, c in counts) / len(counts) for k in tries)


def _all_of(c: int, n: int, k: int) -> float:
    """C(c, k) / C(n, k), without large numbers."""
    chance = 1.0
    for each in range(k):
        chance *= max(c - each, 0) / (n - each)
    return chance
