"""How far an answer has come that still streams: as decoding says it, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire_doubles import CHUNKED, DONE, UNTIL_CLOSE, chunk, event, text

from pytest_flperf.wire.framing import HEAD_LIMIT, Framing, parse_head
from pytest_flperf.wire.progress import TextProgress
from pytest_flperf.wire.sse import Events

FOREVER = 1 << 62
EVENTS = st.sampled_from(
    [
        text("a"),
        text("a long piece of text" * 20),
        event({"role": "assistant", "content": ""}),
        event({"reasoning_content": "hm"}),
        b": keep-alive\n\n",
        b"data: {}\n\n",
        b"data: {\ndata: }\n\n",
        b'data: {"choices":[{"delta":\ndata: {"content":"two lines"}}]}\n\n',
        b"data:" + text("no space")[6:],
        b"data: no json\n\n",
        b"id: 3\n\n",
        DONE,
    ]
)


def cut(raw: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The bytes as reads of these sizes, over and over."""
    parts, at = [], 0
    while at < len(raw):
        for size in sizes:
            parts.append(raw[at : at + size])
            at += size
    return [part for part in parts if part]


def progress_of(raw: bytes) -> TextProgress:
    """Of an answer whose head is whole."""
    head = parse_head(raw)
    assert head is not None
    return TextProgress(head)


@given(
    st.lists(EVENTS, max_size=12), st.lists(st.integers(1, 400), min_size=1, max_size=8), st.booleans(), st.booleans()
)
@example([text("a"), b": keep-alive\n\n"], [1], True, True)
def test_the_last_text_is_where_decoding_finds_it(
    events: list[bytes], sizes: list[int], in_chunks: bool, carriage_returns: bool
) -> None:
    """However the reads cut it, in chunks or not, looked at whole or after every read."""
    if carriage_returns:
        events = [each.replace(b"\n", b"\r\n") for each in events]
    raw = b"".join([CHUNKED, *map(chunk, events)] if in_chunks else [UNTIL_CLOSE, *events])
    parts = cut(raw, sizes)
    has_text = [
        b'"content": "a' in each or b'"hm"' in each or b"two lines" in each or b"no space" in each for each in events
    ]
    expected = None
    if any(has_text):
        last = max(number for number, each in enumerate(has_text) if each)
        written = (len(CHUNKED) if in_chunks else len(UNTIL_CLOSE)) + sum(
            len(chunk(each) if in_chunks else each) for each in events[:last]
        )
        body = list(Events(events[last]))[-1].end
        offset = written + body + (len(b"%x\r\n" % len(events[last])) if in_chunks else 0)
        ends = [sum(map(len, parts[: number + 1])) for number in range(len(parts))]
        expected = next(number for number, end in enumerate(ends) if end > offset)
    # A carriage return ends a line; whether a line feed belongs to it, the next read says.
    either = (expected, expected + 1) if expected is not None and carriage_returns else (expected,)
    at_once, by_and_by = progress_of(raw), progress_of(raw)
    assert at_once.look(parts, FOREVER)
    assert at_once.last_part in either
    for count in range(len(parts) + 1):
        assert by_and_by.look(parts[:count], FOREVER)
    assert by_and_by.last_part in either


def test_a_look_goes_on_where_the_last_one_stopped() -> None:
    """Without time a look takes one piece; the rest is left for the next turns, and nothing is read twice."""

    class Counted(list[bytes]):
        taken = 0

        def __getitem__(self, number: int) -> bytes:  # type: ignore[override]
            self.taken += 1
            return super().__getitem__(number)

    parts = Counted(
        [CHUNKED, *(chunk(text("a")) for _ in range(500)), *(chunk(b": still here\n\n") for _ in range(500))]
    )
    progress = progress_of(CHUNKED)
    looks = 1
    while not progress.look(parts, 0):
        looks += 1
    assert looks >= len(parts) - 1
    assert progress.last_part == 500
    assert parts.taken <= len(parts) + 1
    parts.append(chunk(text("b")))
    assert progress.look(parts, FOREVER)
    assert progress.last_part == len(parts) - 1
    assert parts.taken <= len(parts) + 2


@pytest.mark.parametrize("size", [70_000, 8_000_000])
def test_a_huge_event_is_text_and_costs_nothing(size: int) -> None:
    """What takes longer to decode than the others can wait counts as text, on one line or on thousands."""
    one_line = UNTIL_CLOSE + b"data: " + b"x" * size + b"\n\n"
    lines = UNTIL_CLOSE + b"data: xxxxxxxxxx\n" * (size // 17) + b"\n"
    for raw in (one_line, lines):
        parts = cut(raw, [65_536])
        progress = progress_of(raw)
        began = time.process_time()
        assert progress.look(parts, FOREVER)
        assert progress.last_part is not None
        assert time.process_time() - began < 30


def test_a_head_byte_by_byte_costs_no_more_than_its_length() -> None:
    """It is parsed when it may be whole and not for each of its bytes; garbage is refused at once all the same."""
    framing, head = Framing(), b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * (HEAD_LIMIT - 100) + b"\r\n\r\n"
    began = time.process_time()
    for at in range(len(head)):
        assert not framing.feed(head[at : at + 1])
    assert framing.head is not None
    assert time.process_time() - began < 30
    framing = Framing()
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not framing.feed(interim)
    assert framing.feed(b"X")
    assert "not an HTTP/1.x answer" in framing.problem


@pytest.mark.parametrize(
    "line", [b"data: " + b"x" * 60_000 + b"\n\n", b": x\r\n" * 12_000, b"x" * 60_000, b"\r" * 60_000]
)
def test_byte_by_byte_costs_what_the_bytes_cost(line: bytes) -> None:
    """A line that comes byte by byte, and is looked at after each, is not looked at from its beginning."""
    raw = UNTIL_CLOSE + line
    progress, so_far = progress_of(raw), list[bytes]()
    began = time.process_time()
    for part in cut(raw, [1]):
        so_far.append(part)
        assert progress.look(so_far, FOREVER)
    assert time.process_time() - began < 30
