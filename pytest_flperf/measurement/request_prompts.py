"""Prompts and rows of measured requests, by their index."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.stats.inference.matched_requests import DECODING, is_deterministic
from pytest_flperf.suite.generator import PromptGenerator
from pytest_flperf.suite.messages import WrittenPrompt
from pytest_flperf.suite.model import Case

__all__ = ["RequestPrompts", "most_turns"]

_T = TypeVar("_T")


def most_turns(case: Case) -> int:
    """Most requests of one prompt: of a conversation with tools, several."""
    return case.scenario.tool_turns if case.scenario.plays_tools else 1


class RequestPrompts:
    """Prompts of a case's measured requests, and what answers are scored by."""

    def __init__(self, case: Case, asker: PromptGenerator, refused: Collection[str]) -> None:
        """``refused``: settings that are not sent because the server refuses them."""
        self._case = case
        self._settings = case.scenario.settings
        self._asker = asker
        self._refused = refused
        self._turns = most_turns(case)

    @property
    def expect(self) -> Mapping[str, Any] | None:
        """Expectation that the answers are scored by."""
        return self._case.scenario.expect

    @property
    def rows(self) -> ExpectedOf | None:
        """Function that tells what a request's row says of its answer.

        None without rows, and where nothing is scored.
        """
        scenario = self._case.scenario
        has_rows = scenario.source is not None and scenario.source.rows
        if not has_rows or not scenario.is_scored or self.prompt_of is None:
            return None
        return self._by_prompt(self._asker.scored_row)

    @property
    def named_rows(self) -> ExpectedOf | None:
        """The same, also where nothing is expected: ids and categories."""
        source = self._case.scenario.source
        has_rows = source is not None and source.rows and self.prompt_of is not None
        return self._by_prompt(self._asker.scored_row) if has_rows else None

    def category_of(self, index: int) -> str:
        """Category of a measured request's row; empty without one."""
        rows = self.named_rows
        return "" if rows is None else rows(index).category

    @property
    def rows_expect(self) -> bool:
        """Whether rows have expectations of their own."""
        source = self._case.scenario.source
        return source is not None and source.expects

    @property
    def deterministic(self) -> bool:
        """Whether the server answers the same request alike each time.

        As far as that depends on the request.
        """
        left = {name: getattr(self._settings, name) for name in DECODING if name not in self._refused}
        return is_deterministic(left)

    def prompt_id(self, index: int) -> str:
        """Prompt id of a measured request.

        It leaves out the prefix that keeps the prompt out of a cache.
        """
        return self._asker.prompt_id(index)

    @property
    def prompt_of(self) -> Callable[[int], str] | None:
        """Function that names a measured request's prompt; None for chats.

        The name leaves out the prefix that keeps the prompt out of a cache.
        """
        return None if self._settings.load.kind == "session" else self._by_prompt(self._asker.prompt_id)

    @property
    def written_prompt_of(self) -> Callable[[int], WrittenPrompt | None] | None:
        """Function that gives a measured request's prompt as people wrote it, for judges; None for conversations."""
        return None if self._settings.load.kind == "session" or self._turns > 1 else self._asker.written

    @property
    def scored_prompt_of(self) -> Callable[[int], WrittenPrompt | None] | None:
        """The same for own scorers, which are given whole conversations with tools; None for chats."""
        return None if self._settings.load.kind == "session" else self._by_prompt(self._asker.written)

    @property
    def journal_prompt_of(self) -> Callable[[int], str] | None:
        """Function that names an ended request's prompt, for the journal.

        None where scores by prompt don't need it.
        """
        scored = self._case.scenario.is_scored
        return self._by_prompt(self._asker.sent_prompt_id) if scored and self.prompt_of is not None else None

    def _by_prompt(self, of: Callable[[int], _T]) -> Callable[[int], _T]:
        """Function of a request's index in place of its prompt's, where a prompt takes several requests."""
        turns = self._turns
        return of if turns == 1 else lambda index: of(index // turns)
