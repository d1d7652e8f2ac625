"""Overlap: whether a server answers in parallel or one by one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Sample

__all__ = ["Overlap"]

_LOOKED_AT: Final = 1_000
_FEWEST_PAIRS: Final = 3
_IN_TURN: Final = 0.9


class Overlap:
    """Looks at the first thousand answers that took time to stream."""

    def __init__(self) -> None:
        self._answers: list[tuple[int, int, int]] = []

    @property
    def full(self) -> bool:
        """Whether it has seen enough."""
        return len(self._answers) >= _LOOKED_AT

    def add(self, samples: Iterable[Sample]) -> None:
        """Take in measured requests that ended ok.

        Those whose text came at once tell nothing.
        """
        for sample in samples:
            sent, first, last = sample.sent_ns, sample.first_token_ns, sample.last_token_ns
            counts = sample.ok and sample.phase is Phase.MEASURED
            if counts and sent is not None and first is not None and last is not None and last > first:
                self._answers.append((first, last, sent))

    @property
    def serialised(self) -> bool | None:
        """Whether overlapping requests were answered one after the other.

        None where too few overlapped.

        Two successive answers overlap where the second was requested before the first had ended.  They are in turn
        where the second's first text came after the first's last.  Nine of ten in turn is serialised: a server that
        queues hands over for a moment now and then.
        """
        overlapping = [(one, other) for one, other in pairwise(sorted(self._answers)) if other[2] < one[1]]
        if len(overlapping) < _FEWEST_PAIRS:
            return None
        return sum(other[0] >= one[1] for one, other in overlapping) >= _IN_TURN * len(overlapping)
