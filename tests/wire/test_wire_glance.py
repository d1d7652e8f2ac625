"""Glance: the first token and the count of an answer, beside what the decoder says of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import DONE, STOP, chunked, event, exchange, sized, text, until_close

from pytest_flperf.stats.descriptive.request_metrics import request_metrics
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.glance import glance

Frame = Callable[..., list[bytes]]
FRAMES = st.sampled_from([chunked, until_close, sized])
ROLE = event({"role": "assistant", "content": ""})
USAGE = event(usage={"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10})
PIECES = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20)


@given(FRAMES, PIECES, st.integers(0, 3), st.booleans(), st.booleans())
def test_as_the_decoder(frame: Frame, pieces: Sequence[str], empty: int, is_reasoning: bool, counted: bool) -> None:
    """The same first token, also after events without text, also of reasoning; the server's count, or its events."""
    kind = "reasoning_content" if is_reasoning else "content"
    texts = [event({kind: piece}) for piece in pieces]
    answer = exchange(frame(*[ROLE] * empty, *texts, STOP, *[USAGE] * counted, DONE))
    seen = glance(answer)
    assert seen is not None
    assert seen.ttft_ms == request_metrics(decode(answer))["ttft_ms"]
    assert seen.tokens == (7 if counted else len(pieces))
    assert seen.seconds > 0


def test_of_an_open_loop() -> None:
    """From when it was due."""
    answer = exchange(chunked(text("a"), STOP, DONE))
    assert answer.sent_ns is not None
    late = replace(answer, due_ns=answer.sent_ns - 5_000_000)
    seen, before = glance(late), glance(answer)
    assert seen is not None
    assert before is not None
    assert seen.ttft_ms == pytest.approx((before.ttft_ms or 0.0) + 5)


def test_without_streaming() -> None:
    """A count, and no first token."""
    body = b'{"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}],"usage":{"completion_tokens": 12}}'
    seen = glance(exchange(sized(body, kind="application/json"), stream=False))
    assert seen is not None
    assert (seen.ttft_ms, seen.tokens) == (None, 12)


@pytest.mark.parametrize(
    "answer",
    [
        exchange(sized(b"no", status=500)),
        exchange(chunked(text("a")), ending=Ending.CONNECTION_LOST),
        exchange([b""]),
        replace(exchange(chunked(text("a"), STOP, DONE)), sent_ns=None),
    ],
)
def test_no_answer(answer: object) -> None:
    """What failed is no answer."""
    assert glance(answer) is None  # type: ignore[arg-type]


@given(st.lists(st.sampled_from([ROLE, STOP, DONE, USAGE, b"data: {", b"\n", b"data:\n\n", b"\xff", b": x\n"])
                | st.binary(max_size=30), max_size=30), st.booleans())  # fmt: skip
def test_anything(parts: list[bytes], stream: bool) -> None:
    """Whatever comes: numbers or none, and never an exception."""
    seen = glance(exchange([b"HTTP/1.1 200 OK\r\n\r\n", *parts], stream=stream))
    assert seen is not None
    assert seen.tokens is None or seen.tokens >= 0
