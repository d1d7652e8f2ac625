"""Assignment of calls to expected ones: exact, in any order or in theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["assigned", "in_order"]


def assigned(weights: Sequence[Sequence[float]]) -> list[int | None]:
    """Column of each row so that the sum of weights is largest; None: no column is left.

    The Hungarian method with potentials (Kuhn 1955; Jonker and Volgenant 1987), in time rows² × columns.  scipy has
    one as well, but its libraries alone need more memory than the scoring process may have.

    Args:
        weights: Of each row, one for each column; 0 or more.

    """
    if not weights or not weights[0]:
        return [None] * len(weights)
    if len(weights) > len(weights[0]):
        found: list[int | None] = [None] * len(weights)
        for column, row in enumerate(assigned(list(zip(*weights, strict=True)))):
            assert row is not None
            found[row] = column
        return found
    rows, columns = len(weights), len(weights[0])
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of = [0] * (columns + 1)  # counted from 1; 0: free
    for row in range(1, rows + 1):
        _add_row(row, weights, row_potential, column_potential, row_of)
    found = [None] * rows
    for column in range(1, columns + 1):
        if row_of[column]:
            found[row_of[column] - 1] = column - 1
    return found


def _add_row(
    row: int,
    weights: Sequence[Sequence[float]],
    row_potential: list[float],
    column_potential: list[float],
    row_of: list[int],
) -> None:
    """Assign one more row, along the cheapest path of exchanges."""
    columns = len(column_potential) - 1
    row_of[0] = row
    cheapest, came_from, used = [math.inf] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
    column = 0
    while row_of[column]:
        used[column] = True
        here, step, following = row_of[column], math.inf, 0
        costs, base = weights[here - 1], row_potential[here]
        for other in range(1, columns + 1):
            if used[other]:
                continue
            cost = -costs[other - 1] - base - column_potential[other]
            if cost < cheapest[other]:
                cheapest[other], came_from[other] = cost, column
            if cheapest[other] < step:
                step, following = cheapest[other], other
        for other in range(columns + 1):
            if used[other]:
                row_potential[row_of[other]] += step
                column_potential[other] -= step
            else:
                cheapest[other] -= step
        column = following
    while column:
        row_of[column], column = row_of[came_from[column]], came_from[column]


def in_order(rows: int, columns: int, weight: Callable[[int, int], float]) -> list[int | None]:
    """Column of each row so that the sum is largest and columns rise with rows; None: none.

    In time rows × columns, as the longest common subsequence.
    """
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    weights = [[weight(row, column) for column in range(columns)] for row in range(rows)]
    for row in range(1, rows + 1):
        above, here, costs = best[row - 1], best[row], weights[row - 1]
        for column in range(1, columns + 1):
            together = above[column - 1] + costs[column - 1]
            here[column] = max(above[column], here[column - 1], together)
    found: list[int | None] = [None] * rows
    row, column = rows, columns
    while row and column:
        if best[row][column] == best[row - 1][column]:
            row -= 1
        elif best[row][column] == best[row][column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            found[row] = column
    return found
