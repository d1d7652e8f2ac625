"""Requests are understood however they are cut, and hostile ones harm nobody."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_client import QUESTION, ask, request_bytes

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer
from pytest_flperf.reference_server.http1 import BadRequestError, Request, RequestParser

Serve = Callable[..., ReferenceServer]
SIMPLE = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
SIZED = b"POST /a?b=c HTTP/1.1\r\nContent-Length: 5\r\nX-Two:  a b \r\n\r\nhello"
CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
    b"\r\n" + SIMPLE
)
OLD = b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"
BAD = b"GET  / HTTP/1.1\r\n\r\n"
SAMPLES = {"simple": SIMPLE, "sized": SIZED, "chunked": CHUNKED, "old": OLD, "two": SIZED + CHUNKED, "bad": OLD + BAD}


def parse(pieces: Sequence[bytes]) -> list[Request | tuple[int, str]]:
    """All requests in some pieces; at the end maybe why there are no more."""
    parser = RequestParser()
    found: list[Request | tuple[int, str]] = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while request := parser.next_request():
                found.append(request)
        except BadRequestError as error:
            return [*found, (error.status, error.message)]
    return found


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data, cut at these places."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", SAMPLES)
def test_cut_at_every_byte(name: str) -> None:
    """Every request is the same cut in two at any byte, and byte by byte."""
    data = SAMPLES[name]
    whole = parse([data])
    assert whole
    for place in range(len(data) + 1):
        assert parse(cut(data, [place])) == whole
    assert parse([data[n : n + 1] for n in range(len(data))]) == whole


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_cut_anywhere(name: str, data: st.DataObject) -> None:
    """Every request is the same however often it is cut."""
    sample = SAMPLES[name]
    places = data.draw(st.lists(st.integers(0, len(sample)), max_size=20))
    assert parse(cut(sample, places)) == parse([sample])


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n", b"\r\n\r\n", *SAMPLES.values()])), max_size=8)
)
def test_anything_at_all(pieces: list[bytes]) -> None:
    """Nothing that is sent raises anything but a refusal."""
    for each in parse(pieces):
        assert isinstance(each, Request) or 400 <= each[0] < 600


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=10))
def test_chunked_bodies_come_out_whole(body: bytes, sizes: list[int]) -> None:
    """A body in chunks of any sizes is put together again."""
    data, rest = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", body
    for size in [*sizes, len(body) + 1]:
        piece, rest = rest[:size], rest[size:]
        data += b"%X\r\n%b\r\n" % (len(piece), piece) if piece else b""
    (request,) = parse([data + b"0\r\n\r\n"])
    assert isinstance(request, Request)
    assert request.body == body


def test_what_is_in_a_request() -> None:
    """Method, path, headers, body and the wish to keep the connection."""
    (request,) = parse([SIZED])
    assert isinstance(request, Request)
    assert (request.method, request.path, request.target, request.body) == ("POST", "/a", "/a?b=c", b"hello")
    assert request.headers["x-two"] == "a b"
    assert request.keep_alive
    (old,) = parse([OLD])
    assert isinstance(old, Request)
    assert old.keep_alive
    (closing,) = parse([b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"])
    assert isinstance(closing, Request)
    assert not closing.keep_alive


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (BAD, 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 67108865\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4000001\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 2000, 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_requests_that_are_none(serve: Serve, data: bytes, status: int) -> None:
    """Each is answered with its status and JSON, the connection ends, and the server goes on."""
    server = serve()
    answer = ask(server.port, data)
    assert answer.status == status
    assert json.loads(answer.body)["error"]["message"]
    assert answer.headers["connection"] == "close"
    assert ask(server.port, QUESTION).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models?x=y", 200),
        ("POST", "/v1/models", 405),
        ("DELETE", "/health", 405),
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/flperf/log", 405),
        ("HEAD", "/v1/models", 405),
        ("GET", "/v1/completions", 404),
        ("GET", "/", 404),
        ("GET", "/%00" * 300, 404),
    ],
)
def test_paths_and_methods(serve: Serve, method: str, path: str, status: int) -> None:
    """Known paths answer to their methods, others to none."""
    client = http.client.HTTPConnection("127.0.0.1", serve().port, timeout=120)
    client.request(method, path)
    response = client.getresponse()
    body = response.read()
    client.close()
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    assert ("Allow" in response.headers) == (status == 405)
    assert method == "HEAD" or json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"n": ' + b"9" * 5000 + b"}",
        json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode(),
        json.dumps(QUESTION | {"model": 3}).encode(),
        json.dumps(QUESTION | {"messages": []}).encode(),
        json.dumps(QUESTION | {"messages": "hello"}).encode(),
        json.dumps(QUESTION | {"messages": [3, None, {"content": []}]}).encode(),
        json.dumps(QUESTION | {"stream": "yes"}).encode(),
        json.dumps(QUESTION | {"max_tokens": 0}).encode(),
        json.dumps(QUESTION | {"max_tokens": 1.5}).encode(),
        json.dumps(QUESTION | {"max_tokens": True}).encode(),
    ],
)
def test_bodies_that_are_no_chat(serve: Serve, body: bytes) -> None:
    """Each is a 400 with JSON, is in the log, and the connection goes on."""
    server = serve()
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    for _ in range(2):
        client.request("POST", "/v1/chat/completions", body)
        response = client.getresponse()
        assert response.status == 400
        assert json.load(response)["error"]["message"]
    client.close()
    assert [entry.status for entry in server.log] == [400, 400]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "\ud800",
        "\U0001f600\u0000\u2028" * 1000,
        [{"type": "text", "text": "a"}, {"type": "text", "text": 3}, {"type": "image_url"}, None],
        {"not": "a text"},
    ],
)
def test_prompts_of_all_kinds(serve: Serve, content: Any) -> None:
    """Whatever a prompt is, it is answered and logged."""
    server = serve()
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": content}, {"role": "assistant"}]
    assert ask(server.port, QUESTION | {"messages": messages}).finish_reasons == ["stop"]
    expected = "a" if isinstance(content, list) else content if isinstance(content, str) else ""
    assert server.log[0].prompt_head == expected[:64]


def test_a_large_body(serve: Serve) -> None:
    """Megabytes are taken in."""
    server = serve()
    question = QUESTION | {"messages": [{"role": "user", "content": "y" * (8 << 20)}], "stream": False}
    answer = ask(server.port, question)
    assert json.loads(answer.body)["usage"]["prompt_tokens"] == 2 << 20
    assert server.log[0].prompt_head == "y" * 64


def test_continue_is_said_once(serve: Serve) -> None:
    """A client that waits for 100 Continue gets it before it sends its body."""
    head, _, body = request_bytes(QUESTION, headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", serve().port), timeout=120) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_requests_in_a_row(serve: Serve) -> None:
    """Requests that come before the answer to the first are answered after it; too many bytes end it all."""
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as sock:
        sock.sendall(request_bytes(QUESTION) * 3)
        received = b""
        while received.count(b"0\r\n\r\n") < 3:
            received += sock.recv(65536)
    assert [received.index(b"ref-%08d" % n) for n in (1, 2, 3)] == sorted(
        received.index(b"ref-%08d" % n) for n in (1, 2, 3)
    )
    hanging = request_bytes(QUESTION | {"flperf_reference": {"fault": "hang_before_headers"}})
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as sock:
        sock.sendall(hanging)
        with pytest.raises(ConnectionError):
            sock.sendall(b"x" * (64 << 20))


def test_too_many_connections(serve: Serve) -> None:
    """Connections beyond the limit are reset, and the others are served."""
    server = serve(ReferenceConfig(max_connections=2))
    with socket.create_connection(("127.0.0.1", server.port)), socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server.port, SIMPLE).reset
