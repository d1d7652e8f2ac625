"""Judge mode: verdicts on answers whose truth is known, with a given bias."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_flperf.reference_server.checks import amount, check, count, label, overridden
from pytest_flperf.reference_server.truth import KnownAnswer

__all__ = ["JUDGE_DOWN", "JudgeBias", "judge_bias_of", "played_verdict"]

JUDGE_DOWN: Final = "The judge was told to fail"
"""Message of an error that a judge answers with."""
_FENCED: Final = re.compile(
    r"^(==[0-9a-f]{16}==) (question|answer A|answer B|answer) begins\n(.*?)\n\1 \2 ends$", re.DOTALL | re.MULTILINE
)
_POINTS: Final = re.compile(r"\[([1-5])\]")
_BEST: Final = 5
_WORST: Final = 1
_PASSES_FROM: Final = 4
_NONSENSE: Final = "What a lovely answer! Five stars."

_Truths: TypeAlias = Mapping[str, KnownAnswer]


@dataclass(frozen=True, slots=True)
class JudgeBias:
    """Bias of a judge; without any, it says the truth.

    An answer is worth N where it holds ``[N]``, 1 to 5; else 5 where it holds the known answer to its question, or
    else ``right``, and 1 where it doesn't.  All chances are of the judged texts, not of requests: the same judge says
    the same of the same texts again.
    """

    right: str = label("", 10_000)
    """Text of right answers to questions without a known answer; empty: none is right."""
    q1: float = amount(1.0, 0, 1)
    """Sensitivity: the chance that a good answer (4 or 5) passes; else it gets a 1."""
    q0: float = amount(1.0, 0, 1)
    """Specificity: the chance that a bad answer (3 or less) doesn't pass; else it gets a 5."""
    position_bias: float = amount(0.0, 0, 1)
    """The chance of a pair that whichever answer stands first is the better one, in both orders."""
    preference: float = amount(0.0, 0, 1)
    """The chance of a pair that the answer with ``preferred`` is the better one, where one of the two has it."""
    preferred: str = label("", 10_000)
    """Text that it likes, whatever it says."""
    flip_rate: float = amount(0.0, 0, 1)
    """The chance of an order of a pair that its verdict is turned round."""
    error_rate: float = amount(0.0, 0, 1)
    """The chance that there is an HTTP error in place of a verdict."""
    nonsense_rate: float = amount(0.0, 0, 1)
    """The chance that there is talk in place of a verdict."""
    seed: int | None = count(None, 0, 2**63)
    """None: each server draws its own when it starts."""

    def __post_init__(self) -> None:
        check(self, "judge")


def judge_bias_of(given: object) -> JudgeBias | None:
    """Bias of a configured judge: None, or an object; raises OptionError."""
    return given if given is None or isinstance(given, JudgeBias) else overridden(JudgeBias(), given, "judge")


def played_verdict(bias: JudgeBias, prompt: str, known: _Truths, own_seed: int) -> str | None:
    """Reply to a judge's prompt; empty: an error; None: it asks for no verdict.

    Args:
        bias: How the judge is wrong.
        prompt: The user's last message.
        known: Right answers by their question.
        own_seed: Of this server, where the bias has none.

    """
    parts = {name: text for _, name, text in _FENCED.findall(prompt)}
    shown = tuple(parts.get(name, "") for name in ("question", "answer", "answer A", "answer B"))
    if "answer" not in parts and not {"answer A", "answer B"} <= parts.keys():
        return None
    draws = _Draws(own_seed if bias.seed is None else bias.seed)
    if draws.hit("error", bias.error_rate, shown):
        return ""
    if draws.hit("nonsense", bias.nonsense_rate, shown):
        return _NONSENSE
    truth = known.get(_asked(parts.get("question", "")))
    if "answer" in parts:
        return _scored(bias, draws, shown, _worth(parts["answer"], truth, bias))
    return _compared(bias, draws, shown, truth)


def _scored(bias: JudgeBias, draws: _Draws, shown: tuple[str, ...], worth: int) -> str:
    good = worth >= _PASSES_FROM
    is_right = draws.hit("score", bias.q1 if good else bias.q0, shown)
    score = worth if is_right else _WORST if good else _BEST
    return json.dumps({"reason": f"worth {score}", "score": score})


def _compared(bias: JudgeBias, draws: _Draws, shown: tuple[str, ...], truth: KnownAnswer | None) -> str:
    question, _, first, second = shown
    pair = (question, *sorted((first, second)))
    worths = _worth(first, truth, bias), _worth(second, truth, bias)
    better = "A" if worths[0] > worths[1] else "B" if worths[1] > worths[0] else "tie"
    liked = [bool(bias.preferred) and bias.preferred in text for text in (first, second)]
    if liked[0] != liked[1] and draws.hit("preference", bias.preference, pair):
        better = "A" if liked[0] else "B"
    if draws.hit("position", bias.position_bias, pair):
        better = "A"
    elif draws.hit("flip", bias.flip_rate, shown):
        better = {"A": "B", "B": "A"}.get(better, "A")
    return json.dumps({"reason": f"{worths[0]} against {worths[1]}", "better": better})


def _worth(answer: str, truth: KnownAnswer | None, bias: JudgeBias) -> int:
    """What an answer is worth, 1 to 5."""
    if points := _POINTS.search(answer):
        return int(points[1])
    right = bias.right if truth is None or truth.text is None else truth.text.strip()
    return _BEST if right and right in answer else _WORST


def _asked(question: str) -> str:
    """The user's message of a question that may have a system message before it."""
    return question.rpartition("\n\n[user]\n")[2].removeprefix("[user]\n")


class _Draws:
    """Draws of a judge, each by what it is of."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def hit(self, what: str, chance: float, texts: tuple[str, ...]) -> bool:
        """Whether something of this chance happens to these texts."""
        if chance in (0, 1):
            return bool(chance)
        return random.Random(f"{self._seed}:{what}:{texts!r}").random() < chance  # noqa: S311
