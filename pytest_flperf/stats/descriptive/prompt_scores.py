"""Quality by prompt, collected request by request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pytest_flperf.results.measured import PromptScore

__all__ = ["PROMPTS_KEPT", "PromptScores"]

PROMPTS_KEPT: Final = 2_000
"""Of a case with more of them nothing is told by prompt."""
_DIGEST_BYTES: Final = 12


@dataclass(slots=True)
class _Prompt:
    n: int = 0
    total: float = 0.0
    answer: bytes | None = None
    alike: bool = True


class PromptScores:
    """Scores of the measured requests of a case."""

    def __init__(self, prompt_of: Callable[[int], str] | None) -> None:
        """``prompt_of``: names the prompt of a request by its index.

        None: the prompts are not known, and nothing is collected.
        """
        self._prompt_of = prompt_of
        self._prompts: dict[str, _Prompt] = {}

    def add(self, index: int, score: float, answer: str | None) -> None:
        """Take in a request; ``answer`` None: it failed."""
        if self._prompt_of is None or len(self._prompts) > PROMPTS_KEPT:
            return
        found = self._prompts.setdefault(self._prompt_of(index), _Prompt())
        found.n += 1
        found.total += score
        data = b"" if answer is None else answer.encode("utf-8", "surrogatepass")
        digest = bytes([answer is None]) + hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
        found.alike = found.alike and found.answer in (None, digest)
        found.answer = digest

    def result(self) -> tuple[PromptScore, ...]:
        """Scores by prompt, in the order of their first requests."""
        if len(self._prompts) > PROMPTS_KEPT:
            return ()
        return tuple(
            PromptScore(prompt, found.n, min(max(found.total / found.n, 0.0), 1.0), found.alike)
            for prompt, found in self._prompts.items()
        )
