"""Budgets on quality: its numbers over prompts, and words about them."""

from __future__ import annotations

from typing import Final

from pytest_flperf._text import shorten
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.failure_bounds import requests_needed

__all__ = [
    "OF_CATEGORIES",
    "category_of",
    "is_over_prompts",
    "missed_words",
    "quality_of",
    "why_unknown",
    "why_unknown_category",
]

OF_CATEGORIES: Final = ("mean", "lower95")
"""Statistics of quality that a category has as well."""
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


def category_of(case: Measured, statistic: str, category: str) -> tuple[float | None, int]:
    """A number of one category's quality, and how many prompts it is of."""
    found = None if case.answer_quality is None else case.answer_quality.category(category)
    if found is None:
        return None, 0
    return (found.mean if statistic == "mean" else found.lower95), found.prompts


def why_unknown_category(case: Measured, category: str) -> str:
    """Why a scored case has no such number of a category; empty where nothing is scored."""
    quality = case.answer_quality
    if quality is None or not quality.prompts:
        return why_unknown(case, "mean")
    if quality.category(category) is not None:
        return "results of an older version don't have it"
    if quality.categories_left_out:
        return f"only the {len(quality.categories)} largest categories are told"
    return f"no prompt of the case has the category {shorten(category)}"


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


def missed_words(case: Measured, statistic: str, limit: float, category: str | None = None) -> str:
    """What is behind a number of quality, or of one of its categories, that misses its budget."""
    quality = case.answer_quality
    if quality is None:
        return ""
    if category is not None:
        found = quality.category(category)
        return "" if found is None or statistic != "lower95" else "; ".join(_needed(found.prompts, limit))
    each_time = " each time" if quality.requests > quality.prompts else ""
    words = [f"{quality.perfect} of {quality.prompts} prompts are right{each_time}"] if quality.prompts else []
    if quality.failed:
        words.append(f"{quality.failed} of {quality.requests} requests failed and score 0")
    if statistic == "lower95":
        words += _needed(quality.prompts, limit)
    return "; ".join(words)


def _needed(prompts: int, limit: float) -> list[str]:
    needed = requests_needed(1 - limit)
    if needed is None or prompts >= needed:
        return []
    return [f"to prove the limit takes {needed} prompts of which all are"]
