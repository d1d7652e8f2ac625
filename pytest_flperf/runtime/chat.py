"""One chat inside the host, without HTTP: stamped where the runtime hands its chunks over."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from pytest_flperf.runtime.protocol import Answered, Command

__all__ = ["Chat"]

_MOST_CHARACTERS: Final = 8 << 20
"""Of all chunks of one answer: about 35,000 tokens."""
_MOST_OF_AN_ERROR: Final = 2_000
_AGAIN_S: Final = 0.05
_SWITCH_S: Final = 0.0005
"""A thread that packs a finished answer holds up the others' stamps for so long at most (Python's own: 5 ms)."""


class _Stamping:
    """A queue that notes when something is put into it."""

    def __init__(self, queue: Any, stamps_ns: list[int]) -> None:
        self._queue = queue
        self._stamps_ns = stamps_ns

    def put(self, item: Any) -> None:
        self._stamps_ns.append(time.monotonic_ns())
        self._queue.put(item)


def _stamped(session_class: Any) -> Any:
    """A session class that stamps chunks on the thread that makes them.

    Whoever waits for them wakes up to a millisecond later, and for several at once: the runtime keeps the cores busy.
    The SDK hands chunks to the queue in ``_stream_queue``; where it doesn't, they are stamped when they are read.
    """

    class Stamped(session_class):  # type: ignore[misc]
        @property
        def _stream_queue(self) -> Any:
            return self.__dict__.get("flperf_queue")

        @_stream_queue.setter
        def _stream_queue(self, queue: Any) -> None:
            stamps_ns = self.__dict__.setdefault("flperf_stamps_ns", [])
            self.__dict__["flperf_queue"] = None if queue is None else _Stamping(queue, stamps_ns)

    return Stamped


class Chat:
    """A chat that is asked for by a command."""

    def __init__(self, command: Command) -> None:
        """Nothing is asked of the runtime yet."""
        self.command = command
        self._request: Any = None
        self._cancelled = threading.Event()
        self._over = threading.Event()
        self._sent_ns = 0
        self._ended_ns = 0
        self._stamps_ns: list[int] = []
        self._chunks: list[str] = []
        self._usage = ""

    def cancel(self) -> None:
        """Give up; returns when the chat is over.  The runtime forgets a wish that comes before it has begun."""
        self._cancelled.set()
        while not self._over.wait(_AGAIN_S):
            request = self._request
            if request is not None:
                with contextlib.suppress(Exception):
                    request.cancel()

    def answer(self, model: Any) -> Answered:
        """Ask and wait for the end.  A session of its own for each: the web service keeps nothing between requests."""
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
            session_class = _stamped(ChatSession) if streams else ChatSession
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
            tuple(self._stamps_ns),
            tuple(self._chunks),
            self._usage,
            ended_ns,
            error,
        )

    def _stream(self, session: Any, request: Any) -> None:
        session.set_streaming(True)
        with session.process_streaming_request(request) as stream:
            try:
                for text in self._texts(stream):
                    self._chunks.append(text)
                    self._stamps_ns.append(time.monotonic_ns())
            finally:
                self._ended_ns = time.monotonic_ns()
                stamps_ns = session.__dict__.get("flperf_stamps_ns", ())
                if len(stamps_ns) >= len(self._chunks):
                    self._stamps_ns = list(stamps_ns[: len(self._chunks)])
            with stream.final_response as response:
                self._usage = _usage_of(response)

    def _texts(self, stream: Any) -> Iterator[str]:
        left = _MOST_CHARACTERS
        for item in stream:
            text = str(item.text)
            left -= len(text)
            if left < 0:
                raise ValueError(
                    f"the answer is longer than {_MOST_CHARACTERS} characters of JSON: the rest was cut off"
                )
            if self._cancelled.is_set():
                raise ValueError("cancelled")
            yield text

    def _whole(self, session: Any, request: Any) -> None:
        with session.process_request(request) as response:
            self._ended_ns = time.monotonic_ns()
            self._stamps_ns.append(self._ended_ns)
            self._chunks.append(str(response.get_item(0).text)[:_MOST_CHARACTERS])


def _usage_of(response: Any) -> str:
    """The counts as the web service says them, from the whole answer that ends a stream; else those of the SDK."""
    with contextlib.suppress(Exception):
        usage = json.loads(response.get_item(0).text)["usage"]
        if isinstance(usage, dict):
            return json.dumps(usage)
    with contextlib.suppress(Exception):
        counts = response.get_usage()
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        return json.dumps({name: int(getattr(counts, name)) for name in names})
    return ""
