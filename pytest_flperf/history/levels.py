"""Levels of a case's history: runs between which nothing is known to have changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_flperf.history.selection import Measurement

__all__ = ["levels", "series"]


def levels(noise: Sequence[Measurement]) -> list[list[int]]:
    """The positions of measurements by level, in their order.

    A run that a person accepted begins a level, and so does one that improved on the current level.  Any other is of
    the level of the run that it was compared with, as it was not found to differ from it: the runs of two branches,
    one of which is faster, are two levels.  What was compared with no run, or with one that is not among them, is of
    the level of the run before.

    Args:
        noise: Newest first.

    """
    found: list[list[int]] = []
    level_of: dict[str, int] = {}
    faster_than: dict[str, int] = {}
    """The level of those that improved on a run: with a pinned baseline each later run does."""
    current = -1
    for position in reversed(range(len(noise))):
        each = noise[position]
        baseline = each.compared_with
        if each.improved and baseline is not None:
            level = faster_than.setdefault(baseline, len(found))
        else:
            level = level_of.get(baseline or "", current)
        if each.by_person or level < 0:
            level = len(found)
        if level == len(found):
            found.append([])
        found[level].append(position)
        level_of[each.run_id] = current = level
    return [level[::-1] for level in found]


def series(noise: Sequence[Measurement], numbers: Sequence[float | None]) -> list[float]:
    """The numbers of measurements by level, with a NaN between two: no difference is to be taken across it.

    Numbers that are missing or infinite are left out.

    Args:
        noise: Newest first.
        numbers: One of each.

    """
    found: list[float] = []
    for level in levels(noise):
        values = [number for position in level if (number := numbers[position]) is not None and math.isfinite(number)]
        found += [math.nan, *values] if found and values else values
    return found
