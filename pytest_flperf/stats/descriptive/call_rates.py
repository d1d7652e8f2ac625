"""Tool calls of a case: how many answers called, abstained or were malformed."""

from __future__ import annotations

from collections import Counter

from pytest_flperf.quality.scoring import PartedScore
from pytest_flperf.quality.tools.understood import CallOutcome
from pytest_flperf.results.measured import ToolCallCounts
from pytest_flperf.stats.descriptive.conversations import ConversationTally

__all__ = ["CallTally"]


class CallTally:
    """Outcomes of the scored answers of a case."""

    def __init__(self, conversations: ConversationTally | None = None) -> None:
        """``conversations``: of the case, told how they were scored; None: its answers are single ones."""
        self._conversations = conversations
        self._outcomes: Counter[CallOutcome] = Counter()
        self._as_json = self._expecting = 0
        self._tool = self._arguments = 0.0

    def add(self, score: float) -> None:
        """Take in an answer's score; one without expected calls changes nothing."""
        calls = score.calls if isinstance(score, PartedScore) else None
        if calls is None:
            return
        if self._conversations is not None and calls.turns is not None:
            self._conversations.scored(calls.turns, malformed=calls.outcome is CallOutcome.MALFORMED)
        self._outcomes[calls.outcome] += 1
        self._as_json += calls.as_json
        self._tool += calls.tool
        if calls.arguments is not None:
            self._expecting += 1
            self._arguments += calls.arguments

    def result(self) -> ToolCallCounts | None:
        """The counts; None where no calls were expected or unwanted."""
        answers = self._outcomes.total()
        if not answers:
            return None
        return ToolCallCounts(
            answers=answers,
            called=self._outcomes[CallOutcome.CALLED],
            abstained=self._outcomes[CallOutcome.ABSTAINED],
            malformed=self._outcomes[CallOutcome.MALFORMED],
            json_as_text=self._as_json,
            expecting=self._expecting,
            tool_right=min(self._tool / answers, 1.0),
            argument_right=min(self._arguments / self._expecting, 1.0) if self._expecting else None,
            conversations=None if self._conversations is None else self._conversations.result(),
        )
