"""Prompt lengths: filler, padding, shared and unique prefixes, in tokens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.prompts.filler import filler_words
from pytest_flperf.suite.prompts.fitting import Fitting
from pytest_flperf.suite.prompts.sources import PromptSource
from pytest_flperf.suite.prompts.synthetic import TokensPerWord
from pytest_flperf.suite.request_body import keyed as with_key

__all__ = ["PromptLengths", "padded"]

_MOST_KEPT: Final = 32_000_000
"""Characters of filler kept for requests of the same length."""
_MOST_PADDINGS: Final = 64
_MOST_FITTINGS: Final = 4_096


def padded(messages: tuple[Message, ...], padding: str) -> tuple[Message, ...]:
    """The messages with filler before the text of the last one."""
    if not padding:
        return messages
    *before, last = messages
    return (*before, replace(last, content=f"{padding}\n\n{last.content}"))


class PromptLengths:
    """Brings the prompts of one case to their lengths in tokens."""

    def __init__(self, case: Case, source: PromptSource, seed: str) -> None:
        """Make no text yet.

        Args:
            case: What the prompts belong to.
            source: What they are made of.
            seed: The same one gives the same filler.

        """
        self._case = case
        self._settings = case.scenario.settings
        self._source = source
        self._seed = seed
        self.usage: TokensPerWord | None = None
        """How the server counts tokens; None: not known yet, or a tokenizer counts."""
        self._texts: dict[tuple[str, int], str] = {}  # by use and length
        self._kept = 0  # their characters
        self._padding: dict[tuple[Message, ...], str] = {}
        self._fittings: dict[tuple[object, int], Fitting] = {}
        self._not_fitting: Counter[int] = Counter()  # prompts, by their surplus of tokens

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for people on the lengths of prompts."""
        if not self._not_fitting:
            return ()
        low, high = min(self._not_fitting), max(self._not_fitting)
        count = sum(self._not_fitting.values())
        off = f"{low:+d}" if low == high else f"{low:+d} to {high:+d}"
        return (f"{count} prompts differ from the requested length by {off} tokens: no filler text fits",)

    def calibration(self, words: int) -> str:
        """Filler of a calibration request, in pieces."""
        return filler_words(words, random.Random(f"{self._seed}/calibration"), self._source.filler)  # noqa: S311

    def with_user_text(self, text: str) -> tuple[Message, ...]:
        """The scenario's messages, with *text* as the last one."""
        *before, last = self._case.scenario.messages
        return (*before, replace(last, content=text))

    def keyed(self, messages: tuple[Message, ...], key: str) -> tuple[Message, ...]:
        """The messages with their unique prefix, where one keeps them out of the prompt cache."""
        return with_key(messages, key, self._settings.prompt_cache)

    def sent(self, messages: tuple[Message, ...], key: str) -> tuple[Message, ...]:
        """The messages as they are sent, with both prefixes."""
        return self._prefixed(self.keyed(messages, key))

    def _prefixed(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages behind the prefix that all requests share."""
        length = self._source.shared_prefix_tokens
        if not length:
            return messages
        first = messages[0]
        return (replace(first, content=f"{self._shared_prefix(length)}\n\n{first.content}"), *messages[1:])

    def synthetic(self, length: int, key: str | None) -> tuple[Message, ...]:
        """Messages of that many tokens.

        Exactly so many with a tokenizer, else about so many as the server counts.
        """
        if self._source.tokenizer is not None:
            return self._fitted("prompt", length, self.with_user_text, key)
        text = self._texts.get(("prompt", length))
        if text is None:
            assert self.usage is not None
            words = self.usage.words_for(length)
            text = filler_words(words, self._filler_random(length), self._source.filler)
            self._remember(("prompt", length), text)
        return self.with_user_text(text)

    def padded_to(self, messages: tuple[Message, ...], context: int, key: str | None) -> tuple[Message, ...]:
        """The messages, padded with filler to *context* tokens.

        Without any where they are longer.
        """
        if self._source.tokenizer is not None:
            return self._fitted(messages, context, lambda text: padded(messages, text), key)
        if messages not in self._padding:
            assert self.usage is not None
            left = context - self.usage.overhead
            words = self.usage.words_for(context) if left > 0 else 0
            text = filler_words(words, self._filler_random(context), self._source.filler) if words else ""
            if len(self._padding) >= _MOST_PADDINGS:  # data sets have many prompts, and paddings can be long
                self._padding.clear()
            self._padding[messages] = text
        return padded(messages, self._padding[messages])

    def _fitted(
        self, use: object, length: int, made: Callable[[str], tuple[Message, ...]], key: str | None
    ) -> tuple[Message, ...]:
        """Messages of that many tokens in all, with their key.

        A shared prefix comes on top of them.
        """
        tokenizer = self._source.tokenizer
        assert tokenizer is not None
        fitting = self._fittings.get((use, length))
        if fitting is None:
            self._make_room()
            exact = tokenizer.exact
            fitting = self._fittings[use, length] = Fitting(
                length + self._source.shared_prefix_tokens,
                made,
                self.sent,
                tokenizer.count,
                lambda tokens, number: exact(tokens, self._filler_random(tokens, number), self._source.filler),
            )
        if key is None:
            return fitting.shared()
        messages, off = fitting.fitted(key)
        if off:
            self._not_fitting[off] += 1
        return messages

    def _make_room(self) -> None:
        """Forget fitted texts where there are too many.

        Checked only now and then, as it takes a while.
        """
        count = len(self._fittings)
        if count and count % _MOST_PADDINGS == 0:
            characters = sum(each.characters for each in self._fittings.values())
            if count >= _MOST_FITTINGS or characters > _MOST_KEPT:
                self._fittings.clear()

    def _shared_prefix(self, length: int) -> str:
        """Filler of that many tokens by itself."""
        known = self._texts.get(("prefix", length))
        if known is not None:
            return known
        rng = random.Random(f"{self._seed}/prefix")  # noqa: S311
        if self._source.tokenizer is not None:
            text = self._source.tokenizer.exact(length, rng, self._source.filler)
        else:
            assert self.usage is not None
            text = filler_words(max(round(length / self.usage.per_word), 1), rng, self._source.filler)
        return self._remember(("prefix", length), text)

    def _remember(self, key: tuple[str, int], text: str) -> str:
        """Keep a text, for which a tokenizer takes milliseconds.

        Of many lengths not all are kept.
        """
        if self._kept + len(text) > _MOST_KEPT:
            self._texts.clear()
            self._kept = 0
        self._texts[key] = text
        self._kept += len(text)
        return text

    def _filler_random(self, length: int, number: int = 0) -> random.Random:
        again = f"/{number}" if number else ""
        return random.Random(f"{self._seed}/filler/{length}{again}")  # noqa: S311
