"""Keys in URLs: which parameters hold one, and that none is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.redaction import Redactor, masked_query, url_secrets

KEYS = [
    "key=abcdefgh", "api_key=abcdefgh", "api-key=abcdefgh", "apikey=abcdefgh", "subscription-key=abcdefgh",
    "access_token=abcdefgh", "token=abcdefgh", "sig=abcdefgh", "X-Amz-Signature=abcdefgh", "code=abcdefgh",
    "password=abcdefgh", "auth=abcdefgh", "X-Amz-Credential=abcdefgh", "KEY=abcdefgh", "k%65y=abcdefgh",
    "x=abcdefgh1234", "pass=correcthorsebatterystaple", "passphrase=abcdefgh", "pat=abcdefgh", "github_pat=abcdefgh",
    "bearer=abcdefgh", "hmac=abcdefgh", "pin=12345678", "assertion=abcdefgh", "policy=abcdefgh", "uid=abcdefghijklmnop",
    "h=1234567890123456", "api-version=sk-abcdef1234567890abcd", "version=sk-proj-abcdef1234567890abcd",
    "model=sk-abcdef1234567890abcd", "model=abcdefghijklmnopqrstuvwx", "version=2024/abcdefghij0123456789",
    "conversion_id=abcdefgh", "allocation=abcdefgh", "remodel=abcdefgh", "version=hf_abcdefghijklmn",
    "region=AKIAABCDEFGHIJKLMNOP", "user=abcdefgh", "session=abcdefgh",
]  # fmt: skip


@pytest.mark.parametrize("part", KEYS)
def test_a_key(part: str) -> None:
    """By its name, or by its value; where nothing says that it is none, it is one."""
    name, _, value = part.partition("=")
    assert url_secrets(f"http://h/v1?api-version=2024-10-21-preview&{part}") == (value,)
    assert masked_query(f"a=b&{part}&c") == f"a=b&{name}=***&c"


@pytest.mark.parametrize(
    "query",
    ["api-version=2024-12-01-preview", "model=gpt-4o-2024-08-06", "deployment=d1-abcdefghijk", "a=b", "", "stream",
     "api_version=1.5", "model=meta-llama/Llama-3.1-8B-Instruct", "region=westeurope", "beta=true", "n=100",
     "tenant=01234567-89ab-cdef-0123-456789abcdef", "version=", "key="],
)  # fmt: skip
def test_no_key(query: str) -> None:
    """What everybody may read is shown, for it says what was measured."""
    assert url_secrets(f"http://h/v1?{query}") == ()
    assert masked_query(query) == query


def test_a_key_alone_and_a_key_in_escapes() -> None:
    """A value without a name; one that is written with escapes is masked as it is meant, too."""
    assert url_secrets("http://h/v1?abcdefgh12345678") == ("abcdefgh12345678",)
    assert masked_query("abcdefgh12345678") == "***"
    assert url_secrets("http://h/v1?key=ab%2Bcd%2Fefgh#x") == ("ab%2Bcd%2Fefgh", "ab+cd/efgh")
    masked = Redactor(url_secrets("http://h/v1?key=ab%2Bcd%2Fefgh"))
    assert masked.text("you said ab+cd/efgh and key=ab%2Bcd%2Fefgh") == "you said *** and key=***"


@pytest.mark.parametrize("url", [None, "", "http://h/v1", "http://h/v1?"])
def test_no_query(url: str | None) -> None:
    """Nothing to mask."""
    assert url_secrets(url) == ()


def test_a_short_key_is_masked_in_a_url() -> None:
    """Where it is too short to be looked for elsewhere."""
    said = Redactor().text("POST http://h/v1/chat/completions?api-version=1&subscription-key=abc123")
    assert said == "POST http://h/v1/chat/completions?api-version=1&subscription-key=***"


@given(st.text(max_size=60))
def test_any_query(query: str) -> None:
    """Nothing raises; no secret is left."""
    shown = masked_query(query)
    masked_query(f"version={query}" * 5)
    assert shown.count("&") == query.count("&")
    url_secrets(f"http://h?{query}")
