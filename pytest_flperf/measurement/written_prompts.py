"""Prompts of a case as people wrote them, kept for judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.messages import WrittenPrompt
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Sample

__all__ = ["PromptOf", "WrittenPrompts"]

_PROMPTS_KEPT: Final = 2_000
"""Of a case with more of them, the first ones are kept."""
_PROMPT_CHARACTERS: Final = 16_000_000

PromptOf: TypeAlias = Callable[[int], WrittenPrompt | None]
"""Gives a measured request's prompt; None: filler."""


class WrittenPrompts:
    """Prompts of a case's measured requests, as far as they are kept."""

    def __init__(self, prompt_of: PromptOf | None) -> None:
        """``prompt_of``: gives the prompt of a request; None: none is kept."""
        self._prompt_of = prompt_of
        self._characters = 0
        self._found: dict[str, tuple[WrittenPrompt, list[int]]] = {}

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
        if written.id not in self._found:
            if len(self._found) >= _PROMPTS_KEPT or self._characters > _PROMPT_CHARACTERS:
                self._prompt_of = None
                return
            self._characters += sum(len(each.content) for each in written.messages)
            self._found[written.id] = written, []
        self._found[written.id][1].append(sample.index)

    def records(self, masked: Callable[[str], str]) -> Iterator[dict[str, Any]]:
        """A record per prompt, with the indices of its requests; ``masked`` hides secrets."""
        for prompt, (written, indices) in self._found.items():
            texts = [{"role": each.role, "content": masked(each.content)} for each in written.messages]
            row = {name: masked(value) for name in ("row", "category") if (value := getattr(written, name))}
            yield {"prompt": prompt, **row, "messages": texts, "indices": indices}
