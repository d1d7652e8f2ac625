"""Quality of a case in words: mean, interval, categories, checks, answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.report.figures import NOTHING
from pytest_flperf.results.answer_quality import AnswerQuality, ScoredAnswer
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.serialize import Interval

__all__ = ["mean_quality", "quality_lines", "quality_words", "share", "share_and_interval"]

_CATEGORIES: Final = 20
_NAME: Final = 60
_LEAST: Final = 1e-4
_NEAR: Final = 5e-4
"""From 0 or from 1, where one decimal would show that."""
_ANSWERS: Final = 5
"""Answers that did not score 1 that are told."""
_TEXT: Final = 120


def share(value: float) -> str:
    """A score as a percentage, which is 100 % only where nothing is wrong, and 0 % only where all is."""
    if 0 < value < _LEAST:
        return "<0.01 %"
    text = f"{100 * value:.3g}"
    return ">99.9 %" if text == "100" and value < 1 else f"{text} %"


def share_and_interval(value: float, interval: Interval | None) -> tuple[str, str]:
    """A score and its interval with as many decimals: ``71.4 %``, ``[29.0 %, 96.3 %]``; empty without an interval."""
    if interval is None:
        return share(value), ""
    texts = [share(each) for each in (value, *interval)]
    if any("." in text for text in texts):
        texts = [
            text if _is_near(each) else f"{100 * each:.1f} %"
            for each, text in zip((value, *interval), texts, strict=True)
        ]
    return texts[0], f"[{texts[1]}, {texts[2]}]"


def _is_near(value: float) -> bool:
    """Whether a score is 0 % or 100 %, or one decimal would show it as that: then its decimals tell which."""
    return value < _NEAR or value > 1 - _NEAR


def _with_interval(value: float, interval: Interval | None) -> str:
    return " ".join(filter(None, share_and_interval(value, interval)))


def mean_quality(case: CaseResult) -> str:
    """Quality of a case, mean over prompts with its interval: ``92 % [88 %, 95 %]``; ``–`` where nothing is scored."""
    found, quality = case.metrics.get("quality"), case.answer_quality
    if quality is not None:
        return _with_interval(quality.mean, quality.ci95)
    return NOTHING if found is None else share(found.mean)


def quality_words(quality: AnswerQuality) -> str:
    """One sentence: the mean over prompts with its interval, what failed, and pass rates."""
    parts = [_with_interval(quality.mean, quality.ci95)]
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
        lines.append(f"  {name}: {_with_interval(each.mean, each.ci95)} over {each.prompts} prompts")
    more = max(len(quality.categories) - _CATEGORIES, 0) + quality.categories_left_out
    if more:
        lines.append(f"  … and {more} more categories")
    if quality.checks:
        checks = ", ".join(f"{printable(each.check, _NAME)} {share(each.mean)}" for each in quality.checks)
        lines.append(f"  by check: {checks}")
    return [*lines, *_answer_lines(quality.answers)]


def _answer_lines(answers: Sequence[ScoredAnswer]) -> list[str]:
    """A few answers that did not score 1, each beside what was expected."""
    if not answers:
        return []
    lines = ["  answers that did not score 1, some of them:"]
    for each in answers[:_ANSWERS]:
        name = f"{printable(each.id, _NAME)}: " if each.id else ""
        reason = f" ({printable(each.reason, _TEXT)})" if each.reason else ""
        answer = printable(" ".join(each.answer.split()), _TEXT) or "(no text)"
        lines.append(f"    {name}{share(each.score)}{reason}: {answer}")
        lines.append(f"      expected {printable(each.expected, _TEXT)}")
    return lines
