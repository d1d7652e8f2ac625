"""A client of bare sockets: what was asked, and every byte that came back."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

QUESTION: dict[str, Any] = {"model": "reference", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
PATIENCE_S = 120.0


def request_bytes(
    question: dict[str, Any] | bytes, *, version: str = "1.1", headers: str = "", path: str = "/v1/chat/completions"
) -> bytes:
    """A POST request."""
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


@dataclass
class Answer:
    """An HTTP answer taken apart."""

    raw: bytes
    reset: bool = False
    timed_out: bool = False
    """Nothing came for a while, though the connection was open."""
    head: str = ""
    body: bytes = b""
    complete: bool = False
    """The body ended as its framing says."""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        head, blank, rest = self.raw.partition(b"\r\n\r\n")
        if not blank:
            return
        self.head = head.decode()
        lines = self.head.split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines[1:])}
        if self.headers.get("transfer-encoding") == "chunked":
            self.body, self.complete = dechunk(rest)
        elif "content-length" in self.headers:
            self.body, self.complete = rest, len(rest) == int(self.headers["content-length"])
        else:
            self.body, self.complete = rest, not self.timed_out and not self.reset

    @property
    def data(self) -> list[str]:
        """What follows ``data:``, an entry for each event; CRLF and several lines understood."""
        events = self.body.decode(errors="replace").lstrip("\ufeff").replace("\r\n", "\n").split("\n\n")
        lines = [[line[6:] for line in event.split("\n") if line.startswith("data: ")] for event in events]
        return ["\n".join(each) for each in lines if each]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The events that are JSON objects."""
        return [json.loads(text) for text in self.data if text.startswith("{") and text.endswith("}")]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """The deltas of all chunks that have choices."""
        return [chunk["choices"][0]["delta"] for chunk in self.chunks if chunk.get("choices")]

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(delta.get("content") or "" for delta in self.deltas)

    @property
    def finish_reasons(self) -> list[str]:
        """All that is not null."""
        found = [chunk["choices"][0].get("finish_reason") for chunk in self.chunks if chunk.get("choices")]
        return [reason for reason in found if reason]


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """The body in a chunked one, and whether it was complete."""
    body = b""
    while True:
        line, ended, data = data.partition(b"\r\n")
        if not ended or not line:
            return body, False
        size = int(line, 16)
        if size == 0:
            return body, data == b"\r\n"
        if len(data) < size + 2:
            return body + data[:size], False
        body, data = body + data[:size], data[size + 2 :]


def ask(
    port: int,
    sent: bytes | dict[str, Any],
    *,
    silence_s: float | None = None,
    until: bytes = b"",
    host: str = "127.0.0.1",
    most: int = 1 << 30,
) -> Answer:
    """Send one request (a question asks for no keep-alive) and read until the end of it all.

    Or, where no end is to come, until ``until`` has come and then nothing more for ``silence_s``.
    """
    data = sent if isinstance(sent, bytes) else request_bytes(sent, headers="Connection: close\r\n")
    raw, reset, timed_out = bytearray(), False, False
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S) as sock:
            sock.sendall(data)
            while len(raw) < most:
                sock.settimeout(silence_s if silence_s is not None and until in raw else PATIENCE_S)
                piece = sock.recv(65536)
                if not piece:
                    break
                raw += piece
    except TimeoutError:
        timed_out = True
    except ConnectionRefusedError:
        raise
    except ConnectionError:
        reset = True
    return Answer(bytes(raw), reset, timed_out)
