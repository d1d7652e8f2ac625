"""Levels of a history: runs with no known change between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_flperf.history.selection import Measurement

__all__ = ["levels", "series"]


def levels(noise: Sequence[Measurement]) -> list[list[int]]:
    """The positions of measurements by level, in order.

    A run that a person accepted begins a level, and so does a run that improved on the current level.  Any other run
    belongs to the level of the run that it was compared with, because it was not found to differ from it: the runs of
    two branches, one of which is faster, form two levels.  A run that was compared with none, or with one that is not
    in the list, belongs to the level of the run before.

    Args:
        noise: Newest first.

    """
    found: list[list[int]] = []
    level_of: dict[str, int] = {}
    faster_than: dict[str, int] = {}
    """The level of the runs that improved on a run: with a pinned baseline every later run does."""
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
    """The numbers of measurements by level, with NaN between levels.

    No difference must be taken across a NaN.  Numbers that are missing or infinite are left out.

    Args:
        noise: Newest first.
        numbers: One for each measurement.

    """
    found: list[float] = []
    for level in levels(noise):
        values = [number for position in level if (number := numbers[position]) is not None and math.isfinite(number)]
        found += [math.nan, *values] if found and values else values
    return found
