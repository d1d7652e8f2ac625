"""Secrets out of what is kept."""

from __future__ import annotations

import json
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.redaction import Redactor, environment_secrets

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
        ("gsk_abcdefghijklmnopqrst1234 at /v1/x?key=abcd1234&n=1", "*** at /v1/x?key=***&n=1"),
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
    assert time.process_time() - began < 60


def test_an_answer_keeps_its_length_and_its_chunks() -> None:
    """What is overwritten in a raw answer moves nothing; sizes of chunks between the parts of a secret stay."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Api-Key: abcd1234\r\n\r\n"
    body = b"6\r\nmy a-l\r\na\r\nong-secret\r\n0\r\n\r\n"
    found = Redactor(["a-long-secret"]).answer(head + body)
    assert found == head.replace(b"abcd1234", b"********") + b"6\r\nmy ***\r\na\r\n**********\r\n0\r\n\r\n"


def test_an_answer_in_a_model_s_words_is_left_alone() -> None:
    """Only in an error is a body searched for what looks like a key."""
    body = b"\r\n\r\nuse api_key=abcd1234"
    assert Redactor().answer(b"HTTP/1.1 200 OK" + body) == b"HTTP/1.1 200 OK" + body
    assert b"abcd1234" not in Redactor().answer(b"HTTP/1.1 401 No" + body)
    assert Redactor().answer(b"") == b""
    assert Redactor().answer(b"SSH-2.0 api_key=abcd1234") == b"SSH-2.0 api_key=********"


def test_the_first_part_of_a_secret_at_the_end() -> None:
    """Where somebody cut a text in the middle of a secret, what is left of it goes."""
    redactor = Redactor(["s3cr3t/with+more"])
    assert redactor.text("the key s3cr3t/wit") == "the key ***"
    assert redactor.text("the key s3cr3t%2Fw…") == "the key ***…"
    assert redactor.text("the key s3cr3") == "the key s3cr3"
    assert redactor.text("s3cr3t/with cream") == "s3cr3t/with cream"


def test_keys_of_the_environment() -> None:
    """Variables that are named like keys and hold what looks like one; nothing else."""
    environment = {
        "OPENAI_API_KEY": "0123456789abcdef",
        "HF_TOKEN": " hf_0123456789 ",
        "AWS_SECRET_ACCESS_KEY": "ab/cd+ef0123",
        "API_KEY": "placeholder-none",
        "MY_TOKEN": "short1",
        "SSH_AUTH_SOCK": "/run/ssh-0123456789/agent",
        "TOKENS": "0123456789abcdef",
        "PRIVATE_KEY": "/home/me/keys/id_ed25519",
        "SORT_KEY": "created_at_2024",
    }
    assert environment_secrets(environment) == ("0123456789abcdef", "hf_0123456789", "ab/cd+ef0123")
