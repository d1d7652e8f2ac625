"""Judge verdicts: strict parsing of what a judge replied.

A reply is one JSON object, alone or in one fenced block; anything else is an error of the judge's, never a verdict.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pytest_flperf._text import encodable
from pytest_flperf.quality.strict_json import refuse_constant

__all__ = ["HIGHEST", "LOWEST", "Better", "Grade", "JudgeError", "Preference", "Scored", "grade_of", "parse_preference",
           "parse_score"]  # fmt: skip

Grade: TypeAlias = Literal["pass", "marginal", "fail"]
Better: TypeAlias = Literal["A", "B", "tie"]

LOWEST: Final = 1
HIGHEST: Final = 5
_PASSES_FROM: Final = 4
_MARGINAL_FROM: Final = 3
_LONGEST_REPLY: Final = 100_000
_REASON_CHARACTERS: Final = 1_000
_SHOWN: Final = 80
_BLOCK: Final = re.compile(r"\A```(?:json)?[ \t]*\n(?P<inside>.*)\n```\Z", re.DOTALL)
_BETTER: Final[dict[str, Better]] = {"a": "A", "b": "B", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class Scored:
    """Score of one answer."""

    score: int
    """1 to 5."""
    reason: str

    @property
    def grade(self) -> Grade:
        """``pass`` from 4 on, ``marginal`` for 3, else ``fail``."""
        return grade_of(self.score)


@dataclass(frozen=True, slots=True)
class Preference:
    """Preference between two answers, in the order in which they were shown."""

    better: Better
    reason: str


@dataclass(frozen=True, slots=True)
class JudgeError:
    """Failure of the judge itself, which says nothing of an answer."""

    reason: str
    """What was found, and what was expected."""


def grade_of(score: float) -> Grade:
    """Grade of a score: ``pass`` from 4 on, ``marginal`` from 3 on, else ``fail``."""
    return "pass" if score >= _PASSES_FROM else "marginal" if score >= _MARGINAL_FROM else "fail"


def parse_score(reply: str) -> Scored | JudgeError:
    """Parse the reply to a rubric prompt."""
    found = _object(reply, "score")
    if isinstance(found, JudgeError):
        return found
    score = found["score"]
    if type(score) is float and score.is_integer():
        score = int(score)
    if type(score) is not int or not LOWEST <= score <= HIGHEST:
        return JudgeError(f"found the score {_shown(score)}, expected a whole number from {LOWEST} to {HIGHEST}")
    return Scored(score, found["reason"])


def parse_preference(reply: str) -> Preference | JudgeError:
    """Parse the reply to a pairwise prompt."""
    found = _object(reply, "better")
    if isinstance(found, JudgeError):
        return found
    word = found["better"]
    better = _BETTER.get(word.strip().lower()) if isinstance(word, str) else None
    if better is None:
        return JudgeError(f"found {_shown(word)} as the better answer, expected A, B or tie")
    return Preference(better, found["reason"])


def _object(reply: str, key: str) -> dict[str, Any] | JudgeError:
    """The object of a reply, with the key and a reason of bounded length."""
    text = reply.strip()
    if not text:
        return JudgeError("found an empty reply, expected a JSON object")
    if len(text) > _LONGEST_REPLY:
        return JudgeError(f"found a reply of {len(text)} characters, expected a short JSON object")
    block = _BLOCK.match(text)
    try:
        value = json.loads(
            block["inside"] if block else text, object_pairs_hook=_unique, parse_constant=refuse_constant
        )
    except (ValueError, RecursionError):
        return JudgeError(f"found {_shown(text)}, expected one JSON object and nothing else")
    if not isinstance(value, dict):
        return JudgeError(f"found {_shown(value)}, expected a JSON object")
    if key not in value:
        return JudgeError(f"found an object without {key!r}, expected one with {key!r} and 'reason'")
    reason = value.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        return JudgeError("found no reason, expected a string as 'reason'")
    return {key: value[key], "reason": encodable(reason.strip()[:_REASON_CHARACTERS])}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once: two scores are none."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return ascii(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
