"""Request bytes, captured from the openai client.

The client's own stream iteration costs 86 µs a chunk and stamps late; its way of building a request is what
applications use.  So it builds into a transport that keeps the request, and the load process sends the bytes.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.wire.headers import check_headers, check_key
from pytest_flperf.wire.surrogates import repair_text

if TYPE_CHECKING:
    from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["RequestFactory", "RequestTemplate"]

_HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """Captured request with replaceable messages.

    Replacing them doesn't involve the client again.
    """

    head: bytes = field(repr=False)
    """Request line and headers but ``Content-Length``, which stands last; may hold a key, so never shown."""
    document: Mapping[str, Any]
    max_tokens_key: str = "max_tokens"
    """Name of the longest answer in the request."""

    def render(self, messages: Sequence[Mapping[str, str]], max_tokens: int | None = None) -> bytes:
        """Request bytes with other messages.

        Byte for byte what the client would build (a test compares them).

        ``max_tokens``: another longest answer; None: the request's own.
        """
        longest = {} if max_tokens is None else {self.max_tokens_key: max_tokens}
        body = _dump({**self.document, "messages": _sound(messages), **longest})
        return self.head + b"Content-Length: %d" % len(body) + _HEAD_END + body


class RequestFactory:
    """Builds requests for one endpoint.

    Creating the first one imports openai (0.3 to 0.6 s).
    """

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
        self._asked = dict(headers or {})
        self._endpoint = endpoint
        openai = importlib.import_module("openai")
        # The client stands on httpx or on httpx2, by its version; its own class says which.
        httpx = importlib.import_module(openai.DefaultHttpxClient.__mro__[2].__module__.partition(".")[0])
        self._captured: list[Any] = []
        captured = self._captured

        class Capture(httpx.BaseTransport):  # type: ignore[misc, name-defined]
            """Transport that keeps the request instead of sending it."""

            def handle_request(self, request: Any) -> Any:
                captured.append(request)
                return httpx.Response(200, content=b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"})

        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=api_key or "none",  # the client insists on one; without a key the header is left out below
            max_retries=0,
            http_client=httpx.Client(transport=Capture(), trust_env=False),
            default_headers={"Accept-Encoding": "identity"},
        )
        # Without a key, nothing of an account in the environment (OPENAI_ORG_ID …) is this server's business either.
        account = ("Authorization", "OpenAI-Organization", "OpenAI-Project")
        self._headers = {} if api_key else dict.fromkeys(account, openai.Omit())

    def build(self, arguments: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
        """Bytes of one request; ``extra`` goes into its JSON unchanged."""
        request = self._capture(arguments, extra)
        head = _head(request, self._asked, self._endpoint)
        return head + b"Content-Length: %d" % len(request.content) + _HEAD_END + bytes(request.content)

    def template(
        self,
        arguments: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
        max_tokens_key: str = "max_tokens",
    ) -> RequestTemplate:
        """Capture a request once, for further ones with other messages.

        Each further one takes 20 µs instead of 600.
        """
        request = self._capture(arguments, extra)
        document = json.loads(request.content)
        if _dump(document) != request.content:
            raise RuntimeError("this version of openai writes its JSON in a form that pytest-flperf doesn't know")
        return RequestTemplate(_head(request, self._asked, self._endpoint), document, max_tokens_key)

    def _capture(self, arguments: Mapping[str, Any], extra: Mapping[str, Any] | None) -> Any:
        self._captured.clear()
        answer = self._client.chat.completions.with_raw_response.create(
            **_sound(arguments), extra_body=_sound(extra) if extra else None, extra_headers=self._headers
        )
        del answer  # the raw response only: nothing of the canned answer is parsed
        return self._captured.pop()


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _sound(value: Any) -> Any:
    """Value with lone surrogates replaced, which UTF-8 can't hold."""
    if isinstance(value, str):
        return value if value.isascii() else repair_text(value)
    if isinstance(value, Mapping):
        return {_sound(name): _sound(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    return value


def _head(request: Any, asked: Mapping[str, str], endpoint: Endpoint) -> bytes:
    left_out = {b"content-length", b"transfer-encoding", *(name.lower().encode("ascii") for name in asked)}
    path = endpoint.with_query(request.url.raw_path.decode("ascii"))  # the client has no place for it
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), path.encode("ascii"))]
    lines += [name + b": " + value for name, value in request.headers.raw if name.lower() not in left_out]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in asked.items()]
    return b"\r\n".join(lines) + b"\r\n"
