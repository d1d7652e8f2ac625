"""Case scoring: scorers of a case's answers, within their time."""

from __future__ import annotations

from typing import Any

from pytest_flperf.measurement.case_run import Prepared
from pytest_flperf.measurement.own_scoring import own_scoring_of
from pytest_flperf.measurement.scoring_deadline import ScoringTime
from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.scorers.context import ScoreKey
from pytest_flperf.quality.scorers.hook_calls import Hook
from pytest_flperf.quality.scoring import AnswerScorer, Scoring

__all__ = ["CaseScoring"]


class CaseScoring:
    """Scorers of the case under way, and of its other side."""

    def __init__(self, hook: Hook | None) -> None:
        """``hook``: scores answers in place of what is expected of them; None: no one implements it."""
        self._hook = hook
        self._scoring = Scoring()
        self._remembered: dict[str, dict[ScoreKey, Any]] = {}
        self.time = ScoringTime(None)
        """Time that scoring may take."""

    @property
    def by_hook(self) -> bool:
        """Whether a hook scores answers."""
        return self._hook is not None

    def begin(self, stop_at: float | None) -> None:
        """Forget the scores of the last case; ``stop_at``: as of ``Bench.play``."""
        self._remembered.clear()
        self.time = ScoringTime(stop_at)

    def scorer(self, prepared: Prepared, *, in_turns: bool) -> AnswerScorer | None:
        """Scorer of a side's answers, until its time is over; those of turns are looked at twice."""
        prompts = prepared.plans.prompts
        remembered = self._remembered.setdefault(prepared.recording.nodeid, {}) if in_turns else None
        return self._scoring.of(
            prompts.expect,
            self.time,
            rows=prompts.rows if prompts.rows_expect else None,
            own=own_scoring_of(prepared, self._hook, remembered),
        )

    def shown_rows(self, prepared: Prepared) -> ExpectedOf | None:
        """Rows as results may show them.

        A hook may score answers of which nothing is expected.
        """
        prompts, recording = prepared.plans.prompts, prepared.recording
        rows = prompts.named_rows if self.by_hook else prompts.rows
        return None if rows is None else lambda index: recording.masked(rows(index))

    def close(self) -> None:
        """End the scoring process."""
        self._scoring.close()
