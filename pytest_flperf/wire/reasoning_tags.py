"""Reasoning tags in answers: ``<think>…</think>`` and similar.

Servers without a parser for the model's reasoning pass it on inside ``content``.  The tag at the beginning may be
missing: many chat templates end the prompt with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["TaggedText", "split_reasoning"]

_NAME: Final = r"(?:[a-z]\w{0,20}[:_])?(?:think|thinking|thoughts?|reasoning)"
_BEGIN: Final = re.compile(
    rf"<{_NAME}(?:\s[^<>]{{0,80}})?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<unused94>(?:thought\b)?|(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>",
    re.IGNORECASE,
)
_END: Final = re.compile(
    rf"</{_NAME}\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<unused95>"
    r"|<\|end\|>(?:<\|start\|>assistant)?(?:<\|channel\|>final<\|message\|>)?",
    re.IGNORECASE,
)
"""Of DeepSeek, Qwen and most others; Mistral; Kimi; OpenThinker; Cohere; MedGemma; gpt-oss."""
_BLANK: Final = re.compile(r"\s*")
_QUOTES: Final = "`'\"“‘«"
_FENCE: Final = "```"
_MOST: Final = 64
"""Stretches of reasoning in one answer."""


@dataclass(frozen=True, slots=True)
class TaggedText:
    """Text split into reasoning and answer."""

    answer: str
    reasoning: str
    answer_at: int | None
    """Where in the text the answer begins; None where it has none."""


def split_reasoning(text: str) -> TaggedText | None:
    """Split tagged reasoning from a text; None where there is none.

    Tags are no part of either, nor are blanks right behind the end of reasoning.  An answer may speak of tags: in
    quotes or in code they are none, and one that is never closed is none but at the beginning of the text, where it
    is reasoning to the end.  An end without a beginning ends reasoning that began with the text.
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
    """Spans of reasoning, with and without their tags.

    Each: where its tag begins, where its text does, where that ends, and where its tag does.
    """
    position = 0
    begin, lone = _found(_BEGIN, text, 0), _found(_END, text, 0)
    if lone is not None and (begin is None or lone.start() < begin.start()):
        position = lone.end()
        yield 0, 0, lone.start(), position
        begin = _found(_BEGIN, text, position)
    for _ in range(_MOST):
        if begin is None:
            return
        end = _end_of(text, begin.end())
        if end is None:
            if not text[position : begin.start()].strip() and (position or not text[: begin.start()].strip()):
                yield begin.start(), begin.end(), len(text), len(text)
            return
        position = end.end()
        yield begin.start(), begin.end(), end.start(), position
        begin = _found(_BEGIN, text, position)


def _end_of(text: str, position: int) -> re.Match[str] | None:
    """End tag of the reasoning that begins there.

    The first one, or a later one for each tag that was opened inside.
    """
    end = _END.search(text, position)
    for _ in range(_MOST):
        if end is None or _BEGIN.search(text, position, end.start()) is None:
            return end
        further = _END.search(text, end.end())
        if further is None:
            return end
        position, end = end.end(), further
    return end


def _found(tag: re.Pattern[str], text: str, position: int) -> re.Match[str] | None:
    """First real tag: neither quoted nor in a block of code."""
    for _ in range(_MOST):
        found = tag.search(text, position)
        if found is None:
            return None
        quoted = found.start() > 0 and text[found.start() - 1] in _QUOTES
        if not quoted and text.count(_FENCE, 0, found.start()) % 2 == 0:
            return found
        position = found.end()
    return None


def _blanks(text: str, position: int = 0) -> int:
    found = _BLANK.match(text, position)
    return found.end() - position if found is not None else 0
