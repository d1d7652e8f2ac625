"""HTTP framing: found while it arrives and found afterwards, the same."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_flperf.wire.framing import HEAD_LIMIT, Framing, MalformedAnswerError, parse_head, unframe

OK = b"HTTP/1.1 200 OK\r\n"


def said_afterwards(raw: bytes) -> str:
    """What the whole bytes say: open, ended, ends at close, problem."""
    try:
        head = parse_head(raw)
    except MalformedAnswerError:
        return "problem"
    if head is None:
        return "open"
    body = unframe(raw, head)
    if body.problem:
        return "problem"
    if not body.delimited:
        return "until close"
    return "ended" if body.complete else "open"


def said_meanwhile(framing: Framing) -> str:
    """What the incremental framing says."""
    if framing.problem:
        return "problem"
    if framing.ended:
        return "ended"
    return "until close" if framing.at_eof() else "open"


LINE_ENDS = st.sampled_from([b"\r\n", b"\n", b"\r\n", b"\r\n", b"\r"])
HEADS = st.sampled_from(
    [
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        OK + b"Content-Length: 12\r\n\r\n",
        OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5, 5\r\n\r\n",
        OK + b"\r\n",
        b"HTTP/1.0 200 OK\n\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"<html>",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200",
    ]
)


@st.composite
def chunk_bytes(draw: st.DrawFn) -> bytes:
    """A chunk, mostly a sound one."""
    data = draw(st.binary(max_size=40))
    size = draw(st.sampled_from([len(data)] * 6 + [len(data) + 1, 0]))
    line = draw(st.sampled_from([b"%x", b"%X", b" %x ", b"00%x", b"%x;name=value", b"%x", b"%xg", b""]))
    line = line % size if b"%" in line else line
    return line + draw(LINE_ENDS) + data + draw(LINE_ENDS)


BODIES = st.one_of(
    st.binary(max_size=30),
    st.lists(chunk_bytes(), max_size=5)
    .map(b"".join)
    .flatmap(
        lambda chunks: st.sampled_from(
            [b"0\r\n\r\n", b"0\r\nTrailer: a\r\n\r\n", b"0\n\n", b"0\r\n \r\n", b"", b"0\r\n", b"0\r\n\r\nmore"]
        ).map(lambda end: chunks + end)
    ),
)


@given(HEADS, BODIES, st.lists(st.integers(0, 400), max_size=12), st.integers(0, 400))
@example(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n", list(range(80)), 400)
@example(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"5" * 9_000 + b"\r\n", [100, 9_000], 10_000)
@example(OK + b"X: " + b"x" * HEAD_LIMIT + b"\r\n\r\n", b"", [100], 10**6)
def test_framing_agrees_with_unframe_at_every_read(head: bytes, body: bytes, cuts: list[int], length: int) -> None:
    """Split anywhere, the incremental framing ends exactly where the whole bytes are complete or beyond repair."""
    raw = (head + body)[:length]
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(raw)}), len(raw)]
    framing = Framing()
    for start, end in itertools.pairwise(edges):
        if start == end:
            continue
        over = framing.feed(raw[start:end])
        assert said_meanwhile(framing) == said_afterwards(raw[:end])
        assert over == (said_meanwhile(framing) in ("ended", "problem"))
        if over:
            break


@given(st.binary(max_size=200), st.integers(1, 7))
def test_no_bytes_raise_out_of_the_framing(data: bytes, step: int) -> None:
    """Whatever a server sends, framing says something and raises nothing."""
    for begin in (b"", b"HTTP/1.1 200 ", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        framing = Framing()
        raw = begin + data
        for start in range(0, len(raw), step):
            if framing.feed(raw[start : start + step]):
                break
        framing.at_eof()
        assert said_meanwhile(framing) in ("open", "until close", "ended", "problem")


def test_a_giant_head_is_refused_before_it_fills_the_memory() -> None:
    """A head without end is a problem at 64 kB, in one read or in many, interim heads counted in."""
    for raw in (OK + b"X: " + b"x" * 70_000, b"HTTP/1.1 103 Hints\r\n\r\n" * 4_000):
        framing = Framing()
        assert any(framing.feed(raw[start : start + 1_000]) for start in range(0, len(raw), 1_000))
        assert "no end of the response head" in framing.problem
        assert framing.too_large
        with pytest.raises(MalformedAnswerError):
            parse_head(raw)


def test_a_chunk_line_without_end_is_refused() -> None:
    """A chunk's first line of more than 8 kB is no length, in one read or in many."""
    framing = Framing()
    framing.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    assert any(framing.feed(b"0" * 1_000) for _ in range(10))
    assert "length in hex" in framing.problem


def test_trailers_without_end_are_refused() -> None:
    """Trailers of more than 64 kB are too large, in one read or in many."""
    raw = OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 11_000
    framing = Framing()
    assert any(framing.feed(raw[start : start + 1_000]) for start in range(0, len(raw), 1_000))
    assert framing.too_large
    head = parse_head(raw)
    assert head is not None
    assert unframe(raw, head).problem == framing.problem


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "part", "count"),
    [
        (OK + b"X: ", b"y", 60_000),
        (OK, b"X: y\r\n", 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 2_500),
        (b"", b"HTTP/1.1 103\n\n", 4_000),
        (CHUNKED, b"1\r\nx\r\n", 10_000),
        (CHUNKED, b"1;" + b"x" * 8_000 + b"\r\nx\r\n", 8),
        (CHUNKED + b"0\r\n", b"X: y\r\n", 10_000),
    ],
)
def test_byte_by_byte_costs_what_the_bytes_cost(begin: bytes, part: bytes, count: int) -> None:
    """60 kB that come one by one take a fraction of a second of processor time: nothing is looked at again."""
    framing = Framing()
    framing.feed(begin)
    data = part * count
    began = time.process_time()
    over = [framing.feed(data[place : place + 1]) for place in range(len(data))]
    assert time.process_time() - began < 30
    assert not any(over)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Upgrade, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_keep_alive_is_what_the_head_says(head: bytes, *, reusable: bool) -> None:
    """HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 only where told so."""
    parsed = parse_head(head)
    assert parsed is not None
    assert parsed.keep_alive is reusable


def test_bytes_behind_the_end_spoil_the_connection() -> None:
    """What comes behind an answer can't be the next answer's: the connection is not used again."""
    for raw in (OK + b"Content-Length: 1\r\n\r\nab", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"):
        framing = Framing()
        assert framing.feed(raw)
        assert framing.ended
        assert framing.surplus


def test_interim_heads_are_passed_over() -> None:
    """100 and 103 are no answers; the final head's place counts from the first byte."""
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi"
    head = parse_head(raw)
    assert head is not None
    assert (head.status, raw[head.size :]) == (200, b"hi")
