"""Wrong address: HTML pages, redirects and JSON lines instead of answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.wire.unexpected_bodies import leads_to_login, speaks_of_login, title_of

__all__ = ["NO_SUCH_PATH", "is_page", "what_it_is"]

NO_SUCH_PATH: Final = (404, 405, 410, 501)
"""Status codes for a path that doesn't exist."""

_HEAD: Final = 4_096
_PAGE: Final = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,1000}?-->\s*)?<(?:!doctype\s+html|html\b|head\b|body\b)",
    re.IGNORECASE | re.DOTALL,
)
_URL: Final = "a base URL usually ends in /v1"


def is_page(headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer is an HTML page, by type or beginning."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml") or _PAGE.match(text[:_HEAD]) is not None


def what_it_is(status: int, headers: Mapping[str, str], text: str) -> str:
    """Explain an answer that isn't JSON; empty if unknown.

    The text also says what to do.

    Args:
        status: HTTP status of the answer.
        headers: Names in lower case.
        text: The body, secrets removed.

    """
    if 300 <= status < 400:
        return _redirect(headers)
    if is_page(headers, text):
        return _page(text)
    return _lines(text) if 200 <= status < 300 else ""


def _redirect(headers: Mapping[str, str]) -> str:
    where = headers.get("location", "")
    try:
        parts = urlsplit(where)
        shown = clean(f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else parts.path, 200)
    except ValueError:
        shown, parts = "", urlsplit("")
    if not shown:
        return "a redirect without a target; redirects are not followed"
    if leads_to_login(f"//{parts.hostname}{parts.path}" if parts.hostname else parts.path):
        return (
            f"a redirect to a login page ({shown}): the server needs a key or a header (api_key_env, "
            f"headers_env), or this is the address of its pages, not of its API; {_URL}"
        )
    return f"a redirect to {shown}; redirects are not followed: give the URL of the API itself; {_URL}"


def _page(text: str) -> str:
    title = clean(title_of(text[: 4 * _HEAD]), 80)
    if speaks_of_login(title):
        return (
            f"an HTML login page ({title!r}): the server needs a key or a header (api_key_env, headers_env), "
            f"or this is the address of its pages, not of its API; {_URL}"
        )
    named = f"an HTML page ({title!r})" if title else "an HTML page"
    return f"{named}: the address of a web page, a proxy or a gateway, not of an API; {_URL}"


def _lines(text: str) -> str:
    """NDJSON: one JSON object per line."""
    lines = text.strip().split("\n", 2)[:2]
    if len(lines) < 2:
        return ""
    try:
        if not all(isinstance(json.loads(line), dict) for line in lines):
            return ""
    except (ValueError, RecursionError):
        return ""
    return (
        "JSON lines (NDJSON), as Ollama's own API streams them: its OpenAI-compatible API is at /v1, and the backend "
        "ollama finds it"
    )
