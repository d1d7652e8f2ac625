"""Requests beside those of the openai client, and the template that replaces their messages."""

from __future__ import annotations

import importlib
import json
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.requests import RequestFactory

ENDPOINT = Endpoint.parse("http://127.0.0.1:8080/v1")
KEY = "sk-a-secret-of-mine-0123456789"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
PROMPTS = [
    "",
    "hi",
    'quotes " \\ / \u2028\u2029 \x00\x7f',
    "Grüße 世界 😀 \U0010ffff",
    "\ud83d lone \udc00",
    "x" * 100_000,
]


@pytest.fixture(scope="module")
def keyless() -> RequestFactory:
    """A factory without a key."""
    return RequestFactory(ENDPOINT)


@pytest.fixture(scope="module")
def keyed() -> RequestFactory:
    """A factory with a key."""
    return RequestFactory(ENDPOINT, KEY)


def arguments(prompt: str, **more: Any) -> dict[str, Any]:
    """Arguments of a chat completion."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": True, **more}


def parts(request: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Request line, headers and body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = (line.decode().partition(": ") for line in lines)
    return first, {name.lower(): value for name, _, value in headers}, body


def of_the_client(url: str, api_key: str, arguments: dict[str, Any], extra: dict[str, Any] | None = None) -> bytes:
    """What the openai client sends, kept by a transport that sends nothing."""
    # it stands on httpx or on httpx2, by its version; its own class says which
    httpx = importlib.import_module(openai.DefaultHttpxClient.__mro__[2].__module__.partition(".")[0])
    kept: list[Any] = []

    def keep(request: Any) -> Any:
        kept.append(request)
        return httpx.Response(200, content=b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"})

    with httpx.Client(transport=httpx.MockTransport(keep), trust_env=False) as sender:
        client = openai.OpenAI(base_url=url, api_key=api_key, max_retries=0, http_client=sender)
        client.chat.completions.with_raw_response.create(**arguments, extra_body=extra)
    (request,) = kept
    lines = [b"POST %b HTTP/1.1" % request.url.raw_path, *(name + b": " + value for name, value in request.headers.raw)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(request.content)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/v1", "http://localhost", "http://host:80/a/b", "https://host.example:443/v1",
     "https://host:8443/openai/deployments/d", "http://[::1]:9/v1", "http://HOST/ü/%20/v1", "http://h:443//v1/",
     "http://h/[x]/a'b!$&()*+,=:~/v1"],
)  # fmt: skip
def test_what_the_openai_client_sends(url: str) -> None:
    """The same path, JSON and headers; other are what names the client, and no compressed answer is asked for."""
    sent = arguments("Grüße", temperature=0.25, stream_options={"include_usage": True}, stop=["a"], max_tokens=7)
    extra = {"top_k": 3, "nested": {"é": [1.5, None, "😀"]}, "temperature": 1}
    first, headers, body = parts(RequestFactory(Endpoint.parse(url), KEY).build(sent, extra))
    its_first, its_headers, its_body = parts(of_the_client(url, KEY, sent, extra))
    assert first == its_first
    assert json.loads(body) == json.loads(its_body)
    its_headers = {name: value for name, value in its_headers.items() if not name.startswith("x-stainless-")}
    its_headers |= {"user-agent": "pytest-flperf", "accept-encoding": "identity", "content-length": str(len(body))}
    assert headers == its_headers


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
def test_another_length_by_the_name_that_the_request_has(keyless: RequestFactory, key: str) -> None:
    """One limit only, under one name, whether the request itself has one or not."""
    messages = [{"role": "user", "content": "a"}]
    for own in ({key: 7}, {}):
        template = keyless.template(arguments("a", **own), None, key)
        body = json.loads(parts(template.render(messages, 9))[2])
        assert {name: body[name] for name in body if name.startswith("max_")} == {key: 9}
        body = json.loads(parts(template.render(messages))[2])
        assert {name: body[name] for name in body if name.startswith("max_")} == own


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_template_renders_what_is_built(keyless: RequestFactory, keyed: RequestFactory, prompt: str) -> None:
    """Byte for byte, for prompts of every Unicode plane, lone surrogates included, with and without a key."""
    extra = {"cache_prompt": False, "nested": {"é": [1.5, None, "😀"]}}
    for factory in (keyless, keyed):
        template = factory.template(arguments("first", temperature=0.1, max_tokens=7), extra)
        wanted = factory.build(arguments(prompt, temperature=0.1, max_tokens=7), extra)
        assert template.render([{"role": "user", "content": prompt}]) == wanted


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), ANY_TEXT), min_size=1, max_size=4))
def test_a_template_renders_any_conversation(keyless: RequestFactory, turns: list[tuple[str, str]]) -> None:
    """Chats of any text come out as they are built at once."""
    messages = [{"role": role, "content": content} for role, content in turns]
    template = keyless.template(arguments("x"))
    assert template.render(messages) == keyless.build({**arguments("x"), "messages": messages})


def test_a_request_is_whole_and_asks_for_identity(keyless: RequestFactory) -> None:
    """Request line, host, length of the body, no compression, no key that nobody gave."""
    first, headers, body = parts(keyless.build(arguments("hi"), {"top_k": 3}))
    assert first == b"POST /v1/chat/completions HTTP/1.1"
    assert headers["host"] == "127.0.0.1:8080"
    assert headers["accept-encoding"] == "identity"
    assert int(headers["content-length"]) == len(body)
    assert "authorization" not in headers
    assert "transfer-encoding" not in headers
    assert json.loads(body) == {**arguments("hi"), "top_k": 3}


def test_a_key_is_sent_and_never_shown(keyed: RequestFactory) -> None:
    """The key is in the header and in no repr."""
    _, headers, _ = parts(keyed.build(arguments("hi")))
    assert headers["authorization"] == f"Bearer {KEY}"
    template = keyed.template(arguments("hi"))
    assert KEY not in repr(template) + repr(keyed) + repr(ENDPOINT)


def test_an_account_in_the_environment_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without a key learns nothing of the OpenAI account that the environment names."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment-123")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.example/v1")
    request = RequestFactory(ENDPOINT).build(arguments("hi"))
    for word in (b"sk-from", b"of-mine", b"elsewhere"):
        assert word not in request


@pytest.mark.parametrize("key", ["a\nb", "key\r\nX-Evil: 1", " padded", "schlüssel", "tab\tkey"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str) -> None:
    """A key with a line end in it would be a header of its own; the message doesn't show it."""
    with pytest.raises(ValueError, match="a header can't have") as caught:
        RequestFactory(ENDPOINT, key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_is_refused(keyless: RequestFactory, value: float) -> None:
    """Python's own words for numbers that JSON hasn't are sent to no server."""
    with pytest.raises(ValueError, match="JSON"):
        keyless.build(arguments("hi"), {"deep": [value]})


def test_the_zone_of_an_address_stays_here() -> None:
    """It has a meaning on this machine only (RFC 6874)."""
    _, headers, _ = parts(RequestFactory(Endpoint.parse("http://[fe80::1%25lo]:8080/v1")).build(arguments("hi")))
    assert headers["host"] == "[fe80::1]:8080"


def test_ipv6_and_paths_are_kept() -> None:
    """The base URL's own path and an IPv6 host go out as they came."""
    first, headers, _ = parts(RequestFactory(Endpoint.parse("http://[::1]:9/a/b/")).build(arguments("hi")))
    assert first == b"POST /a/b/chat/completions HTTP/1.1"
    assert headers["host"] == "[::1]:9"
