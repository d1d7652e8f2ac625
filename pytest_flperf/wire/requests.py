"""Request bytes, as the openai client builds them.

The same path, headers and JSON (a test compares them); only the headers that name the client are our own.  The client
itself is not used: importing it took 0.7 of the 2.9 s of processor time of a run of one request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.headers import check_headers, check_key, joined
from pytest_flperf.wire.surrogates import repair_text

__all__ = ["RequestFactory", "RequestTemplate"]

_HEAD_END: Final = b"\r\n\r\n"
_IN_A_PATH: Final = "!$&'()*+,;=:@/-._~%[]"
_DEFAULT_PORTS: Final = {True: 443, False: 80}
"""By whether there is TLS."""


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """Request with replaceable messages."""

    head: bytes = field(repr=False)
    """Request line and headers but ``Content-Length``, which stands last; may hold a key, so never shown."""
    document: Mapping[str, Any]
    max_tokens_key: str = "max_tokens"
    """Name of the longest answer in the request."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> bytes:
        """Request bytes with other messages.

        Args:
            messages: In place of the request's.
            max_tokens: Another longest answer; None: the request's own.
            tools: Other tools, of a request that has some; empty: none, nor a choice; None: the request's own.

        """
        document = {**self.document, "messages": _sound(messages)}
        if max_tokens is not None:
            document[self.max_tokens_key] = max_tokens
        if tools and "tools" in document:
            document["tools"] = _sound(tools)
        elif tools is not None:
            document = {name: value for name, value in document.items() if name not in ("tools", "tool_choice")}
        return _request(self.head, document)


class RequestFactory:
    """Builds requests for one endpoint."""

    def __init__(
        self, endpoint: Endpoint, api_key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Set what every request carries.

        Args:
            endpoint: Where requests go.
            api_key: Sent as a bearer token; None: no ``Authorization`` is sent.
            headers: Sent, too; one replaces the default of the same name, ``Authorization`` included.

        Raises:
            ValueError: No header can hold the key, a name or a value.

        """
        check_key(api_key)
        check_headers(headers or {})
        self._head = _head(endpoint, _headers(endpoint, api_key, headers or {}))

    def build(self, arguments: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
        """Bytes of one request; ``extra`` goes into its JSON unchanged."""
        return _request(self._head, _document(arguments, extra))

    def template(
        self,
        arguments: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
        max_tokens_key: str = "max_tokens",
    ) -> RequestTemplate:
        """Prepare a request for further ones with other messages."""
        return RequestTemplate(self._head, _document(arguments, extra), max_tokens_key)


def _document(arguments: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**_sound(arguments), **_sound(extra or {})}


def _request(head: bytes, document: Mapping[str, Any]) -> bytes:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return head + b"Content-Length: %d" % len(body) + _HEAD_END + body


def _sound(value: Any) -> Any:
    """Value with lone surrogates replaced, which UTF-8 can't hold."""
    if isinstance(value, str):
        return value if value.isascii() else repair_text(value)
    if isinstance(value, Mapping):
        return {_sound(name): _sound(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    return value


def _headers(endpoint: Endpoint, api_key: str | None, asked: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "Host": _host(endpoint),
        "Connection": "keep-alive",
        "User-Agent": "pytest-flperf",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return joined(headers, asked)


def _host(endpoint: Endpoint) -> str:
    """Value of ``Host``: without the zone of an IPv6 address (RFC 6874), and without a default port."""
    name = endpoint.host.partition("%")[0]
    name = f"[{name}]" if ":" in name else name
    return name if endpoint.port == _DEFAULT_PORTS[endpoint.tls] else f"{name}:{endpoint.port}"


def _head(endpoint: Endpoint, headers: Mapping[str, str]) -> bytes:
    path = quote(urlsplit(endpoint.base_url).path + "/chat/completions", safe=_IN_A_PATH)
    lines = [f"POST {endpoint.with_query(path)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"
