"""Token counts of an answer, merged from all usage data.

And what the counts say of the text that was seen.

Servers put ``usage`` into the first chunk, the last, all of them or inside ``choices[0]``, in parts, as floats, as
strings, or as zeros where they have no number.  Each field takes the best value that was said of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.wire.surrogates import repair_text

__all__ = ["TokenCounts", "Usage", "count_of", "timings_of"]

_COUNT_LIMIT: Final = 1_000_000_000
_NS_PER_MS: Final = 1e6
_DIGITS: Final = re.compile(r"[0-9]{1,10}(?:\.0{1,6})?", re.ASCII)
_PROMPT: Final = ("prompt_tokens", "input_tokens")
_OUTPUT: Final = ("completion_tokens", "output_tokens")
_PROMPT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")
_CACHED: Final = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_REASONING: Final = ("reasoning_tokens", "thinking_tokens", "thoughts_tokens", "thoughts_token_count")
_UNSEEN: Final = ("rejected_prediction_tokens", "audio_tokens")
"""Output tokens that are paid for and come as no text."""
_FEWEST_BYTES: Final = 2.0
"""Of a token, in the mean of a text of some length; a summary of what was thought has fewer for each token counted."""
_OLLAMA_MS: Final = {
    "prompt_ms": "prompt_eval_duration",
    "predicted_ms": "eval_duration",
    "load_ms": "load_duration",
    "total_ms": "total_duration",
}
"""llama.cpp's names, and two in their manner, of what Ollama says in ns."""


def count_of(value: Any) -> int | None:
    """Parse a token count; None for anything else.

    A whole number, also written as 30.0 or "30" (JSON of protobuf).
    """
    kind = type(value)
    if kind is str and _DIGITS.fullmatch(value) is not None:
        value, kind = float(value), float
    if kind is float and value.is_integer():
        value = int(value)
    elif kind is not int:
        return None
    return value if 0 <= value < _COUNT_LIMIT else None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts of an answer; None where unknown."""

    output_tokens: int | None
    prompt_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    tokens_source: str | None
    """Of ``output_tokens``: ``usage``, ``timings`` or ``chunks``."""
    prompt_tokens_source: str | None
    """``usage`` or ``timings``."""
    visible_tokens: int | None
    """Output tokens that the seen arrivals carry; None where that can't be told, or where the count contradicts the
    text."""
    reasoning_tokens_source: str | None = None
    """``usage`` or ``chunks``; None where ``reasoning_tokens`` is unknown."""


class Usage:
    """Usage data of one answer: ``usage`` objects and ``timings``."""

    __slots__ = ("_cached", "_output", "_prompt", "_reasoning", "_total", "_unseen", "timings")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._output: int | None = None
        self._total: int | None = None
        self._cached: int | None = None
        self._reasoning: int | None = None
        self._unseen = 0
        self.timings: dict[str, float] | None = None
        """The server's own numbers: llama.cpp's ``timings``, or Ollama's durations by the same names."""

    def take(self, usage: Any) -> None:
        """Merge a ``usage`` object.

        Counts grow while an answer does, so the largest is the last word on it; zeros stand for numbers that a server
        doesn't have.
        """
        if not isinstance(usage, dict):
            return
        prompt, output = _largest(usage, _PROMPT), _largest(usage, _OUTPUT)
        if not prompt and not output:
            return
        self._prompt = _larger(self._prompt, prompt)
        self._output = _larger(self._output, output)
        self._total = _larger(self._total, count_of(usage.get("total_tokens")))
        self._cached = _larger(self._cached, _detail(usage, _PROMPT_DETAILS, _CACHED))
        self._reasoning = _larger(self._reasoning, _detail(usage, _OUTPUT_DETAILS, _REASONING))
        self._unseen = max(self._unseen, sum(_detail(usage, _OUTPUT_DETAILS, (name,)) or 0 for name in _UNSEEN))

    def take_timings(self, timings: Any) -> None:
        """Merge llama.cpp's ``timings``."""
        if isinstance(timings, dict):
            numbers = {
                repair_text(str(name)[:64]): float(value)
                for name, value in list(timings.items())[:64]
                if type(value) in (int, float) and abs(value) < 1e15
            }
            self.timings = numbers or None

    def counts(
        self, *, chunks: int, words: int, answer_text: bool, reasoning_bytes: int, reasoning_chunks: int | None = None
    ) -> TokenCounts:
        """Compute the final token counts.

        Args:
            chunks: With text of any kind.
            words: Of all the text that came, at least.
            answer_text: Whether any of the text was no reasoning.
            reasoning_bytes: Of the reasoning that came as text.
            reasoning_chunks: Of these chunks, those with reasoning; None where they can't be told from the others.

        """
        output, source = self._told(chunks)
        reasoning = self._reasoning
        if not reasoning and reasoning_bytes:
            reasoning = None  # it came as text: a zero is no count of it
        if source == "usage" and output is not None:
            left_out = self._left_out(output, reasoning, answer_text=answer_text, as_text=reasoning_bytes > 0)
            output += left_out
            reasoning = reasoning if reasoning is not None else left_out or None
        hidden = 0 if source == "chunks" else self._hidden(reasoning, reasoning_bytes)
        visible = None if output is None or hidden is None or output < hidden else output - hidden
        if visible is not None and visible < words:
            visible = None  # there are no tokens of several words: the count is of something else
        reasoning_source = None if reasoning is None else "usage"
        agrees = source == "chunks" or visible is not None  # else the count is of something else than this text
        if reasoning is None and reasoning_chunks and output is not None and chunks and agrees:
            reasoning, reasoning_source = round(output * min(reasoning_chunks / chunks, 1)), "chunks"
        prompt, prompt_source = self._prompt_tokens()
        return TokenCounts(
            output, prompt, self._cached_tokens(), reasoning, source, prompt_source, visible, reasoning_source
        )

    def _told(self, chunks: int) -> tuple[int | None, str | None]:
        """Output tokens as reported, with their source.

        Where there is text, zero is no count.
        """
        timings = self.timings or {}
        if self._output or (self._output is not None and not chunks):
            return self._output, "usage"
        if timings.get("predicted_n", 0) > 0:
            return int(timings["predicted_n"]), "timings"
        return (chunks, "chunks") if chunks else (None, None)

    def _left_out(self, told: int, reasoning: int | None, *, answer_text: bool, as_text: bool) -> int:
        """Reasoning tokens that ``completion_tokens`` doesn't include.

        Known by ``total_tokens``, or because they are more.
        """
        if self._total is not None and self._prompt is not None:
            beyond = self._total - self._prompt - told
            agrees = as_text if reasoning is None else beyond >= reasoning if as_text else beyond == reasoning
            if beyond > 0 and beyond != self._cached and agrees:  # some leave what was cached out of the prompt
                return beyond
        if reasoning is not None and (reasoning > told or (reasoning == told and answer_text)):
            return reasoning
        return 0

    def _hidden(self, reasoning: int | None, reasoning_bytes: int) -> int | None:
        """Output tokens that were counted but not sent.

        None where a part of the reasoning was sent (a summary).
        """
        if not reasoning:
            return self._unseen
        if not reasoning_bytes:
            return reasoning + self._unseen
        return self._unseen if reasoning_bytes >= reasoning * _FEWEST_BYTES else None

    def _cached_tokens(self) -> int | None:
        cached = (self.timings or {}).get("cache_n", -1)
        return int(cached) if self._cached is None and cached >= 0 else self._cached

    def _prompt_tokens(self) -> tuple[int | None, str | None]:
        timings = self.timings or {}
        if self._prompt:
            return self._prompt, "usage"
        if timings.get("predicted_n", 0) > 0 and timings.get("prompt_n", -1) >= 0:
            return int(timings["prompt_n"]), "timings"
        return None, None


def _largest(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """Largest count under a list of names.

    Gateways fill names that they don't know with zeros.
    """
    return max((count for name in names if (count := count_of(usage.get(name))) is not None), default=None)


def _detail(usage: Mapping[str, Any], groups: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    found = [_largest(details, names) for group in groups if isinstance(details := usage.get(group), dict)]
    found.append(_largest(usage, names))
    return max((count for count in found if count is not None), default=None)


def _larger(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def timings_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Ollama's durations and counts, in llama.cpp's form."""
    told = {name: value / _NS_PER_MS for name, key in _OLLAMA_MS.items() if (value := _duration(document.get(key)))}
    output, prompt = _ollama_count(document, "eval_count"), _ollama_count(document, "prompt_eval_count")
    if output is not None:
        told["predicted_n"] = output
    if prompt is not None:
        # Later versions count what came from the cache with the prompt, and their duration is of the rest.
        cached = _ollama_count(document, "prompt_eval_cached_count")
        told["prompt_n"] = max(0, prompt - (cached or 0))
        if cached is not None:
            told["cache_n"] = cached
    return told


def _ollama_count(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    return count_of(value) if type(value) is int else None


def _duration(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1e15 else None
