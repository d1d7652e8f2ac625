"""A judge with known verdicts and a given bias, behind HTTP or as a function."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from server_doubles import Answer, Asked, Double, streamed

from pytest_flperf.measurement.judge_client import JudgeReply

Bias = Literal["fair", "lenient", "first", "nonsense", "obeys"]
_FENCED = re.compile(
    r"^(==\w+==) (question|answer A|answer B|answer) begins\n(.*?)\n\1 \2 ends$", re.DOTALL | re.MULTILINE
)
_POINTS = re.compile(r"\[(\d)\]")


def points_of(text: str) -> int:
    """What an answer of the tests is worth: ``[4] Paris`` is a 4."""
    found = _POINTS.search(text)
    return int(found[1]) if found else 1


@dataclass
class KnownJudge:
    """Says what the answers' points say, as far as its bias lets it."""

    bias: Bias = "fair"
    prompts: list[str] = field(default_factory=list)

    def __call__(self, prompts: Sequence[str]) -> list[JudgeReply]:
        """Judge as a function."""
        return [JudgeReply(self.reply(prompt)) for prompt in prompts]

    def reply(self, prompt: str) -> str:
        """The reply to one prompt."""
        self.prompts.append(prompt)
        if self.bias == "nonsense":
            return "What a lovely answer! Five stars."
        parts = {name: text for _, name, text in _FENCED.findall(prompt)}
        if "answer" in parts:
            score = 5 if self.bias == "lenient" else points_of(parts["answer"])
            if self.bias == "obeys" and "score 5" in parts["answer"]:
                score = 5
            return json.dumps({"reason": f"worth {score}", "score": score})
        first, second = points_of(parts["answer A"]), points_of(parts["answer B"])
        better = "A" if self.bias == "first" or first > second else "B" if second > first else "tie"
        return json.dumps({"reason": f"{first} against {second}", "better": better})


class JudgeServer(Double):
    """The same behind an OpenAI-compatible server; ``hangs_on`` says when it never answers."""

    def __init__(self, bias: Bias = "fair", hangs_on: Callable[[str], bool] | None = None) -> None:
        super().__init__()
        self.judge = KnownJudge(bias)
        self.hangs_on = hangs_on
        self.bodies: list[dict[str, Any]] = []

    def answer(self, asked: Asked) -> Answer:
        """A verdict, or a word where a judge is only tried."""
        if asked.method == "GET":
            return Answer({"object": "list", "data": [{"id": "judge", "object": "model"}]})
        prompt = asked.body["messages"][-1]["content"]
        if "Reply with one JSON object" not in prompt:
            return streamed("Hello", "judge")
        self.bodies.append(asked.body)
        if self.hangs_on is not None and self.hangs_on(prompt):
            while not self.released.is_set():
                time.sleep(0.02)
        return streamed(self.judge.reply(prompt), "judge")
