"""Base URLs taken apart, and refused with what is wrong with them."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve
from pytest_flperf.wire.requests import RequestFactory


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "loopback"),
    [
        ("http://127.0.0.1:8080/v1", "127.0.0.1", 8080, False, True),
        ("  http://localhost/v1/ ", "localhost", 80, False, True),
        ("HTTPS://api.example.com/v1", "api.example.com", 443, True, False),
        ("http://[::1]:1234", "::1", 1234, False, True),
        ("http://[fe80::1%25lo]:1234", "fe80::1%lo", 1234, False, False),
        ("http://my.localhost:1/v1", "my.localhost", 1, False, True),
        ("https://10.0.0.1:65535/a/b", "10.0.0.1", 65535, True, False),
    ],
)
def test_a_base_url_is_taken_apart(url: str, host: str, port: int, *, tls: bool, loopback: bool) -> None:
    """Host, port, scheme and whether it is this machine."""
    endpoint = Endpoint.parse(url)
    assert (endpoint.host, endpoint.port, endpoint.tls, endpoint.loopback) == (host, port, tls, loopback)
    assert endpoint.base_url == url.strip().rstrip("/")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "neither http:// nor https://"),
        ("localhost:8080", "neither"),
        ("ftp://host/v1", "neither"),
        ("http://", "no host"),
        ("http:///v1", "no host"),
        ("http://host:port/v1", "is not a URL"),
        ("http://host:99999/v1", "is not a URL"),
        ("http://host:0/v1", "port 0"),
        ("http://[::1/v1", "is not a URL"),
        ("http://a b/v1", "a URL can't have"),
        ("http://a\nb/v1", "a URL can't have"),
        ("http://a\x00b/v1", "a URL can't have"),
        ("http://<host>/v1", "a URL can't have"),
        ("http://host/v1#x", "fragment"),
        ("http://host/v1?x=1#x", "fragment"),
        ("http://host/v1?x=a b", "a URL can't have"),
        ("http://host/v1?x=a\r\nX-Injected: 1", "a URL can't have"),
        ("http://host/v1?user=a@b", "%40"),
        ("http://" + "a" * 1_000_000, "names a host"),
        ("http://exämple/v1", "names a host"),
        ("http://256.1.1.1/v1", "names a host"),
        ("http://[::g]/v1", ""),
        ("http://[v1.x]/v1", "names a host"),
        ("http://-dash/v1", "names a host"),
    ],
)
def test_what_is_no_base_url_is_refused_in_words(url: str, words: str) -> None:
    """The message says what was found and what is expected, and is short."""
    with pytest.raises(EndpointError) as caught:
        resolve(Endpoint.parse(url))
    assert words in str(caught.value)
    assert len(str(caught.value)) < 450


@pytest.mark.parametrize(
    "url",
    ["http://user:hunter2@host/v1", "http://hunter2@host", "ftp://u:hunter2@host", "http://u:hunter2@h:port/v1",
     "http://u:hunter2@/v1", "http://host/v1?api_key=hunter2#x", "http://host:port/v1?key=hunter2",
     "http://host/v1#access_token=hunter2", "ftp://host/v1;key=hunter2", "http://host/v1;key=hunter2",
     "http://host:1;key=hunter2", "http://host;key=hunter2/v1", "http://[::1]x;key=hunter2", "ftp://host#hunter2"],
)  # fmt: skip
def test_a_secret_in_a_url_is_never_shown(url: str) -> None:
    """Passwords and keys in URLs are refused, whatever else is wrong, and no message repeats them."""
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(url)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=30).map("http://{}".format) | st.text(alphabet="htps:/[]@%.-_~:1a\\?#é世", max_size=30))
def test_any_text_is_an_endpoint_or_an_endpoint_error(url: str) -> None:
    """No other exception comes out."""
    with contextlib.suppress(EndpointError):
        Endpoint.parse(url)


@given(
    st.from_regex(
        r"http://[a-z0-9.%~!$&'()*+,;=é世\[\]:-]{1,20}(/[a-z%.;=é]{0,9}){0,2}(\?[a-z=&%é/?+;\[\]]{0,9})?",
        fullmatch=True,
    )
)
def test_what_is_accepted_can_be_asked(url: str) -> None:
    """A request is built for every URL that parse lets through."""
    try:
        endpoint = Endpoint.parse(url)
    except EndpointError:
        return
    assert RequestFactory(endpoint).build({"model": "m", "messages": []}).startswith(b"POST /")


@pytest.mark.parametrize(
    ("url", "base_url", "query"),
    [
        ("http://host/v1?api-version=2024-10-21", "http://host/v1", "api-version=2024-10-21"),
        ("http://host/v1/?a=1&b=%20c", "http://host/v1", "a=1&b=%20c"),
        ("http://host/v1?", "http://host/v1", ""),
        ("http://host?a=é", "http://host", "a=%C3%A9"),
        ("http://host/v1/chat/completions", "http://host/v1", ""),
        ("http://host/v1/chat/completions/", "http://host/v1", ""),
        ("https://host/openai/deployments/d/chat/completions?api-version=1", "https://host/openai/deployments/d",
         "api-version=1"),
        ("http://host/chat/completions", "http://host", ""),
        ("http://host/v1/Chat/Completions", "http://host/v1", ""),
    ],
)  # fmt: skip
def test_a_query_and_a_whole_path(url: str, base_url: str, query: str) -> None:
    """The query is kept apart; the path of chat completions is what is added anyway."""
    endpoint = Endpoint.parse(url)
    assert (endpoint.base_url, endpoint.query) == (base_url, query)
    head = RequestFactory(endpoint).build({"model": "m", "messages": []}).partition(b"\r\n")[0].decode()
    path = base_url.partition("://")[2].partition("/")[2]
    sent = f"/{path}/chat/completions".replace("//", "/") + (f"?{query}" if query else "")
    assert head == f"POST {sent} HTTP/1.1"


def test_a_key_in_a_query_is_not_shown() -> None:
    """Neither where people read the address, nor in a repr; what is none is shown."""
    endpoint = Endpoint.parse("http://host/v1?api-version=2024-10-21&key=k3y-0123456789&x=abcdefgh12345678&flag")
    assert endpoint.shown == "http://host/v1?api-version=2024-10-21&key=***&x=***&***"
    assert "0123456789" not in repr(endpoint)


@pytest.mark.parametrize(
    ("url", "others"),
    [
        ("http://h:8000", ["http://h:8000/v1"]),
        ("http://h:8000/v1", ["http://h:8000"]),
        ("http://h:8000/V1", ["http://h:8000/v1", "http://h:8000"]),
        ("http://h/api/v1beta?k=v", ["http://h/api?k=v"]),
        ("http://h/v1/chat", ["http://h/v1/chat/v1", "http://h/v1"]),
        ("http://h/Chat", ["http://h/Chat/v1", "http://h/v1"]),
        ("http://h:11434/api/chat", ["http://h:11434/api/chat/v1", "http://h:11434/v1"]),
        ("http://h:11434/api?k=v", ["http://h:11434/api/v1?k=v", "http://h:11434/v1?k=v"]),
        ("http://h/v1/models", ["http://h/v1/models/v1", "http://h/v1"]),
        ("http://h/v1/completions", ["http://h/v1/completions/v1", "http://h/v1"]),
        ("http://h/docs", ["http://h/docs/v1", "http://h/v1"]),
    ],
)
def test_where_the_api_may_be(url: str, others: list[str]) -> None:
    """Below the URL that was given, and where people copy other paths from; behind a version, before it."""
    assert [each.shown for each in Endpoint.parse(url).alternatives] == others


def test_resolve_gives_addresses_for_connecting() -> None:
    """Literal addresses resolve without a name server, IPv6 ones with their four parts."""
    assert resolve(Endpoint.parse("http://127.0.0.1:80")) == ((socket.AF_INET, ("127.0.0.1", 80)),)
    family, address = resolve(Endpoint.parse("http://[::1]:80"))[0]
    assert (family, address[:2]) == (socket.AF_INET6, ("::1", 80))


def test_a_host_without_address_is_an_endpoint_error() -> None:
    """A name that doesn't resolve, or can't, is said in words."""
    for host in ("does-not-exist.invalid", "a" * 70, "a..b"):
        with pytest.raises(EndpointError, match="no address for host"):
            resolve(Endpoint.parse(f"http://{host}/v1"))
