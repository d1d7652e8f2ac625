"""Bodies that are no answer of an OpenAI-compatible API: named for what they are, with what to do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import chunked, exchange, sized, text

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.sample import Outcome, Sample


def lines(*documents: object) -> bytes:
    """JSON, a document in each line."""
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


OLLAMA_CHAT = [
    {"model": "m", "created_at": "2026-01-01", "message": {"role": "assistant", "content": "a"}, "done": False},
    {"model": "m", "created_at": "2026-01-01", "message": {"role": "assistant", "content": ""}, "done": True},
]  # fmt: skip
OLLAMA_GENERATE = [{"model": "m", "created_at": "x", "response": word, "done": word == ""} for word in ("a", "b", "")]
LOGIN = (
    b"<!DOCTYPE html><html><head><title>Sign in &amp; go</title></head><body><form><input type=password></form></body>"
)

FOREIGN: dict[str, tuple[bytes, str, tuple[str, ...]]] = {
    "Ollama's chat": (lines(*OLLAMA_CHAT), "application/x-ndjson", ("Ollama's own API (NDJSON)", "/v1")),
    "Ollama's generate": (lines(*OLLAMA_GENERATE), "application/x-ndjson", ("Ollama's own API (NDJSON)", "/v1")),
    "Ollama's chat, whole": (lines(OLLAMA_CHAT[1]), "application/json", ("Ollama's own API", "/v1")),
    "Ollama's chat, over lines": (json.dumps(OLLAMA_CHAT[1], indent=1).encode(), "application/json", ("Ollama's own",)),
    "lines of chunks": (lines({"choices": [{"delta": {"content": "a"}}]}, {"choices": []}), "x", ("NDJSON", "events")),
    "TGI": (lines({"generated_text": "a"}), "application/json", ("TGI's own API", "/v1")),
    "TGI's events": (b'data:{"token":{"text":"a"},"generated_text":null,"details":null}\n\n', "x/y", ("TGI's own",)),
    "llama.cpp": (lines({"content": "a", "generation_settings": {}}), "application/json", ("llama.cpp's own API",)),
    "Anthropic": (b'event: message_start\ndata: {"type":"message_start"}\n\n', "text/event-stream", ("Anthropic's",)),
    "Responses": (lines({"object": "response", "output": []}), "application/json", ("Responses API",)),
    "models": (lines({"object": "list", "data": []}), "application/json", ("a list", "/v1")),
    "a login": (LOGIN, "text/html", ("HTML page", "a login", "'Sign in & go'", "--flperf-api-key-env")),
    "It works!": (b"<html><body><h1>It works!</h1></body></html>", "text/html", ("HTML page", "It works!", "/v1")),
    "nginx": (b"\n<html>\r\n<head><title>Welcome to nginx!</title></head></html>", "text/html", ("Welcome to nginx!",)),
    "plain text": (b"Ollama is running", "text/plain", ("plain text", "Ollama is running", "/v1")),
    "gRPC": (b"\x00\x00\x00\x00\x05hello", "application/grpc", ("gRPC",)),
}  # fmt: skip


def detail(sample: Sample) -> str:
    """What the evidence says."""
    assert sample.evidence is not None
    return sample.evidence.detail


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_that_is_no_answer_is_named(name: str, *, stream: bool) -> None:
    """What it is, and what to do; whether it was asked for as a stream or not."""
    body, kind, words = FOREIGN[name]
    sample = decode(exchange(sized(body, kind=kind), stream=stream))
    assert sample.outcome is Outcome.MALFORMED_STREAM
    for word in words:
        assert word in detail(sample)


@pytest.mark.parametrize(
    ("words", "outcome"),
    [("model 'x' not found", Outcome.MODEL_NOT_FOUND), ("llama runner has died", Outcome.ERROR_IN_STREAM)],
)
def test_an_error_in_the_last_line_is_the_servers_word(words: str, outcome: Outcome) -> None:
    """Of Ollama's own API, too; which API it is, is said beside it."""
    sample = decode(exchange(sized(lines(*OLLAMA_GENERATE[:2], {"error": words}), kind="application/x-ndjson")))
    assert sample.outcome is outcome
    assert words in detail(sample)
    assert "Ollama's own API" in detail(sample)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("https://sso.example.com/oauth2/authorize?state=secret1&client_id=x", ("a login", "--flperf-api-key-env")),
        ("/login?next=%2Fv1#secret1", ("a login", "'/login'")),
        ("https://example.com/v1/chat/completions", ("redirected to 'https://example.com/v1/chat/completions'", "URL")),
        ("https://user:secret1@example.com/", ("redirected to",)),
        ("https://login-assistant.ai/v1", ("redirected to 'https://login-assistant.ai/v1', and redirects", "URL")),
        ("https://accounts.example/", ("redirected to a login page, 'https://accounts.example/'",)),
    ],
)
def test_a_redirect_says_where_it_leads(place: str, words: tuple[str, ...]) -> None:
    """Without what stands behind ``?``, and without a password."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    sample = decode(exchange([head]))
    assert sample.outcome is Outcome.MALFORMED_STREAM
    assert "HTTP 302" in detail(sample)
    assert sample.evidence is not None
    assert "secret1" not in detail(sample) + sample.evidence.body_head
    for word in words:
        assert word in detail(sample)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "https://"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    ],
)
def test_another_protocol_is_named(raw: bytes, words: str) -> None:
    """By its first bytes."""
    sample = decode(exchange([raw], ending=Ending.MALFORMED, detail="not an HTTP/1.x answer"))
    assert sample.outcome is Outcome.MALFORMED_STREAM
    assert words in detail(sample)


@pytest.mark.parametrize("status", [502, 401])
def test_of_an_error_page_its_title_is_shown(status: int) -> None:
    """Not its markup."""
    page = b"<html><head><title>502 Bad Gateway</title></head><body><hr>nginx</body></html>"
    assert detail(decode(exchange(sized(page, status=status, kind="text/html")))) == f"HTTP {status}: 502 Bad Gateway"


def test_a_hostile_page_is_bounded() -> None:
    """Megabytes of tags leave a few words."""
    for page in (b"<html>" + b"<" * 1_000_000, b"<html><title>" + b"x" * 1_000_000, b"<html><script>" * 70_000):
        assert len(detail(decode(exchange(sized(page, kind="text/html"))))) <= 1_000


def test_events_that_came_as_html_are_read() -> None:
    """A wrong content type is no page."""
    stop = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    assert decode(exchange(sized(text("a"), stop, kind="text/html"))).outcome is Outcome.OK


@given(st.sampled_from(sorted(FOREIGN)), st.data())
def test_a_foreign_body_cut_anywhere_has_an_outcome(name: str, drawn: st.DataObject) -> None:
    """Never ``ok``."""
    body, kind, _ = FOREIGN[name]
    cut = drawn.draw(st.integers(0, len(body)))
    sample = decode(exchange(chunked(body[:cut]) if drawn.draw(st.booleans()) else sized(body[:cut], kind=kind)))
    assert sample.outcome in (Outcome.MALFORMED_STREAM, Outcome.TRUNCATED, Outcome.ERROR_IN_STREAM)
