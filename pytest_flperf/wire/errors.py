"""Error objects of servers in any dress: found in a document, and put into words.

A healthy chunk is never one: what counts stands at the top of a document or of a choice, never deeper (Azure's filter
results have a key ``error``, and so may the arguments of a tool call).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

__all__ = ["ServerError", "announces_error", "clip", "error_of_text", "find_error", "is_error_name", "read_error"]

_WORDS_LIMIT: Final = 2_000
_PIECES: Final = 16
_DEPTH: Final = 6
_ITEMS: Final = 64
_BOUNDARY: Final = re.compile(r"[\s\"',;{}()<>\[\]]")
"""No key holds one of these: what is cut there shows no half of one that a search for whole keys would miss."""
_LONGEST_KEY: Final = 512

_NOTHING: Final = frozenset({
    "", "null", "none", "nil", "undefined", "false", "0", "200", "ok", "success", "succeeded", "successful", "no error",
})  # fmt: skip
_GOING_ON: Final = frozenset(
    {"processing", "pending", "queued", "running", "loading", "in_progress", "progress", "ping", "info", "started"}
)
_FAILED: Final = frozenset({"error", "fail", "failed", "failure", "exception", "fatal"})

_WRAPPERS: Final = ("response", "data", "result", "x_groq")
"""What a document without a choice may hold its error in: the Responses API, gateways, Groq."""
_MESSAGES: Final = (
    "message", "msg", "error_message", "error_msg", "errorMessage", "errorMsg", "errmsg", "err_msg", "status_msg",
    "Message", "error_description", "description", "detail", "details", "reason", "title", "faultstring", "error",
    "errors", "err", "Error", "fault", "exception", "base_resp", "metadata", "raw", "innererror", *_WRAPPERS, "choices",
)  # fmt: skip
_CODES: Final = (
    "type", "code", "status", "error_type", "errorType", "error_code", "errorCode", "errcode", "statusCode",
    "status_code", "__type",
)  # fmt: skip
_NUMBERED: Final = frozenset({"code", "status", "statusCode", "status_code", "error_code", "errorCode", "errcode"})
_SENTENCES: Final = ("message", "msg", "Message", "status_msg", "error_description", "description", "title", "reason")
_ERROR_KEY: Final = re.compile(
    r"err(?:or)?s?\Z|error\w|err_?(?:msg|code)\Z|fault(?:s|string)?\Z|\w*(?:exception|error)s?\Z", re.IGNORECASE
)
_EVENT: Final = re.compile(r"(?:\A|.*[._ -])(?:error|exception|failed|failure|fatal)\Z|\w*(?:error|exception)\Z", re.I)
_ANNOUNCED: Final = re.compile(
    r"\b(?:\w{0,40}error|\w{0,40}exception|traceback|failed|failure|fatal|panic|aborted|crashed)\b", re.IGNORECASE
)
_BROKEN: Final = re.compile(r"[\[{\s]{1,20}['\"]error\b")
_TROUBLE: Final = re.compile(
    r"\b(?:\w{0,40}error\w*|\w{0,40}exception|fail\w*|exceed\w*|invalid|not found|unavailable|tim(?:ed|e) ?out|denied"
    r"|refused|overloaded|too many|unauthori[sz]ed|forbidden|abort\w*|crash\w*|died|quota|unsupported|not supported)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ServerError:
    """What a server said of an error."""

    words: str
    """Its own words: messages first, then types and codes; 2,000 characters at most, and hostile."""
    codes: frozenset[str]
    """Its types, codes and states as they came."""


def find_error(document: Any) -> ServerError | None:
    """The error that a document of a 2xx answer holds; None for a healthy one."""
    if isinstance(document, Mapping):
        return _in_document(document)
    if isinstance(document, list):  # Gemini wraps an error in a list
        items = (item for item in islice(document, _ITEMS) if isinstance(item, dict))
        return next((error for item in items if (error := _in_document(item)) is not None), None)
    if isinstance(document, str) and announces_error(document):
        return error_of_text(document)
    return None


def read_error(value: Any, beside: Mapping[str, Any] | None = None) -> ServerError:
    """The words of what is known to be an error, whatever it looks like.

    ``beside`` is the document in which it stood: what an error lacks, a server may have said there.
    """
    messages: list[str] = []
    codes: list[str] = []
    _collect(value, messages, codes, 0)
    if beside is not None and not (messages and isinstance(value, dict)):
        _collect({name: item for name, item in beside.items() if item is not value}, messages, codes, 0)
    if not messages and not codes:
        messages = ["an error without words" if _is_bare(value) else _shown(value)]
    pieces = dict.fromkeys(piece for piece in (*messages, *codes) if piece)
    return ServerError(clip(" · ".join(pieces), _WORDS_LIMIT), frozenset(codes))


def error_of_text(text: str) -> ServerError:
    """An error that came as text."""
    words = " ".join(clip(text, 2 * _WORDS_LIMIT).split())
    return ServerError(clip(words, _WORDS_LIMIT) or "an error without words", frozenset())


def is_error_name(name: str) -> bool:
    """Whether an event of this name is an error, as ``error``, ``response.failed``, ``throttlingException``."""
    return len(name) <= 100 and _EVENT.match(name) is not None


def announces_error(text: str) -> bool:
    """Whether text where JSON was expected speaks of an error in its first words or its last."""
    if text.lstrip().startswith(("{", "[{", '["')):  # broken JSON, of an answer that may well be about errors
        return _BROKEN.match(text) is not None
    return _ANNOUNCED.search(text[:200]) is not None or _ANNOUNCED.search(text[-200:]) is not None


def clip(text: str, limit: int) -> str:
    """``text`` with its middle left out where it is longer than ``limit`` characters, cut where no key can be."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 6 // 10 - 3], text[len(text) - limit * 4 // 10 :]
    begin = _BOUNDARY.search(tail)
    tail = tail[begin.end() if begin is not None else _LONGEST_KEY :]
    last = max((found.start() for found in _BOUNDARY.finditer(head, max(0, len(head) - _LONGEST_KEY))), default=None)
    return f"{head if last is None else head[:last]} … {tail}"


def _in_document(document: Mapping[str, Any]) -> ServerError | None:
    error = document.get("error")
    if error is not None and _says(error):
        return read_error(error, document)
    choices = document.get("choices")
    if isinstance(choices, list) and choices:
        return None if document.get("object") != "error" else read_error(document)
    if _is_error(document):
        return read_error(document)
    for name in _WRAPPERS:
        inner = document.get(name)
        if isinstance(inner, dict) and _says(inner.get("error")):
            return read_error(inner["error"], inner)
    return None


def _is_error(document: Mapping[str, Any]) -> bool:
    """Whether a document without a choice is an error, though it has no ``error``."""
    if "error" in (document.get("object"), document.get("type")):
        return True
    if document.get("success") is False or document.get("ok") is False:
        return True
    if any(_says_error(name, value) for name, value in islice(document.items(), _ITEMS)):
        return True
    status = document.get("status")
    if isinstance(status, str) and status.lower() in (_FAILED | _GOING_ON | _NOTHING):
        return status.lower() in _FAILED
    return _says(document.get("detail")) or _is_bad_message(document)


def _is_bad_message(document: Mapping[str, Any]) -> bool:
    """Whether a sentence stands beside a code that means trouble, or tells of trouble itself."""
    message = next((text for name in _SENTENCES if isinstance(text := document.get(name), str) and text), None)
    if message is None:
        return False
    if any(_is_bad_code(document.get(name)) for name in _NUMBERED):
        return True
    kind = document.get("type") or document.get("__type")
    named = f"{kind[:100].replace('_', ' ')} " if isinstance(kind, str) else ""
    return _TROUBLE.search(named + message[:500]) is not None


def _says_error(name: str, value: Any) -> bool:
    """Whether a key tells of an error by its name, and its value is one."""
    if name == "base_resp":  # MiniMax: in every chunk, with 0
        return isinstance(value, dict) and _is_bad_code(value.get("status_code"))
    if len(name) > 64 or _ERROR_KEY.match(name) is None:
        return False
    if type(value) in (int, float):
        return name in _NUMBERED and bool(value)
    return _says(value)


def _is_bare(value: Any) -> bool:
    """Whether an error says no more than that there is one."""
    if isinstance(value, dict) and len(value) <= _ITEMS:
        return all(item is True or not _says(item) for item in value.values())
    return value is True or not _says(value)


def _is_bad_code(value: Any) -> bool:
    if isinstance(value, str):
        if not value.isdecimal() or len(value) > 9:
            return value.strip().lower() not in (_GOING_ON | _NOTHING)
        value = int(value)
    # Below 400 they are statuses of HTTP that mean well; codes of a vendor's own have more digits, or a sign.
    return type(value) is int and value != 0 and not 100 <= value < 400


def _says(value: Any, depth: int = 0) -> bool:
    """Whether the value of a key ``error`` is one: many servers send it in every chunk, with nothing in it."""
    if value is None or value is False:
        return False
    if isinstance(value, str):
        return value.strip().lower() not in _NOTHING
    if depth < _DEPTH and isinstance(value, dict):
        return any(_says(item, depth + 1) for item in islice(value.values(), _ITEMS))
    if depth < _DEPTH and isinstance(value, list):
        return any(_says(item, depth + 1) for item in islice(value, _ITEMS))
    return value not in (0, 200)


def _collect(value: Any, messages: list[str], codes: list[str], depth: int) -> None:
    """Gather messages and codes, outermost first."""
    if depth > _DEPTH or len(messages) >= _PIECES or value is None or value is True or value is False:
        return
    if isinstance(value, dict):
        place = _place(value.get("loc"))
        for name in _names(value):
            before = len(messages)
            _collect(value[name], messages, codes, depth + 1)
            if place and len(messages) > before:
                messages[before], place = f"{place}: {messages[before]}", ""
        if place:
            messages.append(place)
        codes += [_shown(value[name]) for name in _CODES if _is_code(value.get(name))][: max(0, _PIECES - len(codes))]
    elif isinstance(value, list):
        for item in islice(value, _PIECES):
            _collect(item, messages, codes, depth + 1)
    elif _says(value):
        messages.append(_shown(value))


def _names(value: dict[str, Any]) -> Iterator[str]:
    """The keys of what has messages in it: those that are known, then those that tell by their names."""
    yield from (name for name in _MESSAGES if name in value)
    for name in islice(value, _ITEMS):
        if name not in _MESSAGES and name not in _CODES and len(name) <= 64 and _ERROR_KEY.match(name):
            yield name


def _is_code(value: Any) -> bool:
    return (isinstance(value, str) and bool(value)) or (type(value) is int and value != 0)


def _place(value: Any) -> str:
    """Which setting FastAPI speaks of: ``body.top_k``."""
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
