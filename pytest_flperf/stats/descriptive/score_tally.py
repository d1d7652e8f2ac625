"""Score tally: answers scored in batches, by prompt and by call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.scoring import AnswerScorer, NoResult
from pytest_flperf.stats.descriptive.call_rates import CallTally
from pytest_flperf.stats.descriptive.conversations import ConversationTally, turns_of
from pytest_flperf.stats.descriptive.prompt_scores import PromptScores
from pytest_flperf.stats.descriptive.quantiles import Column
from pytest_flperf.wire.sample import Sample
from pytest_flperf.wire.scored import scored_text

__all__ = ["ScoreTally"]

_SCORED_AT_ONCE: Final = 512
_CHARACTERS_SCORED_AT_ONCE: Final = 1 << 20


class ScoreTally:
    """Scores of one case, answer by answer."""

    def __init__(
        self,
        scorer: AnswerScorer | None,
        settings: Mapping[str, Any],
        prompt_of: Callable[[int], str] | None,
        rows: ExpectedOf | None,
    ) -> None:
        """Score nothing yet.

        Args:
            scorer: Scores the answers; None: nothing is expected of them.
            settings: Of the case, as planned.
            prompt_of: Names the prompt of a measured request; None: prompts can't be told apart.
            rows: Tells the row of a measured request; None: there are none.

        """
        self._scorer = scorer
        self._waiting: list[tuple[int, str | None]] = []
        self._characters = 0
        self._failed_before: list[int] = []
        self.values = Column()
        """Scores, in the order in which they were given."""
        self.prompts = PromptScores(prompt_of, rows, settings.get("expect"))
        most_turns = turns_of(settings)
        self._conversations = None if most_turns is None else ConversationTally(most_turns)
        self.calls = CallTally(self._conversations)

    @property
    def full(self) -> bool:
        """Whether enough answers wait to be scored."""
        return len(self._waiting) >= _SCORED_AT_ONCE or self._characters >= _CHARACTERS_SCORED_AT_ONCE

    def add(self, sample: Sample) -> None:
        """Keep an answer for scoring; of a conversation the whole, when it has ended."""
        if self._scorer is None:
            return
        if self._conversations is None:
            index, text = sample.index, scored_text(sample) if sample.ok else None
        else:
            ended = self._conversations.add(sample)
            if ended is None:
                return
            index, text = ended.index, ended.text
        self._waiting.append((index, text))
        self._characters += len(text or "")

    def take(self) -> None:
        """Score the answers that came since, all at once.

        Each message to the scoring process takes its time.
        """
        if self._scorer is None or not self._waiting:
            return
        answered = [(index, answer) for index, answer in self._waiting if answer is not None]
        scores = iter(self._scorer.scores([answer for _, answer in answered], [index for index, _ in answered]))
        if self._scorer.scores_case:
            for index in self._failed_before:
                self._count(index, 0.0, None)
            self._failed_before.clear()
        for index, answer in self._waiting:
            if answer is None and not self._scorer.scores_case:
                self._failed_before.append(index)  # until the hook takes an answer of the case
                continue
            score = 0.0 if answer is None else next(scores)
            if score is not None and not isinstance(score, NoResult):
                self._count(index, score, answer)
        self._waiting.clear()
        self._characters = 0

    def _count(self, index: int, score: float, answer: str | None) -> None:
        self.values.append(score)
        if answer is not None:
            self.calls.add(score)
        self.prompts.add(index, score, answer)
