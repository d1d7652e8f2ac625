"""Budgets on quality: its numbers over prompts, and words about them."""

from __future__ import annotations

from typing import Final

from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.failure_bounds import requests_needed

__all__ = ["is_over_prompts", "missed_words", "quality_of", "why_unknown"]

_OVER_PROMPTS: Final = ("mean", "lower95")


def is_over_prompts(statistic: str | None) -> bool:
    """Whether a statistic of quality is over prompts, not over requests."""
    return statistic is not None and (statistic in _OVER_PROMPTS or statistic.startswith("pass"))


def quality_of(case: Measured, statistic: str) -> tuple[float | None, int]:
    """A number of a case's quality over prompts, and how many prompts it is of.

    Results of an older version have a mean over requests alone.
    """
    quality = case.answer_quality
    if quality is None:
        found = case.metrics.get("quality")
        return (None, 0) if found is None or statistic != "mean" else (found.mean, found.n)
    return quality.statistic(statistic), quality.prompts or quality.requests


def why_unknown(case: Measured, statistic: str) -> str:
    """Why a scored case has no such number; empty where nothing is scored."""
    quality = case.answer_quality
    if quality is None:
        return "results of an older version don't have it" if "quality" in case.metrics else ""
    if not quality.prompts:
        return "prompts can't be told apart in chats, nor where there are more than 100,000"
    if statistic.startswith("pass"):
        times = "once" if quality.repeats == 1 else f"{quality.repeats} times"
        return f"a prompt was asked {times}, and it takes {statistic[5:]} answers to each (repeat; 20 count at most)"
    return "it is not known"


def missed_words(case: Measured, statistic: str, limit: float) -> str:
    """What is behind a number of quality that misses its budget."""
    quality = case.answer_quality
    if quality is None:
        return ""
    each_time = " each time" if quality.requests > quality.prompts else ""
    words = [f"{quality.perfect} of {quality.prompts} prompts are right{each_time}"] if quality.prompts else []
    if quality.failed:
        words.append(f"{quality.failed} of {quality.requests} requests failed and score 0")
    if statistic == "lower95":
        words += _needed(quality, limit)
    return "; ".join(words)


def _needed(quality: AnswerQuality, limit: float) -> list[str]:
    needed = requests_needed(1 - limit)
    if needed is None or quality.prompts >= needed:
        return []
    return [f"to prove the limit takes {needed} prompts of which all are"]
