"""Server loop: one thread that accepts, reads and sends on schedule."""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import selectors
import ssl
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from pytest_flperf.reference_server.connection import WOULD_BLOCK, Answer, Connection
from pytest_flperf.reference_server.http1 import BadRequestError
from pytest_flperf.reference_server.listening import Listener
from pytest_flperf.reference_server.log import LogEntry, RequestLog
from pytest_flperf.reference_server.mailbox import Mailbox, Poller
from pytest_flperf.reference_server.options import Fault, FaultKind, ReferenceConfig
from pytest_flperf.reference_server.plan import AnswerPlan, Ending, error_plan
from pytest_flperf.reference_server.routes import Chat, Router

__all__ = ["ServerLoop"]

_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE
_SENDS_A_TURN: Final = 64
_TICK_S: Final = 1.0
_DRAIN_NS: Final = 5_000_000_000
_MOST_HELD_BYTES: Final = 1 << 20
_COLLECT_AFTER: Final = 10_000
_MOST_TROUBLES: Final = 20


class ServerLoop:
    """Server loop, runs until :meth:`stop`.

    Only ``stop`` and ``call`` may be used from other threads.
    """

    def __init__(self, config: ReferenceConfig, *, owns_process: bool = False, ends_with_parent: bool = False) -> None:
        """Bind and listen.

        ``owns_process``: collect garbage only when nothing is being sent.  ``ends_with_parent``: stop when the parent
        process changes, which it does when the original one has died.
        """
        self._config = config
        self._owns_process = owns_process
        self._parent: Final = os.getppid() if ends_with_parent else None
        self._log = RequestLog(config.log_file)
        self._router = Router(config, self.entries, self.clear, self._under_way)
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._draining: set[Connection] = set()
        self._heap: list[tuple[int, int, Answer]] = []
        self._order = 0
        self._connected = 0
        self._since_collection = 0
        self._running = True
        self.troubles: deque[str] = deque(maxlen=_MOST_TROUBLES)
        """Tracebacks of what should not have happened; one client's trouble ends only its connection."""
        refuses = config.fault is not None and config.fault.kind is FaultKind.REFUSE
        self._resets = refuses and config.fault is not None and config.fault.reset
        try:
            self._listener = Listener(config, self._selector, self._on_listener)
        except OSError:
            self._selector.close()
            self._log.close()
            raise
        self._mailbox = Mailbox(self._selector)
        self._poller = Poller(self._selector)
        self.port: Final = self._listener.port
        if not refuses or self._resets:
            self._listener.listen()

    # Other threads

    def stop(self) -> None:
        """Stop :meth:`run` soon."""
        self._running = False
        self._mailbox.wake()

    def call(self, function: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """Call ``function`` in the loop's thread, between sends; returns its result."""
        return self._mailbox.call(function, timeout_s)

    # What can be called

    def entries(self) -> list[LogEntry]:
        """Log entries of finished and open requests."""
        answers = [connection.answer for connection in self._connections if connection.answer is not None]
        return self._log.entries(answer for answer in answers if answer.chat is not None)

    def clear(self) -> None:
        """Forget finished requests."""
        self._log.clear()

    def refuse(self) -> None:
        """Close the listener but keep the port: refuses new connections."""
        self._listener.refuse()

    def accept(self) -> None:
        """Listen again."""
        self._resets = False
        self._listener.listen()

    def cpu_s(self) -> float:
        """Processor time of the process, in seconds.

        Of the loop's thread, where other threads share the process.
        """
        return time.process_time() if self._owns_process else time.thread_time()

    def reconfigure(self, config: ReferenceConfig) -> None:
        """Change schedule, fault and models for new requests.

        Address, log file and TLS stay.
        """
        self._router.configure(config)

    # The loop

    def run(self) -> None:
        """Serve until stopped; closes everything at the end."""
        if self._owns_process:
            gc.collect()
            gc.freeze()
            gc.disable()
        try:
            next_tick_ns = 0
            while self._running:
                for key, events in self._wait():
                    try:
                        key.data(events)
                    except Exception:  # noqa: BLE001 (one client's trouble must not end the others' answers)
                        self._trouble(key.data)
                try:
                    self._fire()
                except Exception:  # noqa: BLE001 (as above)
                    self._trouble(heapq.heappop(self._heap)[2] if self._heap else None)
                if time.monotonic_ns() >= next_tick_ns:
                    next_tick_ns = time.monotonic_ns() + round(_TICK_S * 1e9)
                    self._tick()
        finally:
            self._close()

    def _wait(self) -> Iterable[tuple[selectors.SelectorKey, int]]:
        if self._heap:
            return self._poller.wait(min(_TICK_S, max(0.0, (self._heap[0][0] - time.monotonic_ns()) / 1e9)))
        return self._poller.wait(_TICK_S)

    def _fire(self) -> None:
        """Send what is due, a limited number per turn."""
        heap, now_ns, replace = self._heap, time.monotonic_ns, heapq.heapreplace
        for _ in range(_SENDS_A_TURN):
            if not heap:
                return
            due_ns, order, answer = heap[0]
            step = answer.step
            stamp_ns = now_ns()
            if due_ns > stamp_ns:
                return
            if not answer.alive:
                heapq.heappop(heap)
                continue
            piece = answer.pieces[step]
            answer.sent.append(stamp_ns)
            try:
                taken = answer.send(piece)
            except WOULD_BLOCK:
                taken = 0
            except OSError:
                self._drop(answer.connection, "client_closed")
                continue
            if taken != len(piece):
                heapq.heappop(heap)
                self._blocked(answer, piece[taken:])
                continue
            step += 1
            answer.step = step
            if step < answer.steps:
                replace(heap, (answer.base_ns + answer.due_ns[step], order, answer))
            else:
                heapq.heappop(heap)
                self._played(answer)

    def _push(self, answer: Answer) -> None:
        self._order += 1
        heapq.heappush(self._heap, (answer.base_ns + answer.due_ns[answer.step], self._order, answer))

    def _blocked(self, answer: Answer, rest: memoryview) -> None:
        answer.partial.append(len(answer.logged) - 1)
        answer.rest = rest
        self._watch(answer.connection, _READ | _WRITE)

    def _played(self, answer: Answer) -> None:
        """Finish a plan whose sends are all done."""
        connection, ending = answer.connection, answer.plan.ending
        if ending is Ending.HANG:
            return
        if ending is Ending.LOOP:
            answer.repeat()
            self._push(answer)
            return
        self._finish(connection, "complete")
        if ending is Ending.RESET:
            self._forget(connection, reset=True)
        elif ending is Ending.CLOSE:
            connection.shut(tidily="cut" not in "".join(answer.plan.kinds[-1:]))
            connection.draining_until_ns = time.monotonic_ns() + _DRAIN_NS
            self._draining.add(connection)
        elif connection.parser.started:
            self._next_request(connection)

    # Connections

    def _on_listener(self, _events: int) -> None:
        while accepted := self._listener.accept():
            sock, stamped = accepted
            self._connected += 1
            connection = Connection(sock, self._connected, stamped=stamped)
            if self._resets or len(self._connections) >= self._config.max_connections:
                connection.close(reset=True)
                continue
            self._connections.add(connection)
            self._watch(connection, _READ)

    def _watch(self, connection: Connection, events: int) -> None:
        if connection.watched == events:
            return
        if connection.watched:
            self._selector.modify(connection.sock, events, _Handler(self, connection))
        else:
            self._selector.register(connection.sock, events, _Handler(self, connection))
        connection.watched = events

    def on_ready(self, connection: Connection, events: int) -> None:
        """Handle a readable or writable connection."""
        if connection not in self._connections:
            return
        if connection.handshaking and not self._shake_hands(connection):
            return
        if events & _WRITE:
            self._resume(connection)
        if events & _READ:
            self._read(connection)

    def _shake_hands(self, connection: Connection) -> bool:
        try:
            wants_write = connection.shake_hands()
        except (OSError, ValueError):
            self._forget(connection)
            return False
        self._watch(connection, _READ | _WRITE if wants_write else _READ)
        return not connection.handshaking

    def _resume(self, connection: Connection) -> None:
        answer = connection.answer
        if answer is None or answer.rest is None:
            self._watch(connection, _READ)
            return
        try:
            taken = answer.send(answer.rest)
        except WOULD_BLOCK:
            return
        except OSError:
            self._drop(connection, "client_closed")
            return
        answer.rest = answer.rest[taken:]
        if answer.rest:
            return
        answer.rest = None
        self._watch(connection, _READ)
        answer.step += 1
        if answer.step < answer.steps:
            self._push(answer)
        else:
            self._played(answer)

    def _read(self, connection: Connection) -> None:
        while connection in self._connections:
            data = connection.receive()
            if data is None:
                return
            if not data:
                self._drop(connection, "client_closed")
                return
            if not connection.draining_until_ns:
                self._take(connection, data)
            if not isinstance(connection.sock, ssl.SSLSocket):
                return  # what is left is found by the next poll; TLS may hold bytes that no poll tells of

    def _take(self, connection: Connection, data: bytes) -> None:
        if not connection.parser.started:
            connection.first = connection.last
        connection.parser.feed(data)
        if connection.answer is None:
            self._next_request(connection)
        elif connection.parser.held_bytes > _MOST_HELD_BYTES:
            self._drop(connection, "client_closed")

    def _next_request(self, connection: Connection) -> None:
        try:
            request = connection.parser.next_request()
        except BadRequestError as error:
            fault = Fault(FaultKind.HTTP_ERROR, status=error.status, message=error.message)
            self._begin(connection, error_plan(fault, close=True))
            return
        if request is not None:
            self._begin(connection, self._router.answer(request))
        elif connection.parser.continues:
            connection.parser.continues = False
            with contextlib.suppress(OSError):
                connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _under_way(self) -> int:
        """Chats that are being answered."""
        return sum(each.answer is not None and each.answer.chat is not None for each in self._connections)

    def _begin(self, connection: Connection, what: AnswerPlan | Chat) -> None:
        chat, plan = (what, what.plan) if isinstance(what, Chat) else (None, what)
        answer = connection.answer = Answer(connection, plan, chat)
        if answer.steps:
            self._push(answer)
        else:
            self._played(answer)

    def _finish(self, connection: Connection, ended: str) -> None:
        answer, connection.answer = connection.answer, None
        if answer is None:
            return
        self._since_collection += 1
        answer.release(ended, time.monotonic_ns())
        if answer.chat is not None:
            self._log.add(answer)

    def _drop(self, connection: Connection, ended: str) -> None:
        self._finish(connection, ended)
        self._forget(connection)

    def _forget(self, connection: Connection, *, reset: bool = False) -> None:
        if connection.watched:
            self._selector.unregister(connection.sock)
            connection.watched = 0
        self._connections.discard(connection)
        self._draining.discard(connection)
        connection.close(reset=reset)

    # The rest

    def _tick(self) -> None:
        if self._parent is not None and os.getppid() != self._parent:
            self._running = False
        now_ns = time.monotonic_ns()
        for connection in [each for each in self._draining if each.draining_until_ns < now_ns]:
            self._forget(connection)
        self._listener.resume()
        if self._heap:
            return
        self._log.flush()
        if self._owns_process and self._since_collection > _COLLECT_AFTER:
            self._since_collection = 0
            gc.collect()

    def _trouble(self, handler: object) -> None:
        self.troubles.append(traceback.format_exc())
        if isinstance(handler, _Handler) or (isinstance(handler, Answer) and handler.alive):
            self._drop(handler.connection, "server_stopped")

    def _close(self) -> None:
        for connection in list(self._connections):
            self._drop(connection, "server_stopped")
        self._listener.close()
        self._log.close()
        self._mailbox.make_calls()
        self._selector.close()
        self._mailbox.close()
        if self._owns_process:
            gc.enable()
            gc.unfreeze()


class _Handler:
    """Callback of the selector for a connection."""

    __slots__ = ("connection", "loop")

    def __init__(self, loop: ServerLoop, connection: Connection) -> None:
        self.loop = loop
        self.connection = connection

    def __call__(self, events: int) -> None:
        self.loop.on_ready(self.connection, events)
