"""Offered rate and sent rate of an open loop."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

from pytest_flperf.wire.sample import Sample

__all__ = ["OfferedLoad"]

_NS_PER_S: Final = 1e9
_NEVER: Final = -1


class OfferedLoad:
    """Due times and sent times of measured requests.

    Those that could not be sent have a due time only.
    """

    def __init__(self) -> None:
        self._due_ns: array[int] = array("q")
        self._sent_ns: array[int] = array("q")

    def add(self, sample: Sample) -> None:
        """Take in a measured request.

        One without a due time is of a closed loop and counts for nothing here.
        """
        if sample.due_ns is not None:
            self._due_ns.append(sample.due_ns)
            self._sent_ns.append(_NEVER if sample.sent_ns is None else sample.sent_ns)

    @property
    def offered_rate(self) -> float | None:
        """Requests per second that were due.

        Counted are those before the last due time, over the time until then.

        Several may be due at once.  One that could not be sent was due all the same.
        """
        last_ns = max(self._due_ns, default=0)
        before = len(self._due_ns) - self._due_ns.count(last_ns)
        return before * _NS_PER_S / (last_ns - min(self._due_ns)) if before else None

    @property
    def sent_rate(self) -> float | None:
        """Requests per second that were sent.

        Counted are those due before the last one that was sent, over the time until it was.
        """
        last_ns = max((due for due, _ in self._sent()), default=0)
        before = 0
        first_sent_ns = last_sent_ns = None
        for due_ns, sent_ns in self._sent():
            if due_ns == last_ns:
                last_sent_ns = sent_ns if last_sent_ns is None else min(last_sent_ns, sent_ns)
            else:
                before += 1
                first_sent_ns = sent_ns if first_sent_ns is None else min(first_sent_ns, sent_ns)
        if first_sent_ns is None or last_sent_ns is None or last_sent_ns <= first_sent_ns:
            return None
        return before * _NS_PER_S / (last_sent_ns - first_sent_ns)

    def _sent(self) -> Iterator[tuple[int, int]]:
        """When requests that were sent were due, and sent."""
        return (pair for pair in zip(self._due_ns, self._sent_ns, strict=True) if pair[1] != _NEVER)
