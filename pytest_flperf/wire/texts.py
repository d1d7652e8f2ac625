"""Text of a delta or message, wherever a server puts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Texts", "texts_of", "tools_of", "unknown_text"]

_DEEPEST: Final = 8
_REASONING: Final = (
    "reasoning_content", "reasoning", "thinking", "reasoning_text", "thought", "thoughts", "reasoning_details",
    "thinking_blocks",
)  # fmt: skip
"""Fields of reasoning; servers that fill two of them say the same in both, so the first with text counts."""
_THOUGHT: Final = (
    "thinking", "reasoning", "thought", "redacted_thinking", "reasoning_text", "reasoning_content", "summary_text",
)  # fmt: skip
"""Types of parts that are reasoning."""
_TEXT_KEYS: Final = ("text", "content", "output_text", "refusal", "value", "parts")
_REASONING_KEYS: Final = (
    "text", "thinking", "reasoning", "summary", "content", "reasoning_content", "reasoningText", "reasoning_text",
)  # fmt: skip
_READ: Final = frozenset({*_REASONING, "content", "text", "refusal", "audio", "tool_calls", "function_call"})
_NO_TEXT: Final = frozenset(
    {
        "role", "name", "id", "type", "index", "finish_reason", "tool_call_id", "model", "object", "status", "phase",
        "channel", "recipient", "signature", "reasoning_signature", "thinking_signature", "reasoning_opaque",
        "stop_reason", "logprobs", "annotations", "token_ids", "provider_specific_fields", "extra_content",
        "encrypted_content", "reasoning_id", "citations", "search_results", "sources", "images", "videos", "usage",
        "metadata", "created", "system_fingerprint", "service_tier", "provider", "finish_details", "error", "weight",
    }
)  # fmt: skip
"""Fields that hold words and none of the answer."""


class Texts(NamedTuple):
    """Text of one chunk by its kind."""

    content: str
    reasoning: str
    refusal: str


def texts_of(part: Mapping[str, Any]) -> Texts:
    """Text of a delta or message, without tool calls.

    ``content`` is a string or a list of parts, in which reasoning may stand as well (``thinking``, nested or not).
    """
    content, thought = part.get("content"), ""
    if type(content) is not str:
        content, thought = _split(content)
    if not content and "text" in part:
        content = _split(part["text"])[0]
    if part.get("thought") is True or ("extra_content" in part and _is_thought(part["extra_content"])):
        content, thought = "", content + thought
    if not content and isinstance(audio := part.get("audio"), dict):
        content = audio["transcript"] if isinstance(audio.get("transcript"), str) else ""
    refusal = part.get("refusal")
    return Texts(content, thought + _reasoning_of(part), refusal if type(refusal) is str else "")


def tools_of(part: Mapping[str, Any]) -> list[Any]:
    """Tool calls among the parts of ``content``.

    As Anthropic's models write them.
    """
    content = part.get("content")
    parts = content if isinstance(content, list) else []
    return [each for each in parts if isinstance(each, dict) and each.get("type") == "tool_use"]


def _reasoning_of(part: Mapping[str, Any]) -> str:
    """Reasoning text from its own field, under any known name."""
    for name in _REASONING:
        value = part.get(name)
        if value and (text := value if type(value) is str else _joined(value, _REASONING_KEYS, _DEEPEST)):
            return text
    return ""


def unknown_text(part: Mapping[str, Any]) -> str | None:
    """Name of an unknown field that holds text; None without one."""
    for name, value in part.items():
        if name in _READ or name in _NO_TEXT or not value:
            continue
        if isinstance(value, str) or _joined(value, _TEXT_KEYS, _DEEPEST):
            return name
    return None


def _is_thought(extra: Any) -> bool:
    """Whether Gemini's compatible API marks the content as a thought."""
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def _split(value: Any) -> tuple[str, str]:
    """Text and reasoning of a content field."""
    if value is None or isinstance(value, str):
        return value or "", ""
    parts = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    text: list[str] = []
    thought: list[str] = []
    for part in parts:
        if isinstance(part, dict) and (part.get("type") in _THOUGHT or part.get("thought") is True):
            thought.append(_joined(part, _REASONING_KEYS, _DEEPEST))
        else:
            text.append(_joined(part, _TEXT_KEYS, _DEEPEST))
    return "".join(text), "".join(thought)


def _joined(value: Any, keys: tuple[str, ...], depth: int) -> str:
    """Text of a value: a string, an object or a list.

    Of an object, the first of ``keys`` that holds some.
    """
    if isinstance(value, str):
        return value
    if depth == 0:
        return ""
    if isinstance(value, list):
        return "".join(_joined(each, keys, depth - 1) for each in value)
    if isinstance(value, dict):
        found = (_joined(value[key], keys, depth - 1) for key in keys if key in value)
        return next(filter(None, found), "")
    return ""
