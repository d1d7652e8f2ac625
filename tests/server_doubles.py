"""A small HTTP server on loopback that answers as a test's functions say, and remembers what was asked."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any = None


@dataclass
class Answer:
    """What goes back: JSON, text, or lines one after the other."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    lines: Iterator[str] | None = None
    """Sent as they come, then the connection is closed."""


CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def streamed(text: str = "Hello", model: str = "m") -> Answer:
    """A streamed chat completion."""
    first = CHUNK | {"model": model, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
    last = CHUNK | {"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in (first, last)) + "data: [DONE]\n\n"
    return Answer(events, headers={"Content-Type": "text/event-stream"})


class Double:
    """The server.  Override :meth:`answer`; what it raises is a test's bug and shows up as a 500."""

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        """``tls``: certificate and key."""
        self.asked: list[Asked] = []
        self.released = threading.Event()
        """Set when the test is over: whatever hangs on purpose waits for it."""
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version, sys_version = "Double/1", ""

            def _any(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(raw) if raw else None)
                double.asked.append(asked)
                answer = double.answer(asked)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.lines is not None:
                    self.send_header("Connection", "close")
                    self.end_headers()
                    for line in answer.lines:
                        self.wfile.write(line.encode())
                        self.wfile.flush()
                    self.close_connection = True
                    return
                body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                payload = body.encode() if answer.body is not None else b""
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = _any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Be quiet."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def get_request(self) -> tuple[Any, Any]:
                sock, address = super().get_request()
                if double.tls_context is None:
                    return sock, address
                try:
                    return double.tls_context.wrap_socket(sock, server_side=True), address
                except OSError:  # a handshake that fails is what some tests are about
                    sock.close()
                    raise

            def handle_error(self, request: Any, client_address: Any) -> None:
                if not isinstance(sys.exception(), OSError):
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.tls_context: ssl.SSLContext | None = None
        if tls:
            self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls_context.load_cert_chain(*tls)
        self.port = int(self._server.server_address[1])
        self.root = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def answer(self, asked: Asked) -> Answer:
        """What a request gets."""
        if asked.path.endswith("/v1/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]})
        if asked.path.endswith("/chat/completions"):
            return streamed()
        return Answer({"error": f"no such path {asked.path}"}, 404)

    def paths(self, part: str = "") -> list[str]:
        """Method and path of what was asked, as far as they hold ``part``."""
        return [line for each in self.asked if part in (line := f"{each.method} {each.path}")]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificate(folder: Path, *more: str) -> tuple[str, str]:
    """A certificate for 127.0.0.1, signed by itself, and its key; skips where there is no openssl."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    command += ["-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, *(more or ("-nodes",))], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl here to make a certificate with")
    return cert, key
