"""Matched pairs: requests of the same prompt on both sides, and repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

__all__ = ["DECODING", "MatchedRequest", "averaged_by_prompt", "counted_once", "is_deterministic"]

DECODING: Final = ("temperature", "top_k", "seed", "extra")
"""Settings by which a server's answers vary or don't."""


@dataclass(frozen=True, slots=True)
class MatchedRequest:
    """Matched requests: one of each side, with the same prompt.

    Both are in the same pair of turns.
    """

    candidate: float
    """The score of the answer, 0 to 1; of failures 1 where the request failed."""
    baseline: float
    prompt: str = ""
    """Tells prompts apart."""
    answers: frozenset[str] = frozenset()
    """The two answers, whichever side gave which, where a repeat of them would be no new evidence; else empty."""

    @property
    def difference(self) -> float:
        """Candidate − baseline."""
        return self.candidate - self.baseline


def counted_once(turns: Sequence[Sequence[MatchedRequest]]) -> tuple[tuple[MatchedRequest, ...], ...]:
    """Requests that count as evidence, turn by turn.

    A prompt whose repeats are all alike counts once.

    Greedy decoding gives the same answer again, so sixty repeats of it tell no more than one.  Where the answers to a
    prompt differ, each of its requests counts.  Swapping the labels of a pair of turns doesn't change what is left, so
    the law of the drawn orders holds for it.
    """
    found: dict[str, set[frozenset[str]]] = {}
    for each in _repeatable(turns):
        found.setdefault(each.prompt, set()).add(each.answers)
    alike = {prompt for prompt, answers in found.items() if len(answers) == 1}
    seen: set[str] = set()
    kept = []
    for turn in turns:
        left = []
        for each in turn:
            if each.answers and each.prompt in alike:
                if each.prompt in seen:
                    continue
                seen.add(each.prompt)
            left.append(each)
        kept.append(tuple(left))
    return tuple(kept)


def averaged_by_prompt(
    turns: Sequence[Sequence[MatchedRequest]], kept: Sequence[Sequence[MatchedRequest]]
) -> tuple[MatchedRequest, ...]:
    """A mean request of each prompt, where those that are kept would weigh prompts unevenly; else empty.

    Prompts that are always answered alike are kept once.  If another one were kept each time that it was asked, one
    wrong answer in six would be six requests in which to lose, beside prompts that are one: a server that errs now and
    then would seem to lose several times what it does.

    Args:
        turns: All requests.
        kept: Those that :func:`counted_once` leaves.

    """
    asked, left = _by_prompt(turns), _by_prompt(kept)
    counts_once = any(len(left[prompt]) < len(some) for prompt, some in asked.items())
    counts_often = any(len(some) > 1 for some in left.values())
    if not (counts_once and counts_often):
        return ()
    return tuple(
        MatchedRequest(fmean(each.candidate for each in some), fmean(each.baseline for each in some), prompt)
        for prompt, some in asked.items()
    )


def _by_prompt(turns: Iterable[Iterable[MatchedRequest]]) -> dict[str, list[MatchedRequest]]:
    found: dict[str, list[MatchedRequest]] = {}
    for turn in turns:
        for each in turn:
            found.setdefault(each.prompt, []).append(each)
    return found


def _repeatable(turns: Iterable[Iterable[MatchedRequest]]) -> Iterable[MatchedRequest]:
    return (each for turn in turns for each in turn if each.answers)


def is_deterministic(settings: Mapping[str, Any]) -> bool:
    """Whether a server answers the same request alike each time.

    It does with greedy decoding, or with a seed.

    Args:
        settings: What the requests ask for, as in :attr:`CaseResult.settings`.

    """
    asked = {**settings, **dict(settings.get("extra") or {})}
    return asked.get("temperature") == 0 or asked.get("top_k") == 1 or asked.get("seed") is not None
