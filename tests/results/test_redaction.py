"""Secrets out of what is kept."""

from __future__ import annotations

import json
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.redaction import Redactor

SECRET = 'q9"Z/key+value='


@given(st.text(), st.text())
def test_exact_secret_never_stays(before: str, after: str) -> None:
    """As it is, as JSON writes it, and percent-encoded, wherever it stands."""
    redactor = Redactor([SECRET, None, ""])
    for form in (SECRET, json.dumps(SECRET)[1:-1], urllib.parse.quote(SECRET, safe="")):
        assert form not in redactor.text(before + form + after)
        assert form.encode() not in redactor.data((before + form + after).encode("utf-8", "replace"))


@given(st.binary(), st.binary())
def test_bytes_keep_their_length(before: bytes, after: bytes) -> None:
    """Offsets into a raw answer stay true, and nothing but the secret changes."""
    found = Redactor(["a-long-secret"]).data(before + b"a-long-secret" + after)
    assert len(found) == len(before) + 13 + len(after)
    assert b"a-long-secret" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop.", "Incorrect API key provided: ***."),
        ("http://me:pa55@host:8000/v1", "http://***@host:8000/v1"),
        ("http://host/v1?api_key=abcd1234&x=1", "http://host/v1?api_key=***&x=1"),
        ('{"api-key": "abcd1234", "n": 1}', '{"api-key": "***", "n": 1}'),
        ('{\\"password\\": \\"hunter22\\"}', '{\\"password\\": \\"***\\"}'),
        ("X-Api-Key: abcd1234", "X-Api-Key: ***"),
        ("hf_abcdefghijklmnop1234", "***"),
        ("ghp_abcdefghijklmnop1234 AKIAABCDEFGHIJKLMNOP", "*** ***"),
    ],
)
def test_known_shapes(text: str, expected: str) -> None:
    """What looks like a secret goes; the words around it stay."""
    assert Redactor().text(text) == expected
    assert Redactor().text(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=400, total tokens: 12345",
        "http://127.0.0.1:8000/v1/chat/completions",
        "mail a@b.example about task-force and risk-averse",
        "the bearer of news",
    ],
)
def test_plain_text_is_left_alone(text: str) -> None:
    """Ordinary words are not maimed, and neither are placeholders for keys."""
    assert Redactor(["none", "EMPTY", None]).text(text) == text
    assert Redactor(["none"]).text("none of it") == "none of it"


def test_nested_values() -> None:
    """All texts in a structure, keys too; other things stay."""
    redactor = Redactor(["a-long-secret"])
    value = {"a-long-secret": ["x a-long-secret", 1, None, (b"a-long-secret",)]}
    assert redactor.value(value) == {"***": ["x ***", 1, None, [b"*" * 13]]}


def test_limit_never_shows_a_half() -> None:
    """Cut to a limit at any place, no beginning of a secret longer than its shortest hint stays."""
    secret = "s3cr3t-" + "k" * 200
    redactor = Redactor([secret])
    for start in range(0, 260, 7):
        found = redactor.text("." * start + secret + "." * 200_000, 250)
        assert "s3cr" not in found
        assert len(found) <= 250
    crowd = (secret + " ") * 2000
    assert "s3cr" not in redactor.text(crowd, 10**5)


def test_hostile_text_takes_no_time() -> None:
    """A megabyte made to trip patterns is done in linear time."""
    began = time.process_time()
    redactor = Redactor(["a-long-secret"])
    for seed in ("api_key" + "= ", "http://" + "a:", "a+", "Bearer ", "sk-", 'password"', "://x", "A" * 20):
        redactor.text(seed * (300_000 // len(seed)))
    assert time.process_time() - began < 5
