"""Where an answer ends, and what may stand before it, between its events and behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_doubles import DONE, SENT, STOP, chunked, event, exchange, sized, text, until_close

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.sample import Outcome

MS = 1_000_000
ANSWER = (text("a"), text("b"), STOP, DONE)
BEHIND: dict[str, bytes] = {
    "no JSON": b"data: oops\n\n",
    "text": text("c"),
    "an error": b'data: {"error": {"message": "upstream closed"}}\n\n',
    "bare words": b"Error: socket hang up\n",
    "a second end": DONE,
    "another reason": event({}, finish="abort"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_nothing_behind_done_belongs_to_the_answer(name: str) -> None:
    """A proxy's last words change neither the outcome nor a time."""
    for sends in (chunked(*ANSWER, BEHIND[name]), until_close(*ANSWER, BEHIND[name])):
        sample = decode(exchange(sends))
        assert (sample.outcome, sample.output_text, sample.finish_reason) == (Outcome.OK, "ab", "stop")
        assert sample.last_token_ns == SENT + 3 * MS


def test_a_broken_frame_behind_done_breaks_nothing() -> None:
    """The answer had come."""
    sends = [*chunked(*ANSWER)[:-1], b"zz\r\n"]
    sample = decode(exchange(sends, ending=Ending.MALFORMED, detail="a chunk begins with 'zz'"))
    assert sample.outcome is Outcome.OK


def test_counts_behind_done_are_taken() -> None:
    """Some servers send them late."""
    said = event(None, usage={"prompt_tokens": 7, "completion_tokens": 5})
    sample = decode(exchange(chunked(*ANSWER, said)))
    assert (sample.output_tokens, sample.prompt_tokens) == (5, 7)


@pytest.mark.parametrize("before", [b"proxy error: Failed to read connection\n\n", b"data: oops\n\n"])
def test_what_is_wrong_before_done_is_wrong(before: bytes) -> None:
    """The end heals nothing."""
    assert decode(exchange(chunked(text("a"), before, DONE))).outcome is not Outcome.OK


@pytest.mark.parametrize(
    "alive",
    [
        b"data: ping\n\n",
        b"event: ping\ndata: {}\n\n",
        b"event: heartbeat\ndata: keep-alive\n\n",
        b"event: keepalive\ndata: 2024-01-01T00:00:00Z\n\n",
        b"data: heartbeat\n\n",
        b"retry: 3000\n\n",
        b": PROCESSING\n\n",
    ],
)
def test_signs_of_life_are_no_answer(alive: bytes) -> None:
    """Before it, in the middle and at its end."""
    sample = decode(exchange(chunked(alive, text("a"), alive, text("b"), alive, STOP, alive, DONE)))
    assert (sample.outcome, sample.output_text, len(sample.chunk_ns)) == (Outcome.OK, "ab", 2)


@pytest.mark.parametrize("end", [b"data: DONE\n\n", b"data: [done]\n\n", b"data: [DONE] \n\n", b"data:[DONE]"])
def test_other_ends_are_ends(end: bytes) -> None:
    """By other spellings."""
    assert decode(exchange(chunked(text("a"), STOP, end))).outcome is Outcome.OK


WHOLE: dict[str, Any] = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "before", [b"\n" * 100_000, b" \r\n\t" * 500, b"\xef\xbb\xbf\n", b": PROCESSING\n\n: PROCESSING\n\n", b":\n"]
)
@pytest.mark.parametrize("stream", [True, False])
def test_anything_harmless_may_come_before_json(before: bytes, stream: bool) -> None:
    """Blanks of any length and comments keep a connection alive."""
    sample = decode(exchange(sized(before, json.dumps(WHOLE).encode()), stream=stream))
    assert (sample.outcome, sample.output_text) == (Outcome.OK, "hi")


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_success_is_one(status: int) -> None:
    """Streamed or not."""
    assert decode(exchange(sized(*ANSWER, status=status))).outcome is Outcome.OK
    assert decode(exchange(sized(json.dumps(WHOLE).encode(), status=status), stream=False)).outcome is Outcome.OK


def test_a_number_of_a_choice_may_be_of_any_size() -> None:
    """Nothing raises on what no server should send."""
    for index in ("9" * 4_000, '"' + "9" * 5_000 + '"', "1e400", "[[[]]]", "{}", "null", "-1"):
        data = b'data: {"choices": [{"index": %b, "delta": {"content": "a"}}]}\n\n' % index.encode()
        assert decode(exchange(chunked(data, STOP, DONE))).output_text == "a"
