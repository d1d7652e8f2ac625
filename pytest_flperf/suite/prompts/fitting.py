"""Prompt fitting: exact length in tokens, with any unique prefix."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.messages import Message

__all__ = ["SAMPLE_KEY", "Fitting", "Messages"]

Messages = tuple[Message, ...]
SAMPLE_KEY: Final = "123456789"
"""Sample of a request's key, used to fit the texts that many requests share."""
_TRIES: Final = 12
_TRIES_PER_KEY: Final = 4
_PROBES: Final = 3
"""Keys that test whether a key changes the token count only around itself."""
_AROUND: Final = 160
"""Characters on either side of a key that may share tokens with it."""


@dataclass(frozen=True, slots=True)
class _Text:
    """Filler, and its surplus of tokens with the sample key."""

    filler: str
    surplus: int
    around: int
    """Tokens around the sample key."""


class Fitting:
    """Fits prompts to one length, each with a key of its own.

    Keys have nine digits, but not the same number of tokens.  All keys with the same number share one text, so a prompt
    costs only the counting of a few words around its key.  It needs a text of its own only where the tokenizer looks
    further than that.
    """

    def __init__(
        self,
        length: int,
        made: Callable[[str], Messages],
        whole: Callable[[Messages, str], Messages],
        count: Callable[[str], int],
        filler: Callable[[int, int], str],
    ) -> None:
        """Fit nothing yet.

        Args:
            length: Tokens of the whole prompt, over all messages.
            made: The messages with a filler in them, without the key.
            whole: The messages with their key, as they are sent.
            count: Tokens of a text.
            filler: Text of a number of tokens; the second argument varies it.

        """
        self._length = length
        self._made = made
        self._whole = whole
        self._count = count
        self._filler = filler
        self._texts: dict[int, _Text] = {}  # by the tokens that a key takes beyond the sample key's
        self._is_local: bool | None = None

    @property
    def characters(self) -> int:
        """Characters of all texts that are kept."""
        return sum(len(text.filler) for text in self._texts.values())

    def shared(self) -> Messages:
        """The messages without a key, which identify the prompt."""
        return self._made(self._text(0).filler)

    def fitted(self, key: str) -> tuple[Messages, int]:
        """The messages for a key, and their surplus of tokens.

        The surplus is 0, unless nothing fits.
        """
        best, least = self._text(0).filler, self._surplus(self._text(0), key)
        if not best or not least:
            return self._made(best), least
        more = least
        for _ in range(_TRIES_PER_KEY):
            text = self._text(more)
            surplus = self._surplus(text, key)
            if abs(surplus) < abs(least):
                best, least = text.filler, surplus
            if not surplus:
                break
            more += surplus
        if least:
            filler, surplus = self._fit(self._length, key)
            if abs(surplus) < abs(least):
                best, least = filler, surplus
        return self._made(best), least

    def _text(self, more: int) -> _Text:
        """The text for keys of so many more tokens than the sample."""
        if more not in self._texts:
            filler, surplus = self._fit(self._length - more, SAMPLE_KEY)
            self._texts[more] = _Text(filler, surplus - more, self._around(filler, SAMPLE_KEY))
        return self._texts[more]

    def _fit(self, length: int, key: str) -> tuple[str, int]:
        """Filler for a prompt of that many tokens, and its surplus.

        The nearest one where none fits, and none where the prompt is too long without any.
        """
        best, least = "", self._tokens("", key) - length
        wanted = -least
        for number in range(_TRIES):
            if wanted < 1 or not least:
                break
            try:
                text = self._filler(wanted, number)
            except SuiteError:  # there is no text of so few tokens: the nearest one is reported
                if not best and not self._texts:
                    raise
                break
            surplus = self._tokens(text, key) - length
            if abs(surplus) < abs(least) or not best:
                best, least = text, surplus
            wanted -= surplus
        return best, least

    def _surplus(self, text: _Text, key: str) -> int:
        """Surplus of tokens of a prompt with this key."""
        if self._is_local is None:
            chance = random.Random(self._length)  # noqa: S311 - no secret
            probes = [f"{chance.randrange(10 ** len(SAMPLE_KEY)):0{len(SAMPLE_KEY)}d}" for _ in range(_PROBES)]
            self._is_local = all(
                self._near(text, probe) == self._tokens(text.filler, probe) - self._length for probe in probes
            )
        return self._near(text, key) if self._is_local else self._tokens(text.filler, key) - self._length

    def _near(self, text: _Text, key: str) -> int:
        """The surplus, from counting the text around the key alone."""
        return text.surplus + self._around(text.filler, key) - text.around

    def _around(self, filler: str, key: str) -> int:
        text = self._whole(self._made(filler), key)[0].content
        at = text.find(f"[{key}]")
        return self._count(text[max(at - _AROUND, 0) : at + len(key) + _AROUND]) if at >= 0 else 0

    def _tokens(self, filler: str, key: str) -> int:
        return sum(self._count(each.content) for each in self._whole(self._made(filler), key))
