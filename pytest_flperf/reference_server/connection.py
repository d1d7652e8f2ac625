"""Client connection, and the answer sent on it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final, TypeVar

from pytest_flperf.clock import ANCILLARY_BYTES, kernel_stamp_ns, realtime_minus_monotonic_ns
from pytest_flperf.reference_server.http1 import RequestParser
from pytest_flperf.reference_server.log import LogEntry
from pytest_flperf.reference_server.plan import AnswerPlan, Ending
from pytest_flperf.reference_server.routes import Chat

__all__ = ["WOULD_BLOCK", "Answer", "Arrival", "Connection"]

WOULD_BLOCK: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ_BYTES: Final = 64 << 10
_MOST_LOGGED_SENDS: Final = 200_000
_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)

T = TypeVar("T")


class Arrival:
    """Arrival and read time of received bytes.

    ``arrived_ns`` is the kernel's stamp where there is one.
    """

    __slots__ = ("arrived_ns", "clock", "read_ns")

    def __init__(self, arrived_ns: int, read_ns: int, clock: str) -> None:
        self.arrived_ns = arrived_ns
        self.read_ns = read_ns
        self.clock = clock


class Connection:
    """Client socket."""

    __slots__ = (
        "answer",
        "draining_until_ns",
        "first",
        "handshaking",
        "last",
        "number",
        "parser",
        "sock",
        "stamped",
        "watched",
    )

    def __init__(self, sock: socket.socket, number: int, *, stamped: bool) -> None:
        self.sock = sock
        self.number = number
        self.stamped = stamped
        self.parser = RequestParser()
        self.answer: Answer | None = None
        self.first = self.last = Arrival(0, 0, "user")
        self.handshaking = isinstance(sock, ssl.SSLSocket)
        self.watched = 0
        self.draining_until_ns = 0

    def shake_hands(self) -> bool:
        """Go on with the TLS handshake; returns whether it waits to write.

        ``handshaking`` becomes false where it is over.  Raises OSError or ValueError if it fails.
        """
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            return True
        self.handshaking = False
        return False

    def receive(self) -> bytes | None:
        """Received bytes; empty: closed by the client; None: nothing yet.

        Their arrival is stamped in ``last``.
        """
        stamp_ns = None
        try:
            if self.stamped and sys.platform == "linux":
                data, ancillary, _, _ = self.sock.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
                stamp_ns = kernel_stamp_ns(ancillary)
            else:
                data = self.sock.recv(_READ_BYTES)
        except WOULD_BLOCK:
            return None
        except OSError:
            return b""
        read_ns = time.monotonic_ns()
        if stamp_ns is None:
            self.last = Arrival(read_ns, read_ns, "user")
        else:
            self.last = Arrival(stamp_ns - realtime_minus_monotonic_ns(), read_ns, "kernel")
        return data

    def shut(self, *, tidily: bool) -> None:
        """Send FIN; over TLS, ``tidily`` sends close_notify first.

        A cut connection sends no close_notify.
        """
        if tidily and isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):  # the client's close_notify is not waited for
                self.sock.unwrap()
        with contextlib.suppress(OSError):  # the client was faster
            self.sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Close the socket, with RST if requested."""
        try:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        except OSError:
            pass  # closed by the client already
        finally:
            self.sock.close()


class Answer:
    """Answer in progress: a plan and its position."""

    __slots__ = (
        "alive",
        "base_ns",
        "chat",
        "connection",
        "connection_number",
        "due_ns",
        "ended",
        "ended_ns",
        "first",
        "last",
        "logged",
        "partial",
        "pieces",
        "plan",
        "rest",
        "send",
        "sent",
        "step",
        "steps",
        "unlogged",
    )

    def __init__(self, connection: Connection, plan: AnswerPlan, chat: Chat | None) -> None:
        self.connection = connection
        self.connection_number = connection.number
        self.plan = plan
        self.chat = chat
        self.first, self.last = connection.first, connection.last
        # only a chat is due by the arrival of its request: all else at once
        self.base_ns = self.last.arrived_ns
        self.due_ns: Sequence[int] = plan.due_ns if chat is None else chat.due_ns
        view = memoryview(plan.bytes_for(chat.number, chat.prompt_tokens) if chat else plan.bytes_for(0, 0))
        self.pieces = [view[cut] for cut in plan.cuts]
        self.send = connection.sock.send
        self.sent: list[int] = []
        self.logged = self.sent
        self.unlogged = 0
        self.partial: list[int] = []
        self.rest: memoryview | None = None
        self.step = 0
        self.steps = len(self.pieces)
        self.alive = True
        self.ended = ""
        self.ended_ns = 0

    def repeat(self) -> None:
        """Return to the start of the loop."""
        self.step = self.plan.loop_from
        self.base_ns += self.plan.loop_ns
        if self.sent is not self.logged:
            self.unlogged += len(self.sent)
            self.sent = []
        elif len(self.logged) >= _MOST_LOGGED_SENDS:
            self.sent = []

    def release(self, ended: str, ended_ns: int) -> None:
        """Mark as over: keep only what the log needs."""
        self.alive = False
        self.ended, self.ended_ns = ended, ended_ns
        self.pieces = []
        self.rest = None
        del self.connection, self.send

    def entry(self) -> LogEntry:
        """Log entry; for a chat only."""
        chat, plan = self.chat, self.plan
        if chat is None:
            raise TypeError("only chats are logged")
        sent = tuple(self.logged)
        rounds = max(0, len(sent) - self.steps) // max(1, self.steps - plan.loop_from) + 1
        start_ns = self.last.arrived_ns

        def column(values: Sequence[T]) -> tuple[T, ...]:
            looped = tuple(values[plan.loop_from :]) * rounds if plan.ending is Ending.LOOP else ()
            return (tuple(values) + looped)[: len(sent)]

        due_ns = [start_ns + due for due in self.due_ns]
        if plan.ending is Ending.LOOP:
            due_ns += [due + n * plan.loop_ns for n in range(1, rounds + 1) for due in due_ns[plan.loop_from :]]
        return LogEntry(
            id=f"ref-{chat.number % 10**8:08d}",
            number=chat.number,
            connection=self.connection_number,
            request_id=chat.request_id,
            prompt_head=chat.prompt_head,
            prompt_hash=chat.prompt_hash,
            model=chat.model,
            stream=chat.stream,
            status=plan.status,
            fault=chat.fault,
            clock=self.last.clock,
            first_byte_ns=self.first.arrived_ns,
            last_byte_ns=start_ns,
            read_ns=self.last.read_ns,
            sent_ns=sent,
            due_ns=tuple(due_ns[: len(sent)]),
            bytes=column([cut.stop - cut.start for cut in plan.cuts]),
            kinds=column(plan.kinds),
            chunks=column(plan.chunks),
            partial=tuple(self.partial),
            sends=len(sent) + self.unlogged + (0 if self.sent is self.logged else len(self.sent)),
            ended=self.ended,
            ended_ns=self.ended_ns,
        )
