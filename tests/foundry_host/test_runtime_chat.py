"""A chat in the host, with doubles of the SDK's session, written from its source, that do what it seldom does."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from pytest_flperf.foundry_host import chat as chat_module
from pytest_flperf.foundry_host.chat import Chat
from pytest_flperf.foundry_host.protocol import MAX_LINE_BYTES, Answered, Command, Verb, encode

pytest.importorskip("foundry_local_sdk")
_END = object()


class Item:
    """A chunk."""

    def __init__(self, text: str) -> None:
        self.text = text


class Response:
    """What ends a stream; without counts in its JSON, so that the SDK's own are taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def get_item(self, index: int) -> Item:
        """The whole answer."""
        del index
        return Item("{}")

    def get_usage(self) -> Any:
        """The SDK's counts."""
        return type("Usage", (), {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})


class Session:
    """A session that hands its chunks to ``_stream_queue``, or (``itself``) keeps them."""

    itself = False
    make: Callable[[], Iterator[Any]]

    def __init__(self, model: object) -> None:
        del model
        self._stream_queue: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def set_streaming(self, enabled: bool) -> None:
        """As it is wanted."""
        assert enabled

    def process_streaming_request(self, request: object) -> Stream:
        """Begin."""
        return Stream(self, request)


class Stream:
    """The SDK's: a thread puts chunks where the session says, and the end into a queue of its own."""

    final_response = Response()

    def __init__(self, session: Session, request: Any) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        session._stream_queue = self._queue
        target = self._queue if session.itself else session._stream_queue

        def run() -> None:
            try:
                for item in type(session).make():
                    target.put(item)
            except ValueError as error:
                target.put(error)
            self._queue.put(_END)

        del request
        threading.Thread(target=run, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def __iter__(self) -> Iterator[Any]:
        while (found := self._queue.get()) is not _END:
            if isinstance(found, Exception):
                raise found
            yield found


def answer(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Iterator[Any]], *, itself: bool = False) -> Answered:
    """The answer of a session that makes these items."""
    session = type("Made", (Session,), {"make": staticmethod(make), "itself": itself})
    monkeypatch.setattr("foundry_local_sdk.session.ChatSession", session)
    monkeypatch.setattr("sys.setswitchinterval", lambda _: None)
    return Chat(Command(1, Verb.CHAT, "m:1", json.dumps({"stream": True}))).answer(None)


@pytest.mark.parametrize("itself", [False, True])
def test_wherever_the_sdk_puts_chunks(monkeypatch: pytest.MonkeyPatch, itself: bool) -> None:
    """They are kept in order with their stamps, also by an SDK that has changed; the SDK's own counts will do."""
    found = answer(monkeypatch, lambda: iter([Item("a"), Item("b")]), itself=itself)
    assert found.chunks == ("a", "b")
    assert found.sent_ns <= found.stamps_ns[0] <= found.stamps_ns[1] <= found.ended_ns
    assert json.loads(found.usage) == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert found.error == ""


@pytest.mark.parametrize("itself", [False, True])
def test_what_is_no_text(monkeypatch: pytest.MonkeyPatch, itself: bool) -> None:
    """An item of another kind is passed over; an error in the middle ends the answer and leaves what had come."""
    found = answer(monkeypatch, lambda: iter([Item("a"), object(), ValueError("broken"), Item("b")]), itself=itself)
    assert found.error == "broken"
    assert found.chunks[:1] == ("a",)
    assert found.usage == ""


@pytest.mark.parametrize("text", ['"' * 999, "é" * 999])
def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """It is cut off where a message to the parent could not hold more, and says so."""
    monkeypatch.setattr(chat_module, "_MOST_CHARACTERS", 70_000)

    def endless() -> Iterator[Item]:
        while True:
            yield Item(text)

    found = answer(monkeypatch, endless)
    assert "longer than 70000 characters" in found.error
    assert 1000 < len(encode(found)) < 70_000 * MAX_LINE_BYTES / (7 << 20)


def test_a_body_that_is_none() -> None:
    """What can't be read is the answer's error."""
    found = Chat(Command(1, Verb.CHAT, "m:1", "nonsense")).answer(None)
    assert found.error
    assert found.chunks == ()
