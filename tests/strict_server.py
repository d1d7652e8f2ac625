"""A chat server that refuses what it doesn't know, thinks without showing it, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

Refusal: TypeAlias = tuple[int, Any]
"""Status and the JSON of an error."""
LIMITS = ("max_tokens", "max_completion_tokens")


class StrictServer:
    """Answers with ten words, or with none where the limit is used up before."""

    def __init__(
        self, refuse: Callable[[Mapping[str, Any]], Refusal | None], *, hidden: int = 0, streams: bool = True
    ) -> None:
        """What it is like.

        Args:
            refuse: Says what is wrong with a request, if anything is.
            hidden: Tokens that it thinks before it answers, and doesn't show.
            streams: Whether it streams where it is asked to; else it answers in one piece.

        """
        self.bodies: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(404, "application/json", b"{}")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                refusal = refuse(body)
                if refusal is not None:
                    outer.refused.append(body)
                    self._answer(refusal[0], "application/json", json.dumps(refusal[1]).encode())
                elif body.get("stream") and streams:
                    self._answer(200, "text/event-stream", _stream(body, hidden))
                else:
                    self._answer(200, "application/json", json.dumps(_whole(body, hidden)).encode())

            def _answer(self, status: int, kind: str, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def verifying(self) -> list[dict[str, Any]]:
        """The short requests before measuring."""
        return [body for body in self.bodies if body["messages"][-1]["content"] == "Say hello."]

    @property
    def answered(self) -> list[dict[str, Any]]:
        """What it did not refuse."""
        return [body for body in self.bodies if body not in self.refused]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)


def _answer(body: Mapping[str, Any], hidden: int) -> tuple[str, str, dict[str, Any]]:
    limits = [body[key] for key in LIMITS if key in body]
    left = max(min(limits) - hidden, 0) if limits else 10
    words = "word " * min(left, 10)
    usage = {
        "prompt_tokens": sum(len(message["content"].split()) for message in body["messages"]) + 3,
        "completion_tokens": hidden + min(left, 10),
        "completion_tokens_details": {"reasoning_tokens": hidden},
    }
    return words, "stop" if left > 10 or not limits else "length", usage


def _stream(body: Mapping[str, Any], hidden: int) -> bytes:
    words, finish, usage = _answer(body, hidden)
    parts = [_chunk({"content": f"{word} "}) for word in words.split()]
    parts.append(_chunk({}, finish))
    if (body.get("stream_options") or {}).get("include_usage"):
        parts.append({"choices": [], "usage": usage})
    return b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts) + b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _whole(body: Mapping[str, Any], hidden: int) -> dict[str, Any]:
    words, finish, usage = _answer(body, hidden)
    message = {"role": "assistant", "content": words}
    return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


def openai_error(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """An error as OpenAI and Azure write it."""
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def forbidden(*known: str) -> Callable[[Mapping[str, Any]], Refusal | None]:
    """Refuses every key but these and the first three, as FastAPI with pydantic does."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        detail = [
            {"type": "extra_forbidden", "loc": ["body", key], "msg": "Extra inputs are not permitted", "input": value}
            for key, value in body.items()
            if key not in {"model", "messages", "stream", *known}
        ]
        return (422, {"detail": detail}) if detail else None

    return refuse


def reasoning_model(body: Mapping[str, Any]) -> Refusal | None:
    """Refuses what OpenAI's reasoning models refuse."""
    if "max_tokens" in body:
        return openai_error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if body.get("temperature", 1) != 1:
        return openai_error(
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. Only the "
            "default (1) value is supported.",
            "temperature",
            "unsupported_value",
        )
    if body.get("max_completion_tokens", 99) < 8:
        return openai_error(
            "Could not finish the message because max_tokens or model output limit was reached. Please try again with "
            "higher max_tokens."
        )
    return None


def older_api(body: Mapping[str, Any]) -> Refusal | None:
    """Refuses what an older version of Azure's API doesn't know."""
    for key in ("max_completion_tokens", "stream_options"):
        if key in body:
            return openai_error(f"Unrecognized request argument supplied: {key}")
    return None


def no_streams(body: Mapping[str, Any]) -> Refusal | None:
    """Refuses to stream."""
    return openai_error("Streaming is not supported by this endpoint.") if body.get("stream") else None
