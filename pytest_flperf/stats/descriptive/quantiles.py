"""Order statistics of many values, without one sorted list."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

__all__ = ["Column"]

# Measured on millions of values: sorting pieces that stay in the processor's cache takes a third of what sorting
# all at once takes, and numbers in arrays take 8 bytes where those of a list take 40.
_RUN: Final = 1 << 13
_FEW: Final = 512


class Column:
    """Collects numbers; then ``column[k]`` is the k-th smallest, from 0.

    They are kept as sorted runs of floats, 8 bytes a number, never as one sorted list: 15 million gaps have room.  Ints
    are exact up to 2⁵³ (of ns: 104 days).  What is not finite is no measurement and is left out.
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        """Begin with ``values``."""
        self._runs: list[Sequence[float]] = []
        self._loose: list[float] = []
        self.extend(values)

    def append(self, value: float) -> None:
        """Add one value."""
        self.extend((value,))

    def extend(self, values: Iterable[float]) -> None:
        """Add values."""
        self._loose.extend(values)
        if len(self._loose) >= _RUN:
            self._sort()

    def runs(self) -> Sequence[Sequence[float]]:
        """All values in pieces, each in ascending order."""
        self._sort()
        return self._runs

    def __iter__(self) -> Iterator[float]:
        """All values, in no order."""
        for run in self.runs():
            yield from run

    def __len__(self) -> int:
        """How many finite values there are."""
        return sum(map(len, self.runs()))

    def __getitem__(self, k: int) -> float:
        """The k-th smallest value, from 0.

        A negative k counts from the end, as in a sorted list.
        """
        n = len(self)
        if not -n <= k < n:
            raise IndexError(k)
        return self._pick(k % n)

    def _pick(self, k: int) -> float:
        """Find the k-th smallest by halving the range of values.

        The halving ends when few values are left in the range.
        """
        runs = self._runs
        low, high = min(run[0] for run in runs), max(run[-1] for run in runs)
        # In each run, what is in question is from first to before last: the rest is below low, or above high.
        firsts, lasts = [0] * len(runs), [len(run) for run in runs]
        while low < high and sum(lasts) - sum(firsts) > _FEW:
            middle = low / 2 + high / 2
            if not low <= middle < high:  # neighbours among the floats
                middle = low
            cuts = list(map(bisect_right, runs, [middle] * len(runs), firsts, lasts))
            if sum(cuts) > k:
                lasts, high = cuts, middle
            else:
                firsts = cuts
                low = min(run[first] for run, first, last in zip(runs, firsts, lasts, strict=True) if first < last)
        if low == high:
            return low
        left = sorted(value for run, first, last in zip(runs, firsts, lasts, strict=True) for value in run[first:last])
        return left[k - sum(firsts)]

    def _sort(self) -> None:
        loose = self._loose
        if not loose:
            return
        # A sum is finite where all are, or nearly always: much quicker than to ask each of them.
        ordered = sorted(loose if math.isfinite(sum(loose)) else filter(math.isfinite, loose))
        loose.clear()
        if ordered:
            self._runs.append(array("d", ordered))
