"""Quality of a case in words: mean, interval, categories, checks."""

from __future__ import annotations

from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.report.figures import NOTHING
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.serialize import Interval

__all__ = ["interval_words", "mean_quality", "quality_lines", "quality_words", "share"]

_CATEGORIES: Final = 20
_NAME: Final = 60
_LEAST: Final = 1e-4


def share(value: float) -> str:
    """A score as a percentage, which is 100 % only where nothing is wrong, and 0 % only where all is."""
    if 0 < value < _LEAST:
        return "<0.01 %"
    text = f"{100 * value:.3g}"
    return ">99.9 %" if text == "100" and value < 1 else f"{text} %"


def interval_words(interval: Interval | None) -> str:
    """`` [81 %, 98 %]``, with a space before it; empty without an interval."""
    return "" if interval is None else f" [{share(interval[0])}, {share(interval[1])}]"


def mean_quality(case: CaseResult) -> str:
    """Quality of a case, mean over prompts with its interval: ``92 % [88 %, 95 %]``; ``–`` where nothing is scored."""
    found, quality = case.metrics.get("quality"), case.answer_quality
    if quality is not None:
        return share(quality.mean) + interval_words(quality.ci95)
    return NOTHING if found is None else share(found.mean)


def quality_words(quality: AnswerQuality) -> str:
    """One sentence: the mean over prompts with its interval, what failed, and pass rates."""
    parts = [f"{share(quality.mean)}{interval_words(quality.ci95)}"]
    if quality.prompts:
        parts[0] += f" over {quality.prompts} prompts"
        parts.append(f"{quality.perfect} of them right each time")
    else:
        parts[0] += f" over {quality.requests} requests"
    if quality.lower95 is not None:
        parts.append(f"at least {share(quality.lower95)} with 95 % confidence")
    if quality.failed:
        parts.append(f"{quality.failed} failed requests score 0, the answered ones {share(quality.answered)}")
    if quality.pass_at:
        k = len(quality.pass_at)
        parts.append(f"pass@{k} {share(quality.pass_at[-1])}, pass^{k} {share(quality.pass_all[-1])}")
    return "; ".join(parts)


def quality_lines(quality: AnswerQuality) -> list[str]:
    """The details of a case's quality, as ``-vv`` prints them."""
    lines = [f"quality: {quality_words(quality)}"]
    for each in quality.categories[:_CATEGORIES]:
        name = printable(each.category, _NAME) or "(no category)"
        lines.append(f"  {name}: {share(each.mean)}{interval_words(each.ci95)} over {each.prompts} prompts")
    more = max(len(quality.categories) - _CATEGORIES, 0) + quality.categories_left_out
    if more:
        lines.append(f"  … and {more} more categories")
    if quality.checks:
        checks = ", ".join(f"{printable(each.check, _NAME)} {share(each.mean)}" for each in quality.checks)
        lines.append(f"  by check: {checks}")
    return lines
