"""What the JSON of an answer says: text, reason, usage.  Forgiving in form, strict in what it counts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from jiter import from_json

from pytest_flperf.wire.errors import ServerError, find_error
from pytest_flperf.wire.finish import Finish

__all__ = ["Answer", "load_json", "repair_text"]

_TEXT_LIMIT: Final = 262_144
_COUNT_LIMIT: Final = 1_000_000_000
_NAME_LIMIT: Final = 512
_NS_PER_MS: Final = 1e6
_OLLAMA_MS: Final = {
    "prompt_ms": "prompt_eval_duration",
    "predicted_ms": "eval_duration",
    "load_ms": "load_duration",
    "total_ms": "total_duration",
}
"""llama.cpp's names, and two in their manner, of what Ollama says in ns."""


def load_json(data: bytes) -> Any:
    """Parse JSON from a server; raises ValueError for whatever is wrong with it."""
    try:
        return from_json(data)
    except ValueError:
        pass  # it refuses what json takes: half surrogates (split over two chunks), a BOM, more than 200 levels
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error)[:200]) from error


def repair_text(text: str) -> str:
    """Join surrogate pairs that were split over chunks and replace lone halves: no file could hold them."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text_of(value: Any) -> str:
    """Text of a content field: a string, or a list of parts with ``text``."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        parts = (part.get("text") for part in value if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _COUNT_LIMIT else None


def _tool_text(calls: Any) -> str:
    """The text of tool-call deltas: names and arguments."""
    if not isinstance(calls, list):
        return ""
    texts: list[str] = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            texts += [text for name in ("name", "arguments") if isinstance(text := function.get(name), str)]
    return "".join(texts)


@dataclass(slots=True)
class Answer:
    """What has been read of an answer so far."""

    output: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: bool = False
    finish: Finish = field(default_factory=Finish)
    error: ServerError | None = None
    """The first error that the server sent, if any."""
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens_source: str | None = None
    timings: dict[str, float] | None = None
    model: str | None = None
    choices_seen: bool = False
    successful: bool = False
    """Foundry Local before 1.0 sends this in every chunk of a stream, and no ``finish_reason`` at its end."""
    _from_deltas: bool = False
    _length: int = 0
    _model_sent: str | None = None

    def take(self, document: Any) -> tuple[bool, bool]:
        """Take a chunk or a whole answer; says whether it held text of any kind, and whether it held answer text."""
        if not isinstance(document, dict):
            self.fail(find_error(document))
            return False, False
        choices = document.get("choices")
        if (not choices or "error" in document) and self.error is None:
            self.fail(find_error(document))
        # One document per token: what nearly all of them lack, or say again, costs no call.
        model = document.get("model")
        if model != self._model_sent and isinstance(model, str) and model:
            self._model_sent, self.model = model, repair_text(model[:_NAME_LIMIT])
        if (usage := document.get("usage")) is not None:
            self._take_usage(usage)
        if (timings := document.get("timings")) is not None:
            self._take_timings(timings)
        elif "eval_duration" in document:
            self._take_timings(_of_ollama(document))
        if "Successful" in document:
            self.successful = document["Successful"] is True
        any_text = answer_text = False
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.choices_seen = True
                part = choice.get("delta")
                # A piece of text and nothing else is what nearly all chunks hold; the general way takes twice as long.
                if (
                    type(part) is dict
                    and len(part) == 1
                    and choice.get("finish_reason") is None
                    and "error" not in choice
                ):
                    content = part.get("content")
                    if type(content) is str and content:
                        self._keep(self.output, content)
                        any_text = answer_text = self._from_deltas = True
                        if self.finish.reason is not None:
                            self.finish.text_came()
                        continue
                text, answer = self._take_choice(choice)
                any_text |= text
                answer_text |= answer
        return any_text, answer_text

    def fail(self, error: ServerError | None) -> None:
        """Note an error; the first is kept: what follows it mostly follows from it."""
        if self.error is None:
            self.error = error

    def _take_choice(self, choice: dict[str, Any]) -> tuple[bool, bool]:
        if "error" in choice:
            self.fail(find_error({"error": choice["error"]}))
        # Foundry Local before 1.0 sends both, with the same text, and tool calls in a message alone.  After deltas
        # with text, a message's text could only be all of it once more.
        part = choice.get("delta")
        streamed = isinstance(part, dict) and bool(part)
        if not streamed:
            part = choice.get("message")
            if self._from_deltas and isinstance(part, dict):
                part = {"tool_calls": part.get("tool_calls")}
        if not isinstance(part, dict):
            text = choice.get("text")
            part = {"content": text} if isinstance(text, str) else {}
        content = _text_of(part.get("content"))
        reasoning = _text_of(part.get("reasoning_content")) or _text_of(part.get("reasoning"))
        tools = _tool_text(part.get("tool_calls"))
        self._keep(self.output, content)
        self._keep(self.reasoning, reasoning)
        self.tool_calls |= bool(tools)
        self._from_deltas |= streamed and bool(content or reasoning or tools)
        if content or tools:
            self.finish.text_came()
        self.finish.say(choice.get("finish_reason"))
        return bool(content or reasoning or tools), bool(content)

    def _keep(self, where: list[str], text: str) -> None:
        if text and self._length < _TEXT_LIMIT:
            kept = text[: _TEXT_LIMIT - self._length]
            self._length += len(kept)
            where.append(kept)

    def _take_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        output, prompt = _count(usage.get("completion_tokens")), _count(usage.get("prompt_tokens"))
        if not output and not prompt:
            return  # some servers send zeros in place of numbers that they don't have
        self.output_tokens, self.prompt_tokens, self.tokens_source = output, prompt, "usage"
        for name, target, key in (
            ("prompt_tokens_details", "cached_tokens", "cached_tokens"),
            ("completion_tokens_details", "reasoning_tokens", "reasoning_tokens"),
        ):
            details = usage.get(name)
            if isinstance(details, dict) and (value := _count(details.get(key))) is not None:
                setattr(self, target, value)

    def _take_timings(self, timings: Any) -> None:
        if isinstance(timings, dict):
            numbers = {
                str(name)[:64]: float(value)
                for name, value in list(timings.items())[:64]
                if type(value) in (int, float) and abs(value) < 1e15
            }
            self.timings = numbers or None

    def count_tokens(self, content_chunks: int) -> None:
        """Where ``usage`` gave no count: the server's ``timings``, else the number of chunks with text."""
        timings = self.timings or {}
        if self.tokens_source is None and timings.get("predicted_n", 0) > 0:
            self.output_tokens, self.tokens_source = int(timings["predicted_n"]), "timings"
            self.prompt_tokens = int(timings["prompt_n"]) if timings.get("prompt_n", -1) >= 0 else None
        if self.cached_tokens is None and timings.get("cache_n", -1) >= 0:
            self.cached_tokens = int(timings["cache_n"])
        if self.output_tokens is None and content_chunks:
            self.output_tokens = content_chunks
            self.tokens_source = self.tokens_source or "chunks"


def _of_ollama(document: dict[str, Any]) -> dict[str, float]:
    """Ollama's durations and counts as llama.cpp would say them."""
    told = {name: value / _NS_PER_MS for name, key in _OLLAMA_MS.items() if (value := _duration(document.get(key)))}
    output, prompt = _count(document.get("eval_count")), _count(document.get("prompt_eval_count"))
    if output is not None:
        told["predicted_n"] = output
    if prompt is not None:
        # Later versions count what came from the cache with the prompt, and their duration is of the rest.
        cached = _count(document.get("prompt_eval_cached_count"))
        told["prompt_n"] = max(0, prompt - (cached or 0))
        if cached is not None:
            told["cache_n"] = cached
    return told


def _duration(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1e15 else None
