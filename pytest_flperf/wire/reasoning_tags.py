"""Reasoning that a model writes into its answer, in tags: ``<think>…</think>`` and its relatives.

Servers without a parser for the model's reasoning pass it on inside ``content``.  The tag at the beginning may be
missing: many chat templates end the prompt with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["TaggedText", "split_reasoning"]

_NAMES: Final = "think|thinking|thought|reasoning"
_PAIRS: Final = {"[THINK]": "[/THINK]", "◁think▷": "◁/think▷"}
"""Of Mistral's and Kimi's models."""
_BEGIN: Final = re.compile(rf"<({_NAMES})>|\[THINK\]|◁think▷")
_END: Final = rf"(?:</(?:{_NAMES})>|\[/THINK\]|◁/think▷)"
_LONE_END: Final = re.compile(rf"(?:\A|(?<=\n)){_END}|{_END}(?=[ \t]*(?:\n|\Z))")
_BLANK: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class TaggedText:
    """A text taken apart."""

    answer: str
    reasoning: str
    answer_at: int | None
    """Where in the text the answer begins; None where it has none."""


def split_reasoning(text: str) -> TaggedText | None:
    """Take reasoning in tags out of a text; None where there is none.

    Tags are no part of either, nor are blanks right behind the end of reasoning.  Reasoning that never ends is
    reasoning to the end of the text.  An end without a beginning counts where a line begins or ends with it: an answer
    may speak of the tag.
    """
    spans = list(_spans(text))
    if not spans:
        return None
    answer: list[str] = []
    reasoning: list[str] = []
    answer_at: int | None = None
    position = 0
    for begin, inside, end, behind in (*spans, (len(text), len(text), len(text), len(text))):
        part = text[position:begin]
        if part.strip():
            answer.append(part)
            if answer_at is None:
                answer_at = position + _blanks(part)
        reasoning.append(text[inside:end])
        position = behind + _blanks(text, behind)
    return TaggedText("".join(answer), "".join(reasoning), answer_at)


def _spans(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Each stretch of reasoning: where its tag begins, where its text does, where that ends, and where its tag does."""
    begin = _BEGIN.search(text)
    lone = _LONE_END.search(text)
    position = 0
    if lone is not None and (begin is None or lone.start() < begin.start()):
        position = lone.end()
        yield 0, 0, lone.start(), position
        begin = _BEGIN.search(text, position)
    while begin is not None:
        closing = _PAIRS.get(begin[0], f"</{begin[1]}>")
        end = text.find(closing, begin.end())
        if end < 0:
            yield begin.start(), begin.end(), len(text), len(text)
            return
        position = end + len(closing)
        yield begin.start(), begin.end(), end, position
        begin = _BEGIN.search(text, position)


def _blanks(text: str, position: int = 0) -> int:
    found = _BLANK.match(text, position)
    return found.end() - position if found is not None else 0
