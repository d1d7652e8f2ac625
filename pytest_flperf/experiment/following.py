"""What an ended request brings about: another try of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from pytest_flperf.load.plan import Entry
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange, Phase

__all__ = ["Retries"]

_SENT_ON_PURPOSE: Final = frozenset({Phase.MEASURED, Phase.OUTSIDE, Phase.RETRY})
_OK: Final = (b"HTTP/1.1 200", b"HTTP/1.0 200")


class Retries:
    """Tries requests again that failed in a way that may pass."""

    def __init__(self, most: int, backoff_ns: int) -> None:
        """Try again ``most`` times at most, the first time after ``backoff_ns``, then after twice as long each time."""
        self._most = most
        self._backoff_ns = backoff_ns
        self._entries: dict[int, Entry] = {}
        self._tries: Counter[int] = Counter()

    @property
    def longest_pause_ns(self) -> int:
        """Before the last try."""
        return self._backoff_ns << max(self._most - 1, 0)

    def watched(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The entries, kept until their requests have ended for good."""
        for entry in entries:
            self._entries[entry.index] = entry
            yield entry

    def after(self, exchange: Exchange) -> Entry | None:
        """The next try of a request; None where it is well, was tried often enough, or can't be helped."""
        entry = self._entries.get(exchange.index)
        if entry is None or exchange.phase not in _SENT_ON_PURPOSE:
            return None
        tried = self._tries[exchange.index]
        if tried < self._most and _is_transient(exchange):
            self._tries[exchange.index] += 1
            return replace(entry, phase=Phase.RETRY, due_ns=None, wait_ns=self._backoff_ns << tried)
        del self._entries[exchange.index], self._tries[exchange.index]
        return None


def _is_transient(exchange: Exchange) -> bool:
    # Others are measured meanwhile: only what is not a whole 200 is decoded.
    if exchange.ending is Ending.COMPLETE and exchange.raw.startswith(_OK):
        return False
    return exchange.ending is not Ending.CANCELLED and decode(exchange).transient
