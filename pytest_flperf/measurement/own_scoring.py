"""Context of own scorers, from the plans of a prepared case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_flperf.measurement.case_run import Prepared
from pytest_flperf.quality.scorers.context import OwnScoring, ScoreKey
from pytest_flperf.quality.scorers.hook_calls import Hook
from pytest_flperf.suite.errors import SuiteError

__all__ = ["own_scoring_of"]


def own_scoring_of(prepared: Prepared, hook: Hook | None, remembered: dict[ScoreKey, Any] | None) -> OwnScoring:
    """What own scorers need to know of a case.

    Args:
        prepared: The case.
        hook: Scores answers; None: no one implements it.
        remembered: Scores that are known of it, where it is measured in turns.

    """
    plans, scenario = prepared.plans, prepared.case.scenario
    written = plans.prompts.scored_prompt_of

    def messages_of(index: int) -> tuple[Mapping[str, str], ...]:
        try:
            found = None if written is None else written(index)
        except SuiteError:  # a template that fails on this row; it is said where the request was to be made
            found = None
        return () if found is None else tuple({"role": each.role, "content": each.content} for each in found.messages)

    return OwnScoring(
        scenario.name,
        prepared.case.model,
        "" if scenario.folder is None else str(scenario.folder),
        messages_of,
        plans.prompts.named_rows,
        hook,
        prepared.recording.masked_text,
        remembered,
    )
