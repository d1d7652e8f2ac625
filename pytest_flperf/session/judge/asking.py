"""Asking a judge once per distinct prompt, and reading its replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pytest_flperf.errors import FlperfError
from pytest_flperf.measurement.judge_client import AskJudge
from pytest_flperf.quality.judge_verdicts import JudgeError

__all__ = ["HEAD_CHARACTERS", "TooManyError", "asked", "bounded", "errors_of"]

Verdict = TypeVar("Verdict")
HEAD_CHARACTERS: Final = 300
"""Of a question, an answer or a reason that is kept for people."""
_REASONS: Final = 20
_OTHER: Final = "other reasons"


class TooManyError(FlperfError):
    """More requests to the judge than are allowed."""


def asked(
    prompts: Sequence[str], ask: AskJudge, parse: Callable[[str], Verdict | JudgeError], most: int
) -> list[Verdict | JudgeError]:
    """A verdict or an error for each prompt, in order; the same prompt is asked once.

    Raises TooManyError, before anything is asked, where there are more than ``most`` of them.
    """
    distinct = list(dict.fromkeys(prompts))
    if len(distinct) > most:
        raise TooManyError(
            f"found {len(distinct):,} requests to the judge, expected {most:,} at most; --max-requests={len(distinct)} "
            "(max_requests of a suite's judge) allows them"
        )
    replies = ask(distinct)
    verdicts: list[Verdict | JudgeError] = [
        JudgeError(reply.error) if reply.error else parse(reply.text) for reply in replies
    ]
    by_prompt = dict(zip(distinct, verdicts, strict=True))
    return [by_prompt[prompt] for prompt in prompts]


def errors_of(verdicts: Sequence[Any]) -> dict[str, int]:
    """Errors of the judge by reason, most frequent first; rare kinds beyond twenty are summed up."""
    counts = Counter(bounded(each.reason) for each in verdicts if isinstance(each, JudgeError))
    found = dict(counts.most_common(_REASONS))
    left = counts.total() - sum(found.values())
    return found | ({_OTHER: left} if left else {})


def bounded(text: str) -> str:
    """The head of a text, for people."""
    return text if len(text) <= HEAD_CHARACTERS else f"{text[:HEAD_CHARACTERS]}…"
