"""Prompts of a case as people wrote them, kept for judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.messages import Message
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Sample

__all__ = ["PromptOf", "WrittenPrompts"]

_PROMPTS_KEPT: Final = 2_000
"""Of a case with more of them, the first ones are kept."""
_PROMPT_CHARACTERS: Final = 16_000_000

PromptOf: TypeAlias = Callable[[int], tuple[str, tuple[Message, ...]] | None]
"""Gives id and messages of a measured request's prompt; None: filler."""


class WrittenPrompts:
    """Prompts of a case's measured requests, as far as they are kept."""

    def __init__(self, prompt_of: PromptOf | None) -> None:
        """``prompt_of``: gives the prompt of a request; None: none is kept."""
        self._prompt_of = prompt_of
        self._characters = 0
        self._found: dict[str, tuple[tuple[Message, ...], list[int]]] = {}

    def add(self, sample: Sample) -> None:
        """Take in a request."""
        if self._prompt_of is None or sample.phase is not Phase.MEASURED:
            return
        try:
            written = self._prompt_of(sample.index)
        except SuiteError:  # a template that fails on this row; it is said where the request was to be made
            return
        if written is None:
            return
        prompt, messages = written
        if prompt not in self._found:
            if len(self._found) >= _PROMPTS_KEPT or self._characters > _PROMPT_CHARACTERS:
                self._prompt_of = None
                return
            self._characters += sum(len(each.content) for each in messages)
            self._found[prompt] = messages, []
        self._found[prompt][1].append(sample.index)

    def records(self, masked: Callable[[str], str]) -> Iterator[dict[str, Any]]:
        """A record per prompt, with the indices of its requests; ``masked`` hides secrets."""
        for prompt, (messages, indices) in self._found.items():
            texts = [{"role": each.role, "content": masked(each.content)} for each in messages]
            yield {"prompt": prompt, "messages": texts, "indices": indices}
