"""Followed-up requests: retries and chat turns."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pytest_flperf.loadgen.plan import Entry
from pytest_flperf.results.notes import warning
from pytest_flperf.suite.generator import Ask, PromptGenerator
from pytest_flperf.suite.messages import Message
from pytest_flperf.wire.decode import Decoder, decode
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.retry_after import asked_to_wait_s
from pytest_flperf.wire.sample import Outcome

__all__ = ["Retries", "Sessions"]

_SENT_ON_PURPOSE: Final = frozenset({Phase.MEASURED, Phase.OUTSIDE, Phase.RETRY})
_NS_PER_S: Final = 1_000_000_000
_OK: Final = (b"HTTP/1.1 2", b"HTTP/1.0 2")


class Retries:
    """Retries of requests that failed in a transient way."""

    def __init__(self, most: int, backoff_ns: int, longest_ns: int, decoder: Decoder = decode) -> None:
        """Retry up to ``most`` times, with exponential backoff.

        The first retry comes after ``backoff_ns``, each later one after twice as long.

        A server that asks for a longer pause (``Retry-After``) gets it, up to ``longest_ns``; one that asks for more
        is not asked again.  ``decoder`` decodes the failures.
        """
        self._most = most
        self._decode = decoder
        self._backoff_ns = backoff_ns
        self._longest_ns = longest_ns
        self._entries: dict[int, Entry] = {}
        self._tries: Counter[int] = Counter()
        self._waits_s = _Waits()
        self._too_long_s = _Waits()

    @property
    def longest_pause_ns(self) -> int:
        """Longest pause before a retry."""
        return max(self._backoff_ns << max(self._most - 1, 0), self._longest_ns)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on ``Retry-After``: pauses kept, retries left out."""
        waits, refused = self._waits_s, self._too_long_s
        notes = []
        if waits.count:
            retries = "a retry" if waits.count == 1 else f"{waits.count} retries"
            notes.append(f"Retry-After: waited {waits.words} before {retries}, as the server asked")
        if refused.count:
            limit_s = self._longest_ns / _NS_PER_S
            notes.append(
                warning(
                    f"Retry-After: failed requests that were not tried again: {refused.count}; the server asks for a "
                    f"wait of {refused.words}, longer than a request may take ({limit_s:g} s)"
                )
            )
        return tuple(notes)

    def watch(self, entry: Entry) -> Entry:
        """Keep an entry until its request has ended for good."""
        self._entries[entry.index] = entry
        return entry

    def watched(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The entries, kept until their requests have ended for good."""
        return map(self.watch, entries)

    def after(self, exchange: Exchange) -> Entry | None:
        """The next retry of a request; None where there is none.

        There is none where the request is well, was tried often enough, or can't be helped.
        """
        entry = self._entries.get(exchange.index)
        if entry is None or exchange.phase not in _SENT_ON_PURPOSE:
            return None
        tried = self._tries[exchange.index]
        if tried < self._most and self._is_transient(exchange):
            pause_ns = self._pause_ns(exchange, self._backoff_ns << tried)
            if pause_ns is not None:
                self._tries[exchange.index] += 1
                return replace(entry, phase=Phase.RETRY, due_ns=None, wait_ns=pause_ns)
        del self._entries[exchange.index], self._tries[exchange.index]
        return None

    def _is_transient(self, exchange: Exchange) -> bool:
        # Others are measured meanwhile: only what is not a whole success is decoded.
        if exchange.ending is Ending.COMPLETE and exchange.raw.startswith(_OK):
            return False
        return exchange.ending is not Ending.CANCELLED and self._decode(exchange).transient

    def _pause_ns(self, exchange: Exchange, backoff_ns: int) -> int | None:
        """Pause before the next retry; None where it is too long.

        It is too long where the server asks for more than ``longest_ns``.
        """
        asked_s = asked_to_wait_s(exchange)
        if asked_s is None or asked_s * _NS_PER_S <= backoff_ns:
            return backoff_ns
        if asked_s * _NS_PER_S > self._longest_ns:
            self._too_long_s.add(asked_s)
            return None
        self._waits_s.add(asked_s)
        return math.ceil(asked_s * _NS_PER_S)


class _Waits:
    """Waits of so many seconds each."""

    def __init__(self) -> None:
        self.count = 0
        self._shortest = math.inf
        self._longest = 0.0

    def add(self, wait_s: float) -> None:
        """Add a wait."""
        self.count += 1
        self._shortest, self._longest = min(self._shortest, wait_s), max(self._longest, wait_s)

    @property
    def words(self) -> str:
        """From the shortest to the longest."""
        if self._shortest == self._longest:
            return f"{self._longest:,.3g} s" if self._longest < 1000 else f"{self._longest:,.0f} s"
        return f"{self._shortest:,.0f} to {self._longest:,.0f} s"


class Sessions:
    """Chats that keep their history over their turns.

    Each turn holds all earlier messages and answers of its session.
    """

    def __init__(
        self,
        asker: PromptGenerator,
        entry: Callable[[int, Ask], Entry],
        first_number: int,
        most: int | None,
        decoder: Decoder = decode,
    ) -> None:
        """Begin with no session under way.

        Args:
            asker: Says what sessions are about.
            entry: Makes the entry of a request.
            first_number: Added to a request's index for its unique prefix.
            most: Requests in all, after which a session under way is left where it is; None: no bound.
            decoder: Decodes the answers, which the next turns quote.

        """
        self._asker = asker
        self._entry = entry
        self._first_number = first_number
        self._most = most
        self._decode = decoder
        self._under_way: dict[int, _Chat] = {}
        self.broken = 0
        """Sessions that ended early because a turn failed."""

    @property
    def count(self) -> int | None:
        """Number of sessions; None where there is no end."""
        if self._most is None:
            return None
        requests = session = 0
        while requests < self._most:
            requests += len(self._asker.conversation(session))
            session += 1
        return session

    def openings(self) -> Iterator[Entry]:
        """The first request of each session."""
        index = session = 0
        while self._most is None or index < self._most:
            ask = self._asker.opening(session, index + self._first_number)
            turns = self._asker.conversation(session)
            self._under_way[index] = _Chat(ask.messages, turns[1:], ask.max_tokens)
            yield self._entry(index, ask)
            index += len(turns)
            session += 1

    def after(self, exchange: Exchange) -> Entry | None:
        """The next turn of a session; None where it is over.

        It is over, too, where this turn failed.
        """
        chat = self._under_way.pop(exchange.index, None)
        if chat is None or not chat.left:
            return None
        index = exchange.index + 1
        if self._most is not None and index >= self._most:
            return None
        sample = self._decode(exchange)
        if not sample.ok:
            self.broken += sample.outcome is not Outcome.CANCELLED
            return None
        said = (Message("assistant", sample.output_text), Message("user", chat.left[0]))
        chat = _Chat((*chat.messages, *said), chat.left[1:], chat.max_tokens)
        self._under_way[index] = chat
        return self._entry(index, Ask(chat.messages, chat.max_tokens))


@dataclass(frozen=True, slots=True)
class _Chat:
    """A session before the answer to its last message."""

    messages: tuple[Message, ...]
    left: tuple[str, ...]
    """What the user will say."""
    max_tokens: int | None
