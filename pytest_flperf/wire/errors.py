"""Error objects of servers: finding them, and extracting their text.

A healthy chunk is never one: what counts stands at the top of a document or of a choice, never deeper (Azure's filter
results have a key ``error``, and so may the arguments of a tool call).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from pytest_flperf.wire.error_signs import (
    LAST_RESORT,
    NUMBERED,
    SENTENCES,
    WRAPPERS,
    announces_error,
    fields_of,
    is_error_key,
    says,
    tells_of_error,
    tells_of_error_beside_choice,
)

__all__ = ["ServerError", "clip", "error_of_text", "find_error", "read_error", "words_beside"]

_WORDS_LIMIT: Final = 2_000
_PIECES: Final = 16
_DEPTH: Final = 6
_ITEMS: Final = 64
_BOUNDARY: Final = re.compile(r"[\s\"',;{}()<>\[\]]")
"""No key holds one of these: what is cut there shows no half of one that a search for whole keys would miss."""
_LONGEST_KEY: Final = 512

_MESSAGES: Final = {
    name: rank
    for rank, name in enumerate((
        *SENTENCES, "detail", "details", "faultstring", "error", "errors", "err", "fault", "exception", "baseresp",
        "metadata", "raw", "innererror", *WRAPPERS, "choices", "traceback",
    ))
}  # fmt: skip
"""Where messages stand, by rank: what says it best comes first."""
_CODES: Final = (NUMBERED - {"err"}) | {"type", "errortype"}
_FACTS: Final = frozenset({
    "id", "object", "created", "createdat", "model", "provider", "requestid", "traceid", "timestamp", "usage",
    "systemfingerprint", "servicetier", "path", "sid", "logid",
})  # fmt: skip
"""What stands in many documents and tells nothing of an error."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """Error reported by a server."""

    words: str
    """Its own words: messages first, then types and codes; 2,000 characters at most, and hostile."""
    codes: frozenset[str]
    """Its types, codes and states as they came."""
    certain: bool = True
    """False where nothing but a sentence tells of it: a whole answer shows that it was a remark."""


def find_error(document: Any) -> ServerError | None:
    """Find the error in a 2xx document; None for a healthy one."""
    if isinstance(document, Mapping):
        return _in_document(document)
    if isinstance(document, list):  # Gemini wraps an error in a list
        items = (item for item in islice(document, _ITEMS) if isinstance(item, dict))
        return next((error for item in items if (error := _in_document(item)) is not None), None)
    if isinstance(document, str) and announces_error(document):
        return error_of_text(document)
    return None


def read_error(value: Any, beside: Mapping[str, Any] | None = None) -> ServerError:
    """Read the text and codes of a known error, in any form.

    ``beside`` is the document in which it stood: a server may have put there what the error lacks.
    """
    messages: list[str] = []
    codes: list[str] = []
    _collect(value, messages, codes, 0)
    around = {name: item for name, item in beside.items() if item is not value} if beside is not None else {}
    if around and not (messages and isinstance(value, dict)):
        _collect(around, messages, codes, 0)
    if not messages:
        messages = _other_words(value) or _other_words(around)
    if not messages and not codes:
        messages = ["an error without a message" if _is_bare(value) else _shown(value)]
    return ServerError(_joined(messages, codes), frozenset(codes))


def words_beside(choice: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Server's words about a failure's finish reason.

    They may stand in the choice and in the document around it.
    """
    messages: list[str] = []
    told = {name: item for name, item in choice.items() if name != "message" or isinstance(item, str)}
    for part in (told, {name: item for name, item in document.items() if name != "choices"}):
        _collect(part, messages, [], 0)
    return _joined(messages, ())


def error_of_text(text: str) -> ServerError:
    """Build an error from plain text."""
    words = " ".join(clip(text, 2 * _WORDS_LIMIT).split())
    return ServerError(clip(words, _WORDS_LIMIT) or "an error without a message", frozenset())


def clip(text: str, limit: int) -> str:
    """Shorten text by cutting out its middle, never inside a key.

    Only text longer than ``limit`` characters is cut.
    """
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 6 // 10 - 3], text[len(text) - limit * 4 // 10 :]
    begin = _BOUNDARY.search(tail)
    tail = tail[begin.end() if begin is not None else _LONGEST_KEY :]
    last = max((found.start() for found in _BOUNDARY.finditer(head, max(0, len(head) - _LONGEST_KEY))), default=None)
    return f"{head if last is None else head[:last]} … {tail}"


def _in_document(document: Mapping[str, Any]) -> ServerError | None:
    error = document.get("error")
    if error is not None and says(error):
        return read_error(error, document)
    fields = fields_of(document)
    choices = document.get("choices")
    if isinstance(choices, list) and choices:
        around = {name: value for name, value in document.items() if name != "choices"}
        return read_error(around) if tells_of_error_beside_choice(fields) else None
    verdict = tells_of_error(fields)
    if verdict is None:
        return None
    error = read_error(document)
    return error if verdict else replace(error, certain=False)


def _collect(value: Any, messages: list[str], codes: list[str], depth: int) -> None:
    """Collect messages and codes, outermost first."""
    if depth > _DEPTH or len(messages) >= _PIECES or value is None or value is True or value is False:
        return
    if isinstance(value, dict):
        place = _place(value.get("loc"))
        for item in _told(value):
            before = len(messages)
            _collect(item, messages, codes, depth + 1)
            if place and len(messages) > before:
                messages[before], place = f"{place}: {messages[before]}", ""
        if place:
            messages.append(place)
        found = (_shown(item) for name, item in fields_of(value).items() if name in _CODES and _is_code(item))
        codes += islice(found, max(0, _PIECES - len(codes)))
    elif isinstance(value, list):
        for item in islice(value, _PIECES):
            _collect(item, messages, codes, depth + 1)
    elif says(value):
        (messages if isinstance(value, str) else codes).append(_shown(value))


def _told(value: dict[str, Any]) -> list[Any]:
    """Values that hold messages, by their keys.

    Known keys come first, then those that tell by their names.
    """
    fields = fields_of(value)
    # A status in words is a code.
    known = [
        name for name in fields if name in _MESSAGES and (name != "status" or isinstance(fields[name], dict | list))
    ]
    known.sort(key=_MESSAGES.__getitem__)
    others = (name for name in fields if name not in _MESSAGES and name not in _CODES and is_error_key(name))
    return [fields[name] for name in (*known, *others)]


def _other_words(value: Any) -> list[str]:
    """Text of an error without a message.

    Of a key that often has some, or else all that the error holds.
    """
    if not isinstance(value, dict):
        return []
    fields = fields_of(value)
    words = next((text for name in LAST_RESORT if (text := fields.get(name)) and isinstance(text, str)), None)
    if words is not None:
        return [_shown(words)]
    empty = (_CODES | _FACTS | _MESSAGES.keys()) - set(WRAPPERS)
    told = (item for name, item in fields.items() if name not in empty)
    return [_shown(value)] if any(isinstance(item, str | dict | list) and says(item) for item in told) else []


def _is_bare(value: Any) -> bool:
    """Whether an error says only that there is one."""
    return all(item is True or not says(item) for item in (value.values() if isinstance(value, dict) else (value,)))


def _joined(messages: Iterable[str], codes: Iterable[str]) -> str:
    pieces = dict.fromkeys(piece for piece in (*messages, *codes) if piece)
    return clip(" · ".join(pieces), _WORDS_LIMIT)


def _is_code(value: Any) -> bool:
    return (isinstance(value, str) and bool(value)) or (type(value) is int and value != 0)


def _place(value: Any) -> str:
    """Name of the setting in a FastAPI error: ``body.top_k``."""
    if not isinstance(value, list):
        return ""
    return ".".join(str(part)[:60] for part in value[:8] if isinstance(part, str | int))


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return clip(value, _WORDS_LIMIT)
    try:
        return clip(json.dumps(value, ensure_ascii=False), _WORDS_LIMIT)
    except (RecursionError, ValueError):  # nested as deep as the parser allowed, or an integer of thousands of digits
        return f"(a {type(value).__name__} too deep or too long to show)"
