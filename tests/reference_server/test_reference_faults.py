"""Every fault does what it says, and says in the log that it did."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from raw_client import QUESTION, ask, request_bytes

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule, preset_names

Serve = Callable[..., ReferenceServer]
QUICK = Schedule(ttft_ms=2, itl_ms=1, tokens=8)
SILENCE_S = 0.15


def faulty(**fault: Any) -> dict[str, Any]:
    """A question that commands a fault."""
    return QUESTION | {"flperf_reference": {"fault": fault}}


def texts(count: int) -> str:
    """The first tokens."""
    return "".join(f"{n:03d} " for n in range(count))


def test_nothing_listens(serve: Serve) -> None:
    """A server told to refuse holds its port, and connecting to it is refused until it accepts."""
    server = serve(ReferenceConfig(schedule=QUICK, fault=Fault(FaultKind.REFUSE)))
    with pytest.raises(ConnectionRefusedError):
        ask(server.port, QUESTION)
    server.accept()
    server.reconfigure(ReferenceConfig(schedule=QUICK))
    assert ask(server.port, QUESTION).text == texts(8)
    server.refuse()
    with pytest.raises(ConnectionRefusedError):
        ask(server.port, QUESTION)
    server.accept()
    assert ask(server.port, QUESTION).text == texts(8)


def test_every_connection_is_reset(serve: Serve) -> None:
    """Or it accepts and resets at once."""
    server = serve(ReferenceConfig(fault=Fault(FaultKind.REFUSE, reset=True)))
    answer = ask(server.port, QUESTION)
    assert answer.reset
    assert answer.raw == b""


def test_one_request_is_refused(serve: Serve) -> None:
    """A request that asks to be refused is reset without one byte, and logged."""
    server = serve()
    answer = ask(server.port, faulty(kind="refuse"))
    assert answer.reset
    assert answer.raw == b""
    assert (server.log[0].status, server.log[0].fault, server.log[0].sends) == (0, "refuse", 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("head", ["early", "with_first"])
@pytest.mark.parametrize("role_chunk", ["early", "with_first"])
def test_hangs(serve: Serve, role_chunk: str, head: str, stream: bool) -> None:
    """Before the headers nothing comes at all; before the first token the head does; the connection stays open."""
    server = serve(role_chunk=role_chunk, head=head, ttft_ms=0)
    question = {"stream": stream}
    before_headers = ask(server.port, faulty(kind="hang_before_headers") | question, silence_s=SILENCE_S)
    assert before_headers.timed_out
    assert before_headers.raw == b""
    before_text = ask(
        server.port, faulty(kind="hang_before_first_token") | question, silence_s=SILENCE_S, until=b"\r\n\r\n"
    )
    assert before_text.timed_out
    assert before_text.status == 200
    assert before_text.text == ""
    assert [entry.ended for entry in server.log] == ["client_closed", "client_closed"]


@pytest.mark.parametrize("kind", ["hang_before_headers", "hang_before_first_token", "stall"])
@pytest.mark.parametrize("stream", [True, False])
def test_hangs_can_end(serve: Serve, kind: str, stream: bool) -> None:
    """After a silence of so many milliseconds the answer goes on, and is whole."""
    server = serve()
    answer = ask(server.port, faulty(kind=kind, hang_ms=60, after_tokens=2) | {"stream": stream})
    assert answer.complete
    assert answer.text == texts(8) if stream else texts(8).encode() in answer.body
    (entry,) = server.log
    assert entry.ended == "complete"
    assert entry.sent_ns[-1] - entry.last_byte_ns > 60_000_000


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_stall(serve: Serve, framing: str) -> None:
    """After k tokens nothing more comes."""
    answer = ask(serve(framing=framing).port, faulty(kind="stall", after_tokens=4), silence_s=SILENCE_S, until=b"003")
    assert answer.timed_out
    assert answer.text == texts(4)
    assert not answer.complete


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_cut(serve: Serve, framing: str, reset: bool) -> None:
    """The connection ends in the middle of a chunk, by FIN or by RST."""
    server = serve(framing=framing, itl_ms=20, tokens=5)
    answer = ask(server.port, faulty(kind="cut", after_tokens=2, reset=reset))
    assert answer.reset == reset
    assert not answer.timed_out
    assert answer.text == texts(2)
    assert not answer.body.endswith(b"\n")
    if framing != "close":
        assert not answer.complete
    assert server.log[0].kinds[-1] == "cut"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("kind", ["truncate", "garbage", "error_event"])
def test_clean_ends_that_are_not(serve: Serve, kind: str, framing: str, done: bool) -> None:
    """The body ends as it should, with or without its marker, but there was no finish_reason."""
    answer = ask(serve(framing=framing).port, faulty(kind=kind, after_tokens=3, done_marker=done))
    assert answer.complete
    assert answer.finish_reasons == []
    assert answer.text == texts(3)
    assert answer.body.rstrip().endswith(b"data: [DONE]") == done
    if kind == "error_event":
        assert answer.chunks[-1]["error"]["message"] == "The reference server was told to fail"
    if kind == "garbage":
        assert b"\n\nproxy error: Failed to read connection" in answer.body


@pytest.mark.parametrize(("garbage", "expected"), [("json", b'data: {"id": "ref-garbage"'), ("bytes", b"\xff\xfe\x00")])
def test_garbage(serve: Serve, garbage: str, expected: bytes) -> None:
    """Data that is not JSON, and data that is no text."""
    answer = ask(serve().port, faulty(kind="garbage", garbage=garbage))
    assert expected in answer.body
    assert answer.complete


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("json", b'{"error": {"message": "broken"'),
        ("json_text", b'{"error": "broken"}'),
        ("detail", b'{"detail": [{"loc"'),
        ("html", b"<html>"),
        ("plain", b"broken"),
        ("empty", b""),
    ],
)
@pytest.mark.parametrize("status", [200, 204, 400, 404, 429, 500, 503, 599])
def test_http_errors(serve: Serve, status: int, body: str, expected: bytes) -> None:
    """Any status with any kind of body, and when to come again."""
    answer = ask(serve().port, faulty(kind="http_error", status=status, body=body, message="broken", retry_after_s=3))
    assert answer.status == status
    assert answer.headers["retry-after"] == "3"
    if status != 204:
        assert answer.complete
        assert answer.body.startswith(expected)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_slow_drip(serve: Serve, framing: str) -> None:
    """The whole answer arrives, in sends of a few bytes."""
    server = serve(framing=framing)
    answer = ask(server.port, faulty(kind="slow_drip", drip_ms=0.1, drip_bytes=7))
    assert answer.complete
    assert answer.text == texts(8)
    (entry,) = server.log
    assert set(entry.bytes[:-20]) <= {1, 2, 3, 4, 5, 6, 7}
    assert len(entry.text_ns) == 8
    assert sum(entry.bytes) == len(answer.raw)


def test_done_too_early(serve: Serve) -> None:
    """[DONE] comes before the rest of the answer."""
    answer = ask(serve().port, faulty(kind="early_done", after_tokens=3))
    assert answer.data.index("[DONE]") == 4
    assert answer.text == texts(8)
    assert answer.finish_reasons == ["stop"]


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_stream(serve: Serve, framing: str, stream: bool) -> None:
    """Status 200, a clean end, and nothing between."""
    server = serve(framing=framing, body_framing=framing)
    answer = ask(server.port, faulty(kind="empty_stream") | {"stream": stream})
    assert answer.complete
    assert (answer.status, answer.body) == (200, b"")


def test_an_answer_without_end(serve: Serve) -> None:
    """Text goes on past every limit until the client goes; the log follows it round the loop."""
    server = serve(itl_ms=0.2, tokens=8)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as sock:
        sock.sendall(request_bytes(faulty(kind="never_ends") | {"max_tokens": 2}))
        received = b""
        while received.count(b'"content":"0') < 100:
            received += sock.recv(65536)
    while not (entry := server.log[0]).ended:
        pass
    assert entry.ended == "client_closed"
    assert len(entry.text_ns) >= 100
    assert len(entry.sent_ns) == len(entry.due_ns) == len(entry.bytes) == len(entry.kinds) == entry.sends
    assert list(entry.due_ns) == sorted(entry.due_ns)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("cut", lambda answer: not answer.complete and answer.status == 200),
        ("stall", lambda answer: answer.timed_out and answer.body.startswith(b'{"id"')),
        ("never_ends", lambda answer: answer.timed_out and not answer.body),
        ("truncate", lambda answer: json.loads(answer.body)["choices"][0]["finish_reason"] is None),
        ("garbage", lambda answer: answer.body.startswith(b"proxy error")),
        ("error_event", lambda answer: "error" in json.loads(answer.body)),
        ("slow_drip", lambda answer: json.loads(answer.body)["choices"]),
        ("early_done", lambda answer: json.loads(answer.body)["choices"]),
    ],
)
def test_faults_without_streaming(serve: Serve, kind: str, check: Callable[[Any], bool]) -> None:
    """Each fault means something for an answer that doesn't stream, too."""
    question = faulty(kind=kind, drip_ms=0.01) | {"stream": False}
    assert check(ask(serve().port, question, silence_s=SILENCE_S, until=b"\r\n\r\n"))


def test_faults_by_the_models_name(serve: Serve) -> None:
    """Every preset has a model's name, and is listed."""
    server = serve()
    listed = json.loads(ask(server.port, b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n").body)["data"]
    for name in preset_names():
        model = f"reference-fault-{name}"
        assert model in [entry["id"] for entry in listed]
        answer = ask(server.port, QUESTION | {"model": model}, silence_s=SILENCE_S, most=20_000)
        assert answer.finish_reasons == [] or name in ("slow-drip", "early-done"), name
    assert ask(server.port, QUESTION | {"model": "reference-fault-http-418"}).status == 418
    assert ask(server.port, QUESTION | {"model": "reference-fault-early_done"}).status == 200
    faults = {entry.fault for entry in server.log}
    assert faults == {kind.value for kind in FaultKind}


def test_faults_by_count(serve: Serve) -> None:
    """A server's fault can meet each n-th request only, or only the first ones."""
    config = ReferenceConfig(schedule=QUICK, fault=Fault(FaultKind.HTTP_ERROR, status=503, every=2, first=4))
    server = serve(config)
    assert [ask(server.port, QUESTION).status for _ in range(6)] == [200, 503, 200, 503, 200, 200]
    wish = QUESTION | {"flperf_reference": {"fault": None}}
    server.reconfigure(ReferenceConfig(schedule=QUICK, fault=Fault(FaultKind.HTTP_ERROR)))
    assert ask(server.port, wish).status == 200


@pytest.mark.parametrize("kind", list(FaultKind))
@pytest.mark.parametrize("after_tokens", [0, 8, 1000])
def test_faults_at_the_edges(serve: Serve, kind: FaultKind, after_tokens: int) -> None:
    """Before the first token, after the last one, and beyond: no fault makes the server stumble."""
    server = serve(role_chunk="with_first", chunks_per_send=3, comment_every_ms=1)
    question = faulty(kind=kind.value, after_tokens=after_tokens, drip_ms=0.01, drip_bytes=50)
    hangs = kind in (FaultKind.HANG_BEFORE_HEADERS, FaultKind.HANG_BEFORE_FIRST_TOKEN, FaultKind.STALL)
    until = b"" if kind is not FaultKind.STALL else b"007" if after_tokens else b"\r\n\r\n"
    answer = ask(server.port, question, silence_s=SILENCE_S if hangs else None, until=until, most=20_000)
    if kind in (FaultKind.STALL, FaultKind.CUT, FaultKind.TRUNCATE, FaultKind.GARBAGE, FaultKind.ERROR_EVENT):
        assert answer.text == (texts(8) if after_tokens else "")
