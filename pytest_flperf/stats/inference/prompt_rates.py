"""Scores of two runs prompt by prompt: tool calls, categories of quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pytest_flperf.results.measured import PromptScore
from pytest_flperf.results.metrics import OF_CALLS
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.findings import MATCHED, ErrorRates, Finding, Threshold
from pytest_flperf.stats.inference.matched import judge_prompts
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE

__all__ = ["judge_prompt_scores"]

_RIGHT: Final = frozenset({"tool_right", "argument_right"})


def judge_prompt_scores(
    baseline: Measured,
    candidate: Measured,
    metric: str,
    category: str | None,
    threshold: Threshold,
    rates: ErrorRates,
) -> Finding:
    """Judge whether a mean over prompts differs between two runs.

    By the prompts that both runs asked, each of which is one piece of evidence, however often it was asked.  Other
    prompts say nothing here.

    Args:
        baseline: The stored run's side.
        candidate: The other one.
        metric: ``quality``, or one of tool calls.
        category: Only of prompts of this category; None: of all.
        threshold: What is allowed, in points.
        rates: How often the decision may be wrong.

    """
    theirs, mine = _Side.of(baseline, category), _Side.of(candidate, category)
    matched = []
    for prompt in sorted(theirs.prompts.keys() & mine.prompts.keys()):
        ours, other = mine.score(prompt, metric, theirs), theirs.score(prompt, metric, mine)
        if ours is not None and other is not None:
            matched.append(MatchedRequest(ours, other, prompt))
    if len(matched) < LEAST_EVIDENCE:
        return _undecided(
            f"both runs have {metric} of {len(matched)} prompts in common, and {LEAST_EVIDENCE} are needed; add "
            "prompts, or measure both sides in turn (--flperf-against)",
            len(matched),
        )
    finding = judge_prompts(matched, threshold, rates)
    return replace(finding, n_baseline=len(matched), n_candidate=len(matched))


@dataclass(frozen=True, slots=True)
class _Side:
    """The prompts of one run."""

    prompts: Mapping[str, PromptScore]
    knows_calls: bool
    """Whether its version tells calls by prompt; a prompt without them then had no answer."""

    @classmethod
    def of(cls, case: Measured, category: str | None) -> _Side:
        prompts = {each.prompt: each for each in case.prompt_scores if category in (None, each.category)}
        return cls(prompts, any(each.calls is not None for each in prompts.values()))

    def score(self, prompt: str, metric: str, other: _Side) -> float | None:
        """Mean of one prompt; None where it has none.

        A failed request has no right tool or argument where the other side shows that some were expected.  It is
        neither malformed nor abstained.
        """
        found = self.prompts[prompt]
        if metric not in OF_CALLS:
            return found.score
        value = _of_calls(found, metric)
        if metric not in _RIGHT:
            return value
        if value is not None and found.calls is not None:
            return value * found.calls.answers / found.n
        is_expected = found.calls is None and self.knows_calls and _of_calls(other.prompts[prompt], metric) is not None
        return 0.0 if is_expected else None


def _of_calls(prompt: PromptScore, metric: str) -> float | None:
    value = None if prompt.calls is None else getattr(prompt.calls, metric)
    return None if value is None else float(value)


def _undecided(reason: str, n: int) -> Finding:
    return Finding("undecided", None, None, None, None, None, None, n, n, None, MATCHED, reason)
