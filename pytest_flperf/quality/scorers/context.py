"""Context of own scorers: prompts, rows and hook of a case."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_flperf.quality.rows import ExpectedOf, ScoredRow
from pytest_flperf.quality.scorers.answers import AnswerToScore
from pytest_flperf.quality.tools.answered import opened

if TYPE_CHECKING:
    from pytest_flperf.quality.scorers.hook_calls import Hook

__all__ = ["OwnScoring", "ScoreKey"]

ScoreKey: TypeAlias = tuple[str, int, str]
"""Who gave a score (the hook, or a function), the index of the request, and a digest of the answer."""
_NO_ROW = ScoredRow()


@dataclass(frozen=True, slots=True)
class OwnScoring:
    """What scorers of one's own need to know of a case, while it is measured."""

    scenario: str
    model: str
    folder: str = ""
    """Of the suite: its modules are looked for there first; empty: there is none."""
    messages_of: Callable[[int], tuple[Mapping[str, str], ...]] = lambda _index: ()
    """Gives the prompt of a request, by its index."""
    rows: ExpectedOf | None = None
    """Gives the row of a request; None: there are no rows."""
    hook: Hook | None = None
    masked: Callable[[str], str] = lambda text: text
    """Hides secrets in what scorers say: they may quote the prompt."""
    remembered: dict[ScoreKey, Any] | None = None
    """Scores of a case that is measured in turns, where each answer is scored once; None: none is looked at again."""

    def known(self) -> dict[ScoreKey, Any]:
        """Scores so far; an empty mapping where none is remembered."""
        return {} if self.remembered is None else self.remembered

    def row(self, index: int) -> ScoredRow:
        """Row of a request; an empty one where there is none."""
        return self.rows(index) if self.rows is not None else _NO_ROW

    def answer(self, index: int, answer: str, expected: Any) -> AnswerToScore:
        """The answer to a request, for the hook."""
        sent, row = opened(answer), self.row(index)
        return AnswerToScore(
            sent.text,
            expected,
            self.messages_of(index),
            row.id,
            row.category,
            sent.calls,
            self.scenario,
            self.model,
        )

    def record(self, index: int) -> str:
        """What is known of a request, as JSON for the process of own scorers."""
        row = self.row(index)
        return json.dumps(
            {
                "messages": self.messages_of(index),
                "id": row.id,
                "category": row.category,
                "scenario": self.scenario,
                "model": self.model,
            }
        )
