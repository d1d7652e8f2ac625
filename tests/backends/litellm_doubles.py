"""The real proxy for tests, and a provider on loopback that refuses everybody."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMAND = shutil.which(os.environ.get("FLPERF_LITELLM", "litellm"))
MISSING = "LiteLLM's proxy is not here: install litellm[proxy], or name its command in FLPERF_LITELLM"
MOCKS: dict[str, Any] = {
    "openai/tiny": {"mock_response": "Hello there", "api_key": "os.environ/PLANTED_KEY"},
    "anthropic/mock": {"mock_response": "Good day", "api_key": "os.environ/PLANTED_KEY"},
}


@contextlib.contextmanager
def refusing_provider(status: int) -> Iterator[tuple[str, list[str]]]:
    """Written from OpenAI's documentation of errors, but not masking: its 401 holds the whole key.

    Its address, and the paths that were asked for.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._refuse()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            self._refuse()

        def _refuse(self) -> None:
            key = self.headers.get("x-api-key") or self.headers.get("authorization", "")
            error = {"message": f"Incorrect API key provided: {key}", "type": "invalid_request_error", "code": None}
            data = json.dumps({"error": error}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
