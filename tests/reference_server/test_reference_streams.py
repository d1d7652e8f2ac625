"""The reference server's answers, as clients see them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI
from raw_client import QUESTION, Answer, ask, request_bytes

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

Serve = Callable[..., ReferenceServer]
WITH_USAGE = QUESTION | {"stream_options": {"include_usage": True}}
NUMBERED = "000 001 002 003 004 005 006 007 "


@pytest.mark.parametrize("line_end", ["lf", "crlf"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_every_framing_carries_the_same_stream(serve: Serve, framing: str, line_end: str) -> None:
    """Chunked, length-delimited and close-delimited streams hold the same events."""
    server = serve(framing=framing, line_end=line_end)
    answer = ask(server.port, QUESTION)
    assert answer.complete
    assert answer.status == 200
    assert answer.text == NUMBERED
    assert answer.data[-1] == "[DONE]"
    assert answer.finish_reasons == ["stop"]
    assert answer.head.startswith("HTTP/1.0" if framing == "close" else "HTTP/1.1")
    assert (b"\r\n\r\n" in answer.body) == (line_end == "crlf")


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_every_framing_carries_the_same_body(serve: Serve, framing: str) -> None:
    """An answer that doesn't stream is the same however it is framed, and has usage unasked."""
    server = serve(body_framing=framing)
    answer = ask(server.port, QUESTION | {"stream": False})
    assert answer.complete
    body = json.loads(answer.body)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": NUMBERED}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == 8
    assert body["usage"]["total_tokens"] == 8 + body["usage"]["prompt_tokens"]


def test_an_old_client_is_answered_without_chunks(serve: Serve) -> None:
    """HTTP/1.0 knows no chunked encoding, so the connection's end delimits the body."""
    answer = ask(serve().port, request_bytes(QUESTION, version="1.0"))
    assert answer.complete
    assert "transfer-encoding" not in answer.headers
    assert answer.text == NUMBERED


def test_connections_are_kept(serve: Serve) -> None:
    """Several requests, streamed and not, go through one connection."""
    server = serve()
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    for number in range(1, 7):
        client.request("POST", "/v1/chat/completions", json.dumps(QUESTION | {"stream": bool(number % 2)}))
        response = client.getresponse()
        assert f"ref-{number:08d}".encode() in response.read()
    client.close()
    assert {entry.connection for entry in server.log} == {1}
    assert [entry.number for entry in server.log] == [1, 2, 3, 4, 5, 6]


def test_the_openai_client_understands_it(serve: Serve) -> None:
    """The client that everything here is measured with reads models, streams and whole answers."""
    server = serve()
    with OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        assert client.models.list().data[0].id == "reference"
        messages: Any = [{"role": "user", "content": "Hello"}]
        with client.chat.completions.create(
            model="reference", messages=messages, stream=True, stream_options={"include_usage": True}
        ) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == NUMBERED
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 8
        whole = client.chat.completions.create(
            model="reference", messages=messages, max_tokens=3, extra_body={"flperf_reference": {"text": "déjà vu"}}
        )
        assert whole.choices[0].message.content == "déjà vudéjà "[:12]
        assert whole.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("role_chunk", "head", "first"),
    [
        ("early", "early", "head+role"),
        ("early", "with_first", "head+role"),
        ("with_first", "early", "head"),
        ("with_first", "with_first", "head+role+text"),
        ("every", "with_first", "head+text"),
        ("none", "early", "head"),
    ],
)
def test_role_chunks(serve: Serve, role_chunk: str, head: str, first: str) -> None:
    """The role comes at once, with the first text, in every chunk, or never."""
    server = serve(role_chunk=role_chunk, head=head)
    answer = ask(server.port, QUESTION)
    roles = sum("role" in delta for delta in answer.deltas)
    assert roles == {"early": 1, "with_first": 1, "every": 8, "none": 0}[role_chunk]
    (entry,) = server.log
    assert entry.kinds[0] == first
    assert answer.text == NUMBERED


@pytest.mark.parametrize("place", ["extra_chunk", "finish_chunk", "empty_delta", "absent", "zeros"])
def test_usage_stands_where_it_is_told(serve: Serve, place: str) -> None:
    """Usage has the right counts in the right chunk, and only when it was asked for."""
    server = serve(usage=place, usage_null_elsewhere=True, reasoning_tokens=3, cached_tokens=7)
    answer = ask(server.port, WITH_USAGE)
    found = [chunk for chunk in answer.chunks if chunk.get("usage")]
    assert len(found) == (place != "absent")
    assert all("usage" in chunk for chunk in answer.chunks if chunk not in found)
    if place == "zeros":
        assert set(found[0]["usage"].values()) == {0}
    elif found:
        assert found[0]["usage"]["completion_tokens"] == 11
        assert found[0]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
        assert found[0]["usage"]["prompt_tokens_details"]["cached_tokens"] == 7
    if place in ("extra_chunk", "zeros"):
        assert found[0]["choices"] == []
    elif place == "finish_chunk":
        assert found[0]["choices"][0]["finish_reason"] == "stop"
    elif place == "empty_delta":
        assert found[0]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": None}
    assert not any("usage" in chunk for chunk in ask(server.port, QUESTION).chunks)


@pytest.mark.parametrize("asked", [True, False])
def test_timings_ride_on_the_last_chunk(serve: Serve, asked: bool) -> None:
    """llama.cpp's figures are on the usage chunk, or else on the finish chunk."""
    answer = ask(serve(timings=True).port, WITH_USAGE if asked else QUESTION)
    (chunk,) = [chunk for chunk in answer.chunks if "timings" in chunk]
    assert ("usage" in chunk) == asked
    assert chunk["timings"]["predicted_n"] == 8
    assert chunk["timings"]["predicted_ms"] == pytest.approx(7)


def test_timings_may_be_wrong(serve: Serve) -> None:
    """By a factor, and the schedule is as it was."""
    chunks = ask(serve(timings=True, timings_factor=2).port, QUESTION).chunks
    (chunk,) = [chunk for chunk in chunks if "timings" in chunk]
    assert chunk["timings"]["predicted_ms"] == pytest.approx(14)
    assert chunk["timings"]["predicted_n"] == 8


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "think"])
@pytest.mark.parametrize("stream", [True, False])
def test_reasoning_comes_first(serve: Serve, name: str, stream: bool) -> None:
    """Reasoning precedes the answer, under each of its names."""
    answer = ask(serve(reasoning_tokens=2, tokens=2, reasoning_field=name).port, QUESTION | {"stream": stream})
    deltas = answer.deltas if stream else [json.loads(answer.body)["choices"][0]["message"]]
    content = "".join(delta.get("content") or "" for delta in deltas)
    thought = "".join(delta.get(name) or "" for delta in deltas)
    assert content == ("<think>000 001 </think>000 001 " if name == "think" else "000 001 ")
    assert thought == ("" if name == "think" else "000 001 ")


@pytest.mark.parametrize(
    ("limit", "reason", "tokens"), [(3, "length", 3), (10, "length", 10), (11, "stop", 10), (None, "stop", 10)]
)
def test_max_tokens_limits_all_tokens(serve: Serve, limit: int | None, reason: str, tokens: int) -> None:
    """A request's limit counts reasoning too, and says length where it ended the answer."""
    server = serve(reasoning_tokens=4, tokens=6)
    for key in ("max_tokens", "max_completion_tokens"):
        answer = ask(server.port, WITH_USAGE | {key: limit})
        assert answer.finish_reasons == [reason]
        assert answer.chunks[-1]["usage"]["completion_tokens"] == tokens


def test_tokens_and_chunks_are_not_the_same(serve: Serve) -> None:
    """Tokens share chunks, chunks share sends, and nothing is lost."""
    server = serve(tokens=11, tokens_per_chunk=2, chunks_per_send=3)
    answer = ask(server.port, WITH_USAGE)
    assert answer.text == "".join(f"{n:03d} " for n in range(11))
    assert len([delta for delta in answer.deltas if delta.get("content")]) == 6
    assert answer.chunks[-1]["usage"]["completion_tokens"] == 11
    assert [chunks for chunks in server.log[0].chunks if chunks] == [3, 3]


def test_no_tokens_at_all(serve: Serve) -> None:
    """An empty answer is a finish chunk."""
    answer = ask(serve(tokens=0).port, QUESTION)
    assert answer.text == ""
    assert answer.finish_reasons == ["stop"]


def test_legal_oddities(serve: Serve) -> None:
    """A byte order mark, event lines, data over several lines, comments and no done marker are all legal."""
    server = serve(
        bom=True, event_lines=True, multi_line=True, comment_every_ms=1, done_marker=False, text='",",\n', tokens=9
    )
    answer = ask(server.port, WITH_USAGE | {"model": "reference"})
    assert answer.body.startswith(b"\xef\xbb\xbfevent: message\n")
    assert b'\ndata: "choices":' in answer.body
    assert b": keepalive 1\n\n" in answer.body
    assert answer.text == ('",",\n' * 9)[:36]
    assert "[DONE]" not in answer.data
    assert answer.complete


def test_the_model_is_echoed_or_renamed(serve: Serve) -> None:
    """The name in the answer is the one asked for, or another if told so."""
    server = serve()
    assert ask(server.port, QUESTION).chunks[0]["model"] == "reference"
    renamed = QUESTION | {"flperf_reference": {"model_echo": 'else"where é'}}
    assert ask(server.port, renamed).chunks[0]["model"] == 'else"where é'


@pytest.mark.parametrize("strict", [True, False])
def test_unknown_models(serve: Serve, strict: bool) -> None:
    """An unknown model is refused with 404, or served silently."""
    server = serve(ReferenceConfig(schedule=Schedule(ttft_ms=0, itl_ms=0), models=("one", "two"), strict=strict))
    assert ask(server.port, QUESTION | {"model": "x" * 100_000}).status == 404
    for name in ("three", "reference-fault-none", "\U0001f600" * 1000):
        answer = ask(server.port, QUESTION | {"model": name})
        assert answer.status == (404 if strict else 200)
        if strict:
            assert json.loads(answer.body)["error"]["code"] == "model_not_found"
    assert ask(server.port, QUESTION | {"model": "two"}).status == 200


def test_a_request_changes_its_own_schedule(serve: Serve) -> None:
    """The JSON key of a request overrides the server's schedule, flat or under its name, and nobody else's."""
    server = serve()
    for wish in ({"tokens": 2}, {"schedule": {"tokens": 2}}):
        assert ask(server.port, QUESTION | {"flperf_reference": wish}).text == "000 001 "
    assert ask(server.port, QUESTION).text == NUMBERED


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"tokns": 2}, "did you mean 'tokens'"),
        ({"tokens": -1}, "expected a whole number from 0"),
        ({"tokens": True}, "expected a whole number"),
        ({"ttft_ms": "soon"}, "expected a number"),
        ({"role_chunk": "late"}, "expected one of early"),
        ({"fault": "earthquake"}, "expected one of refuse"),
        ({"fault": {"kind": "cut", "after_token": 1}}, "did you mean 'after_tokens'"),
        ({"fault": 3}, "expected a name"),
        ({"schedule": 3}, ""),
        ({"tokens": 100_000, "chars_per_token": 10_000}, "64 MB"),
        ({"tokens": 100_000, "fault": "slow_drip"}, "slow drip"),
        ([], "expected an object"),
    ],
)
def test_wrong_wishes_are_refused(serve: Serve, wish: Any, said: str) -> None:
    """An override that can't be is a 400 which says why."""
    answer = ask(serve().port, QUESTION | {"flperf_reference": wish})
    assert answer.status == 400
    assert said in json.loads(answer.body)["error"]["message"]


def test_jitter_is_reproducible(serve: Serve) -> None:
    """The n-th request has the same jitter in every run, other requests have another, and order is kept."""
    offsets: list[list[list[int]]] = []
    for seed in (7, 7, 8):
        server = serve(jitter_ms=3.0, seed=seed)
        for _ in range(2):
            assert ask(server.port, QUESTION).text == NUMBERED
        offsets.append([[due - entry.last_byte_ns for due in entry.due_ns] for entry in server.log])
    assert offsets[0] == offsets[1]
    assert offsets[0] != offsets[2]
    assert offsets[0][0] != offsets[0][1]
    for due in offsets[0] + offsets[2]:
        assert due == sorted(due)


def test_schedule_times(serve: Serve) -> None:
    """Due times are as the schedule says, pauses included, and nothing is sent before it is due."""
    server = serve(ttft_ms=20, itl_ms=2, tokens=6, stall_every_tokens=2, stall_ms=10, tail_ms=3)
    assert ask(server.port, QUESTION).finish_reasons == ["stop"]
    (entry,) = server.log
    due_ms = [(due - entry.last_byte_ns) / 1e6 for due in entry.due_ns]
    assert due_ms == pytest.approx([0, 20, 22, 34, 36, 48, 50, 53])
    assert all(sent >= due for sent, due in zip(entry.sent_ns, entry.due_ns, strict=True))
    assert list(entry.sent_ns) == sorted(entry.sent_ns)


def test_ipv6(serve: Serve) -> None:
    """It serves on the other loopback as well."""
    try:
        server = serve(ReferenceConfig(schedule=Schedule(ttft_ms=0, itl_ms=0, tokens=2), host="::1"))
    except OSError:
        pytest.skip("no IPv6 here")
    assert server.base_url.startswith("http://[::1]:")
    assert ask(server.port, QUESTION, host="::1").text == "000 001 "


def test_answers_know_themselves() -> None:
    """The test client tells a body that is cut from one that is complete."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert Answer(head + b"2\r\nab\r\n0\r\n\r\n").complete
    assert not Answer(head + b"2\r\na").complete
