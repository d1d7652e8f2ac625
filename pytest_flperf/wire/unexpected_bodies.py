"""Unexpected bodies: what a non-API answer is, and what to do.

Such as login pages, proxies and other protocols in place of an OpenAI-compatible API.
"""

from __future__ import annotations

import html
import re
from typing import Any, Final

from pytest_flperf.wire.chunks import load_json
from pytest_flperf.wire.error_signs import announces_error
from pytest_flperf.wire.errors import ServerError, clip, error_of_text, find_error, read_error
from pytest_flperf.wire.framing import Head
from pytest_flperf.wire.sse import Events, is_end

__all__ = [
    "error_in_body",
    "error_of_body",
    "foreign_answer",
    "foreign_bytes",
    "leads_to_login",
    "redirect_words",
    "speaks_of_login",
    "title_of",
]

_LOOKED_AT: Final = 16_384
_LONGEST_LINE: Final = 262_144
_WORDS: Final = 300
_SPACE: Final = b"\xef\xbb\xbf \t\r\n"
_HTML: Final = re.compile(rb"<(?:!doctype html|html|head|body|title|center|h1|p)\b|<!--|<\?xml", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{1,400})", re.IGNORECASE)
_HIDDEN: Final = re.compile(r"<(script|style|head)\b.*?(?:</\1>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[^<>]{0,2000}>")
_LOGIN: Final = re.compile(
    r"type=[\"']?password|\b(?:sign|log)[ -]?in\b|\blogin\b|\bsign[_-]?on\b|\bsso\b|\boauth2?\b|\bsaml2?\b"
    r"|\bauthenticat|\bauth\b|\bauthorize\b",
    re.IGNORECASE,
)
_LOGIN_HOST: Final = re.compile(
    r"(?:[^/]*\.)?(?:log-?in|sign-?in|sso|o?auth2?|saml|idp|identity|accounts?)\.[^/]+", re.IGNORECASE
)
"""Hosts that only serve logins; other host names may contain such a word."""
_HOST: Final = re.compile(r"(?:https?:)?//([^/]*)", re.IGNORECASE)
_BASE_URL: Final = "expected the base URL of an OpenAI-compatible API, which usually ends in /v1"
_SIGN_IN: Final = "give a key (--flperf-api-key-env) or its headers, or a URL that needs no login"

# By the keys that tell them; the first that fits names it.
_APIS: Final = (
    ({"model", "created_at", "done"}, "Ollama's own API", "use its URL that ends in /v1"),
    ({"generated_text"}, "TGI's own API", "use its URL that ends in /v1"),
    ({"token", "details"}, "TGI's own API", "use its URL that ends in /v1"),
    ({"content", "generation_settings"}, "llama.cpp's own API", "use its URL that ends in /v1"),
    ({"content", "stop", "tokens"}, "llama.cpp's own API", "use its URL that ends in /v1"),
    ({"candidates"}, "Gemini's own API", "use its OpenAI-compatible one (…/v1beta/openai)"),
    ({"stop_reason", "content", "role"}, "Anthropic's Messages API", "use a URL of chat completions"),
    ({"text", "meta_info"}, "SGLang's own API", "use its URL that ends in /v1"),
)
_BY_TYPE: Final = {
    "message_start": ("Anthropic's Messages API", "use a URL of chat completions"),
    "response.created": ("the Responses API", "use a URL of chat completions"),
}
_BY_OBJECT: Final = {
    "response": ("the Responses API", "use a URL of chat completions"),
    "list": ("a list, as of models", _BASE_URL),
}


def foreign_answer(head: Head, payload: bytes) -> str:
    """Describe a 2xx body without a choice; empty if unknown."""
    kind = head.headers.get("content-type", "").lower()
    start = payload[:_LOOKED_AT].lstrip(_SPACE)
    if not start:
        return ""
    if kind.startswith("application/grpc"):
        return f"gRPC where HTTP with JSON was expected; {_BASE_URL}"
    if _HTML.match(start) or (kind.startswith("text/html") and not start.startswith((b"{", b"[", b"data:", b"event:"))):
        return _page(start)
    if start.startswith((b"{", b"[", b"data:", b"event:", b"id:", b":")):
        return _other_json(payload[:_LONGEST_LINE].lstrip(_SPACE))
    return f"plain text where an answer was expected: '{_flat(start)}'; {_BASE_URL}"


def foreign_bytes(raw: bytes) -> str:
    """Name a non-HTTP protocol by its first bytes; empty if unknown."""
    if raw[:1] in (b"\x15", b"\x16") and raw[1:2] == b"\x03":
        return "the server speaks TLS: use https:// in the URL"
    if raw[3:5] == b"\x04\x00" and raw[5:9] == bytes(4):
        return "the server speaks HTTP/2 (gRPC?) only, expected HTTP/1.1"
    if raw.startswith(b"SSH-"):
        return "an SSH server answered: something else uses the port"
    return ""


def redirect_words(head: Head) -> str:
    """Explain a 3xx redirect and how to fix it.

    Never shows what stands behind ``?``, where tokens are.
    """
    place = re.split(r"[?#]", head.headers.get("location", ""), maxsplit=1)[0][:_WORDS]
    if not place:
        return "redirects are not followed"
    if leads_to_login(place):
        return f"redirected to a login page, '{place}': the server wants you to sign in; {_SIGN_IN}"
    return f"redirected to '{place}', and redirects are not followed; give the URL of the API"


def leads_to_login(place: str) -> bool:
    """Whether a URL or a path leads to a login.

    By its path, or by a host that does nothing else.
    """
    host = _HOST.match(place)
    path = place[host.end() :] if host is not None else place
    return _LOGIN.search(path) is not None or (host is not None and _LOGIN_HOST.fullmatch(host[1]) is not None)


def error_of_body(payload: bytes) -> ServerError:
    """Read the error text from an error body.

    JSON, events, a page or plain text.
    """
    start = payload[:_LOOKED_AT].lstrip(_SPACE)
    if start.startswith((b"data:", b"event:", b"id:", b":")):
        found = _of_events(payload[:_LONGEST_LINE])
        if found is not None:
            return found
    elif _HTML.match(start):
        return ServerError(_page_text(start), frozenset())
    else:
        try:
            return read_error(load_json(payload))
        except ValueError:
            pass
    if not start:
        return ServerError("", frozenset())
    # The last lines of a traceback say what it was.
    text = payload if len(payload) <= 2 * _LOOKED_AT else start + b" \n " + payload[-_LOOKED_AT:]
    return ServerError(clip(" ".join(text.decode("utf-8", "replace").split()), 600), frozenset())


def error_in_body(payload: bytes) -> ServerError | None:
    """Error in a 2xx body that is no document and no events.

    In its last line of JSON, or in plain text.
    """
    start = payload[:_LOOKED_AT].lstrip(_SPACE)
    if start.startswith(b"{"):
        last = payload.rstrip()[-_LONGEST_LINE:].rpartition(b"\n")[2]
        return _of_line(last) if last.startswith(b"{") else None
    if start.startswith((b"<", b"[", b"data:", b"event:")):
        return None
    error = error_of_body(payload)
    return error if announces_error(error.words) else None


def _of_line(line: bytes) -> ServerError | None:
    try:
        return find_error(load_json(line))
    except ValueError:
        return None


def _of_events(payload: bytes) -> ServerError | None:
    events = Events(payload)
    said = [event.data for event in events]
    if events.unfinished is not None:
        said.append(events.unfinished.data)
    for data in said:
        if not data.strip() or is_end(data):
            continue
        try:
            return read_error(load_json(data))
        except ValueError:
            return error_of_text(data.decode("utf-8", "replace"))
    return None


def title_of(page: str) -> str:
    """Title of an HTML page, unchanged; empty where there is none."""
    found = _TITLE.search(page)
    return found[1] if found is not None else ""


def speaks_of_login(text: str) -> bool:
    """Whether a page, or its title, is a login page."""
    return _LOGIN.search(text) is not None


def _page(start: bytes) -> str:
    page = start.decode("utf-8", "replace")
    shown = _page_text(start)
    if speaks_of_login(page):
        return f"an HTML page where an answer was expected, apparently a login page: '{shown}'; {_SIGN_IN}"
    return (
        f"an HTML page where an answer was expected: '{shown}'; the URL is not the API's, or a proxy answered "
        f"instead; {_BASE_URL}"
    )


def _page_text(start: bytes) -> str:
    """Title of a page, or else its text."""
    page = start.decode("utf-8", "replace")
    text = title_of(page) or _TAG.sub(" ", _HIDDEN.sub(" ", page))
    return clip(" ".join(html.unescape(text).split()), _WORDS)


def _other_json(start: bytes) -> str:
    first, _, rest = start.partition(b"\n")
    if first.startswith(b"event:"):
        first, _, rest = rest.partition(b"\n")
    document = _document(first.removeprefix(b"data:"))
    if document is None:
        document = _document(start)  # over several lines
    lines = isinstance(document, dict) and first.startswith(b"{") and rest.lstrip().startswith(b"{")
    name, advice = _api_of(document)
    if name:
        return f"the URL answered with {name}{' (NDJSON)' if lines else ''}; {advice}"
    if lines:
        return f"NDJSON (a JSON document in each line) where server-sent events were expected; {_BASE_URL}"
    return ""


def _document(data: bytes) -> Any:
    try:
        return load_json(data)
    except ValueError:
        return None


def _api_of(document: Any) -> tuple[str, str]:
    if not isinstance(document, dict):
        return "", ""
    for keys, name, advice in _APIS:
        if keys <= document.keys():
            return name, advice
    for table, key in ((_BY_TYPE, "type"), (_BY_OBJECT, "object")):
        value = document.get(key)
        if isinstance(value, str) and value in table:
            return table[value]
    return "", ""


def _flat(start: bytes) -> str:
    return clip(" ".join(start.decode("utf-8", "replace").split()), _WORDS)
