"""Synthetic text: filler of a given length in tokens.

The length is exact with the model's own tokenizer, and approximate from a server's token counts.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, printable
from pytest_flperf.suite.prompts.filler import FILLERS, filler_words

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["FILLERS", "MAX_TOKENIZER_BYTES", "LocalTokenizer", "TokensPerWord", "filler_words"]

MAX_TOKENIZER_BYTES: Final = 100_000_000
"""Largest tokenizer.json, in bytes."""

_WHAT: Final = "tokenizer.json"
_SAMPLE_WORDS: Final = 200
"""Filler words that are counted to learn the tokens per word."""
_FRESH_TRIES: Final = 4
_MENDINGS: Final = 12
_WINDOW: Final = 120
"""Characters before the end that affect how added text is cut into tokens."""
_MANY: Final = 24
"""Missing tokens beyond which more filler is added, not single words."""
_ENDINGS: Final = (
    " so",
    " and",
    " on",
    " the",
    " to",
    " is",
    " it",
    " in",
    " a",
    ".",
    "!",
    " 1",
    " x",
    "x",
    "e",
    "1",
    " A",
)
"""Endings to add, one token each with most tokenizers; never white space, which chat templates cut off."""
_LEAST_PER_WORD: Final = 0.2
_MOST_PER_WORD: Final = 100.0


class LocalTokenizer:
    """Tokenizer from a tokenizer.json, through the package ``tokenizers``.

    Its content isn't executed, but its rules are followed: a file that is made to be slow is slow.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            SuiteError: it can't be read, is larger than 100 MB or no tokenizer, or the package isn't installed.

        """
        self._where = display_path(path)
        text = decoded(read_bytes(path, _WHAT, MAX_TOKENIZER_BYTES), self._where, _WHAT)
        if not text.strip():
            raise SuiteError(f"{self._where}: found an empty file, expected a {_WHAT}")
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise SuiteError(
                f"{self._where}: reading a {_WHAT} needs the package tokenizers: "
                "pip install 'pytest-flperf[tokenizers]'"
            ) from None
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_str(text)
            # both are for training, and would cut or pad the counted text
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        except BaseException as error:  # noqa: BLE001 - Rust's panics are no Exception
            raise self._trouble(error, f"a file that can't be read as a tokenizer, expected a {_WHAT}") from None
        self._per_word: dict[str, float] = {}

    def count(self, text: str) -> int:
        """Return the number of tokens of *text*, without special ones.

        Raises:
            SuiteError: the tokenizer fails on it.

        """
        return len(self._encode(text))

    def exact(self, tokens: int, rng: random.Random, filler: str = "prose") -> str:
        """Return filler of exactly *tokens* tokens, as :meth:`count` counts.

        It neither begins nor ends with white space, so a chat template that cuts that off changes nothing.  The count
        is of this text alone: next to other text, tokens at the seam may merge or split, which usually makes one more
        or less; count the whole where that matters.

        Args:
            tokens: from 1.
            rng: source of randomness; the same state gives the same text.
            filler: one of :data:`FILLERS`.  Text is cut at its length, so JSON is not closed.

        Raises:
            SuiteError: no such text was found, or the tokenizer fails.
            ValueError: *tokens* is less than 1, or *filler* unknown.

        """
        if tokens < 1:
            raise ValueError(f"expected one token or more, not {tokens}")
        for _ in range(_FRESH_TRIES):
            text = self._mended(self._cut(tokens, rng, filler), tokens, rng, filler)
            if text:
                return text
        raise SuiteError(f"{self._where}: found no text of exactly {tokens:,} tokens, expected a tokenizer for English")

    def _encode(self, text: str) -> Encoding:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False)
        except BaseException as error:  # noqa: BLE001 - Rust's panics are no Exception
            raise self._trouble(error, "a tokenizer that fails, expected one that works") from None

    def _trouble(self, error: BaseException, found: str) -> SuiteError:
        """Return the error to raise for a failing tokenizer.

        Other errors, such as Ctrl-C, are raised as they are.
        """
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise error
        return SuiteError(f"{self._where}: found {found}: {printable(str(error))[:200]}")

    def _words_for(self, tokens: int, filler: str) -> int:
        """Return the filler words for that many tokens or slightly more."""
        if filler not in self._per_word:
            counted = self.count(filler_words(_SAMPLE_WORDS, random.Random(0), filler))  # noqa: S311
            self._per_word[filler] = max(counted, 1) / _SAMPLE_WORDS
        return math.ceil(tokens / self._per_word[filler] * 1.03) + 4

    def _cut(self, tokens: int, rng: random.Random, filler: str) -> str:
        """Return filler of that many tokens or a few less.

        It is cut between two pieces.
        """
        text = filler_words(self._words_for(tokens, filler), rng, filler)
        encoding = self._encode(text)
        if len(encoding) <= tokens:
            return text
        span: Any = encoding.token_to_chars(tokens - 1)
        end = min(span[1] if span else len(text), len(text) - 1)
        while end > 0 and not text[end].isspace():
            end -= 1
        return text[:end].rstrip()

    def _mended(self, text: str, tokens: int, rng: random.Random, filler: str) -> str | None:
        """Return *text*, adjusted to exactly that many tokens.

        None where that can't be done.
        """
        for _ in range(_MENDINGS):
            missing = tokens - self.count(text)
            if missing == 0 and text:
                return text
            if missing > _MANY:
                text = f"{text} {filler_words(self._words_for(missing, filler) - 4, rng, filler)}".strip()
            elif missing > 0:
                ending = self._ending(text, missing)
                if ending is None:
                    return None
                text += ending
            else:
                text = _without_last(text)
        return None

    def _ending(self, text: str, missing: int) -> str | None:
        """Return an ending of that many tokens, or of fewer.

        None where nothing makes *text* longer.
        """
        window = text[-_WINDOW:]
        window = window[window.find(" ") + 1 :] if len(text) > _WINDOW else window
        counted = self.count(window)
        aim = counted + missing
        added = ""
        turn = 0
        while counted < aim:
            for index in range(len(_ENDINGS)):
                ending = _ENDINGS[(turn + index) % len(_ENDINGS)]
                longer = added + ending if text or added else ending.strip()
                count = self.count(window + longer)
                if counted < count <= aim:
                    added, counted, turn = longer, count, turn + index + 1
                    break
            else:
                break
        return added or None


def _without_last(text: str) -> str:
    """Return *text* without its last piece."""
    pieces = text.rsplit(None, 1)
    return pieces[0] if len(pieces) > 1 else ""


@dataclass(frozen=True, slots=True)
class TokensPerWord:
    """Tokens per word, learnt from a server's own usage.

    ``prompt_tokens`` = overhead + pieces of filler × per_word.
    """

    overhead: float
    """Tokens of a request without any filler: the chat template's, and those of other text."""
    per_word: float

    @classmethod
    def from_counts(cls, short: tuple[int, int], long: tuple[int, int]) -> TokensPerWord:
        """Fit the model to the token counts of two requests.

        Args:
            short: pieces of filler, and prompt tokens that the server counted.
            long: the same of a much longer request.

        Raises:
            ValueError: no tokenizer counts like this: the longer request has no more tokens, or a word is less than a
                fifth of a token or more than a hundred.

        """
        (words, tokens), (more_words, more_tokens) = short, long
        if not 0 <= words < more_words or not 0 < tokens < more_tokens:
            raise ValueError(
                f"found {tokens} tokens for {words} words and {more_tokens} for {more_words}, expected more for more"
            )
        per_word = (more_tokens - tokens) / (more_words - words)
        overhead = tokens - words * per_word
        if overhead < 0:  # words differ, and the first ones were short
            overhead, per_word = 0.0, more_tokens / more_words
        if not _LEAST_PER_WORD <= per_word <= _MOST_PER_WORD:
            raise ValueError(
                f"found {per_word:.3g} tokens per word, expected {_LEAST_PER_WORD} to {_MOST_PER_WORD:.0f}: "
                "the server doesn't count what it was sent"
            )
        return cls(overhead, per_word)

    def words_for(self, tokens: int) -> int:
        """Return the filler pieces for a prompt of *tokens* tokens.

        The overhead is included; at least 1.
        """
        return max(round((tokens - self.overhead) / self.per_word), 1)
