"""Native chat in the runtime host, without HTTP.

Chunks are stamped where the runtime hands them over.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from typing import Any, Final, Self

from pytest_flperf.foundry_host.protocol import Answered, Command

__all__ = ["Chat"]

_MOST_CHARACTERS: Final = 7 << 20
"""Limit for all chunks of an answer, about 30,000 tokens; a message to the parent holds twice as many, for escapes."""
_QUOTED: Final = 6
"""Length of a non-ASCII character in a message."""
_MOST_OF_AN_ERROR: Final = 2_000
_AGAIN_S: Final = 0.05
_SWITCH_S: Final = 0.0005
"""Longest time that a thread packing a finished answer delays other stamps (Python's default: 5 ms)."""


class _Chunks:
    """Chunk queue that stamps chunks in the thread that makes them.

    It replaces the queue of the SDK's session.  No thread is woken before the end: a waiting thread needs a core and
    Python's lock, and so does the runtime.
    """

    def __init__(self) -> None:
        self.stamps_ns: list[int] = []
        self.texts: list[str] = []
        self._left = _MOST_CHARACTERS
        self._queue: Any = None

    def put_into(self, queue: Any) -> Self | None:
        self._queue = queue
        return None if queue is None else self

    def put(self, item: Any) -> None:
        """Called by the session; a non-text item is an error.

        An error ends the stream.
        """
        if not self.keep(item) and self._queue is not None:
            self._queue.put(item)

    def keep(self, item: Any) -> bool:
        """Keep a chunk; False if it isn't one."""
        now_ns = time.monotonic_ns()
        text = getattr(item, "text", None)
        if not isinstance(text, str):
            return False
        self._left -= len(text) * (1 if text.isascii() else _QUOTED)
        if self._left < 0:
            raise ValueError(f"the answer's JSON is longer than {_MOST_CHARACTERS} characters: cut off there")
        self.stamps_ns.append(now_ns)
        self.texts.append(text)
        return True


def _keeping(session_class: Any, chunks: _Chunks) -> Any:
    """Session class that puts chunks into ``chunks``.

    If the SDK has changed, they come out of the stream instead.
    """

    class Keeping(session_class):  # type: ignore[misc]
        @property
        def _stream_queue(self) -> Any:
            return self.__dict__.get("flperf_queue")

        @_stream_queue.setter
        def _stream_queue(self, queue: Any) -> None:
            self.__dict__["flperf_queue"] = chunks.put_into(queue)

    return Keeping


class Chat:
    """One chat of a command."""

    def __init__(self, command: Command) -> None:
        """Keep the command; nothing is sent to the runtime yet."""
        self.command = command
        self._request: Any = None
        self._over = threading.Event()
        self._sent_ns = 0
        self._ended_ns = 0
        self._chunks = _Chunks()
        self._usage = ""

    def cancel(self) -> None:
        """Cancel the chat, and wait until it is over.

        Repeats the request: the runtime forgets one that comes before the chat has begun.
        """
        while not self._over.wait(_AGAIN_S):
            request = self._request
            if request is not None:
                with contextlib.suppress(Exception):
                    request.cancel()

    def answer(self, model: Any) -> Answered:
        """Run the chat and wait for its end.

        Each chat has its own session: the web service keeps nothing between requests.
        """
        from foundry_local_sdk.items import TextItem, TextItemType
        from foundry_local_sdk.request import Request
        from foundry_local_sdk.session import ChatSession

        sys.setswitchinterval(_SWITCH_S)
        body = self.command.body or ""
        error = ""
        try:
            values = json.loads(body)
            streams = bool(values.get("stream"))
            item = TextItem(body, TextItemType.OPENAI_JSON)
            session_class = _keeping(ChatSession, self._chunks) if streams else ChatSession
            self._sent_ns = time.monotonic_ns()
            with session_class(model) as session, Request() as request:
                self._request = request
                request.add_item(item)
                if streams:
                    self._stream(session, request)
                else:
                    self._whole(session, request)
        except Exception as problem:  # noqa: BLE001 - it is part of the answer
            error = str(problem)[:_MOST_OF_AN_ERROR] or type(problem).__name__
        finally:
            self._request = None
            self._over.set()
        ended_ns = self._ended_ns or time.monotonic_ns()
        return Answered(
            self.command.id,
            self._sent_ns or ended_ns,
            tuple(self._chunks.stamps_ns),
            tuple(self._chunks.texts),
            self._usage,
            ended_ns,
            error,
        )

    def _stream(self, session: Any, request: Any) -> None:
        session.set_streaming(True)
        with session.process_streaming_request(request) as stream:
            try:
                for item in stream:
                    self._chunks.keep(item)
            finally:
                self._ended_ns = time.monotonic_ns()
            with stream.final_response as response:
                self._usage = _usage_of(response)

    def _whole(self, session: Any, request: Any) -> None:
        with session.process_request(request) as response:
            self._ended_ns = time.monotonic_ns()
            self._chunks.keep(response.get_item(0))


def _usage_of(response: Any) -> str:
    """Usage as the web service reports it, else the SDK's.

    It comes from the whole answer that ends a stream.
    """
    with contextlib.suppress(Exception):
        usage = json.loads(response.get_item(0).text)["usage"]
        if isinstance(usage, dict):
            return json.dumps(usage)
    with contextlib.suppress(Exception):
        counts = response.get_usage()
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        return json.dumps({name: int(getattr(counts, name)) for name in names})
    return ""
