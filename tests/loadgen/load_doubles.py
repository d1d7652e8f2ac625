"""Servers of raw sockets, and plans to play against them."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.sample import Sample

S = 1_000_000_000
MS = 1_000_000

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(content: str, finish: str | None = None) -> bytes:
    """An event with content, in a chunk of its own."""
    choice = {"delta": {"content": content} if content else {}, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")


ROLE = chunk(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n')
ANSWER = HEAD + token("a") + token("", "stop") + b"0\r\n\r\n"


class RawServer:
    """Hands every connection, with its number, to a function in a thread of its own."""

    def __init__(
        self,
        serve: Callable[[socket.socket, int], None],
        family: int = socket.AF_INET,
        tls_name: str | None = None,
    ) -> None:
        self._serve = serve
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(1_024)
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self.connections = 0
        self.target = Destination(((int(family), self._listener.getsockname()),), tls_name)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            thread = threading.Thread(target=self._run, args=(sock, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), sock:
            self._serve(sock, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Shutting the listener down ends a blocked accept() on Linux, a visit does elsewhere.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            socket.create_connection(self.target.addresses[0][1][:2], 1.0).close()
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in [self._acceptor, *self._threads]:
            thread.join(5.0)


def read_request(sock: socket.socket) -> bytes:
    """One request, whole; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().rpartition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        more = sock.recv(1 << 20)
        if not more:
            return b""
        body += more
    return body


def answering(*answers: bytes) -> Callable[[socket.socket, int], None]:
    """Serves the answers one after the other, the last one again and again, as long as the client asks."""

    def serve(sock: socket.socket, _number: int) -> None:
        turn = 0
        while read_request(sock):
            sock.sendall(answers[min(turn, len(answers) - 1)])
            turn += 1

    return serve


def silent(sock: socket.socket, _number: int) -> None:
    """Listens to everything and says nothing, until the client goes."""
    while sock.recv(65_536):
        pass


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def request(body: bytes = b'{"model":"reference","stream":true,"messages":[{"role":"user","content":"hi"}]}') -> bytes:
    """A request as bytes."""
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def reference_request(*, stream: bool = True, **wishes: Any) -> bytes:
    """A request to the reference server, with its own schedule and fault."""
    message = {"role": "user", "content": "hi"}
    return request(
        json.dumps({"model": "reference", "stream": stream, "messages": [message], "flperf_reference": wishes}).encode()
    )


def target_of(server: ReferenceServer) -> Destination:
    """The reference server as a target."""
    endpoint = Endpoint.parse(server.base_url)
    return Destination(resolve(endpoint), endpoint.host if endpoint.tls else None)


def deadlines(
    *,
    connect: int = 30 * S,
    headers: int = 30 * S,
    first_token: int = 30 * S,
    stall: int = 30 * S,
    total: int = 120 * S,
) -> Deadlines:
    """Generous deadlines, but for those that are given."""
    return Deadlines(connect, headers, first_token, stall, total)


def plan_of(
    requests: Sequence[bytes],
    *targets: Destination,
    concurrency: int = 1,
    limits: Deadlines | None = None,
    stream: bool = True,
    give_up_after: int = 0,
) -> RequestPlan:
    """A plan that sends these requests; with several targets, to each in turn."""
    entries = tuple(
        Entry(number, Phase.MEASURED, number % len(targets), stream, data) for number, data in enumerate(requests)
    )
    return RequestPlan(targets, limits or deadlines(), concurrency, len(entries), entries, give_up_after)


def played(session: LoadSession, plan: RequestPlan) -> tuple[list[Exchange], PlanStats]:
    """Play a plan; the exchanges in order of their index."""
    exchanges: list[Exchange] = []
    stats = session.play(plan, exchanges.append)
    return sorted(exchanges, key=lambda exchange: exchange.index), stats


def samples(session: LoadSession, plan: RequestPlan) -> list[Sample]:
    """Play a plan and decode what came."""
    return [decode(exchange) for exchange in played(session, plan)[0]]
