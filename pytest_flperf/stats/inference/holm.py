"""Holm correction of several p-values."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted by Holm's step-down, in the order given.

    What is at most the wanted level is significant, and the chance of any false alarm among all of them is at most
    that level, however they depend on each other (Holm 1979, Scandinavian Journal of Statistics 6, pages 65–70).  It
    finds all that Bonferroni finds and more, but needs all p-values at once.

    Raises:
        ValueError: One of them isn't between 0 and 1.

    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1: {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        adjusted[at] = highest
    return tuple(adjusted)
