"""Reasoning tokens: the server's count, else the share of chunks that held reasoning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from wire_doubles import DONE, STOP, chunked, event, exchange, text

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.sample import Outcome

THOUGHTS = [event({"reasoning_content": "hm "})] * 6
ANSWER = [text("yes "), text("it is")]
TAGGED = [text("<think>"), text("a "), text("b "), text("c</think>"), text("yes "), text("no "), text("or "), text("x")]


def use(output: int, **details: Any) -> bytes:
    """A usage object at the end."""
    return event(
        None, usage={"prompt_tokens": 9, "completion_tokens": output, "completion_tokens_details": details or None}
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*THOUGHTS, *ANSWER, STOP, use(8, reasoning_tokens=5)], (8, 5, "usage")),
        ([*THOUGHTS, *ANSWER, STOP, use(16)], (16, 12, "chunks")),
        ([*THOUGHTS, *ANSWER, STOP, use(16, reasoning_tokens=0)], (16, 12, "chunks")),
        ([*THOUGHTS, *ANSWER, STOP], (8, 6, "chunks")),
        ([*THOUGHTS, STOP, use(12)], (12, 12, "chunks")),
        ([*TAGGED, STOP, use(8)], (8, 4, "chunks")),
        ([*TAGGED[:4], STOP], (4, 4, "chunks")),
        ([*ANSWER, STOP, use(2)], (2, None, None)),
        ([*ANSWER, STOP, use(7, reasoning_tokens=5)], (7, 5, "usage")),
        # an answer that begins before its reasoning: the chunks of both can't be told apart
        ([text("Well <think>"), text("hm</think>"), text("yes"), STOP, use(9)], (9, None, None)),
    ],
)
def test_counts(events: list[bytes], expected: tuple[int, int | None, str | None]) -> None:
    """Output tokens, reasoning tokens and where these are from."""
    sample = decode(exchange(chunked(*events, DONE)))
    assert (sample.output_tokens, sample.reasoning_tokens, sample.reasoning_tokens_source) == expected


def test_switched_off() -> None:
    """Tags that are no reasoning are none of its tokens."""
    sample = decode(replace(exchange(chunked(*TAGGED, STOP, use(8), DONE)), reasoning_tags=False))
    assert (sample.reasoning_tokens, sample.reasoning_tokens_source) == (None, None)


def test_an_answer_that_was_cut() -> None:
    """Failed, and what it used is known all the same: it is paid for."""
    sample = decode(exchange(chunked(*THOUGHTS, event({}, finish="content_filter"), use(6, reasoning_tokens=6), DONE)))
    assert sample.outcome is Outcome.TRUNCATED
    assert (sample.output_tokens, sample.reasoning_tokens, sample.tokens_source) == (6, 6, "usage")


def test_a_count_of_something_else() -> None:
    """Fewer tokens than words: how many of them were reasoning can't be told."""
    sample = decode(exchange(chunked(*THOUGHTS, *ANSWER, STOP, use(2), DONE)))
    assert (sample.reasoning_tokens, sample.reasoning_tokens_source) == (None, None)
