"""Secrets in the encodings of servers, one inside the other, and in parts."""

from __future__ import annotations

import base64
import html
import json
import string
import time
import urllib.parse
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.results.redaction import Redactor

Encoding = Callable[[str], str]
HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NAMED = {"+": "&plus;", "/": "&sol;", "=": "&equals;", "_": "&lowbar;", ".": "&period;", ":": "&colon;", "&": "&amp;"}


def special(text: str, write: Callable[[str], str], plain: str = string.ascii_letters + string.digits) -> str:
    """All characters but the plain ones written otherwise."""
    return "".join(char if char in plain else write(char) for char in text)


def utf16(char: str, form: str = "\\u{:04X}") -> str:
    """A character in UTF-16, unit by unit."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(form.format(int.from_bytes(units[at : at + 2], "big")) for at in range(0, len(units), 2))


def go_json(text: str) -> str:
    """As encoding/json writes it."""
    found = json.dumps(text, ensure_ascii=False)[1:-1]
    return found.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def packed(before: str, *, url_safe: bool = False) -> Encoding:
    """Base64 of a text with another one before it."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return lambda text: encode((before + text).encode()).decode()


ENCODINGS: dict[str, Encoding] = {
    "as it is": lambda text: text,
    "json": lambda text: json.dumps(text)[1:-1],
    "json of Go": go_json,
    "json of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json of .NET": lambda text: special(
        text, utf16, string.ascii_letters + string.digits + " -_.:/=!#$()*,;?@[]^{|}~"
    ),
    "json, every character": lambda text: "".join(map(utf16, text)),
    "json, every character, lower case": lambda text: "".join(utf16(char, "\\u{:04x}") for char in text),
    "javascript": lambda text: special(text, lambda char: f"\\u{{{ord(char):x}}}"),
    "escape()": lambda text: special(text, lambda char: utf16(char, "%u{:04X}")),
    "python": lambda text: repr(text.encode())[2:-1],
    "octal": lambda text: special(text, lambda char: "".join(f"\\{byte:03o}" for byte in char.encode())),
    "markdown": lambda text: special(text, lambda char: f"\\{char}"),
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent, lower case": lambda text: special(text, lambda char: "".join(f"%{byte:02x}" for byte in char.encode())),
    "percent, every byte": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "encodeURIComponent": lambda text: urllib.parse.quote(text, safe="!'()*~"),
    "a form": urllib.parse.quote_plus,
    "html": html.escape,
    "html, decimal": lambda text: special(text, lambda char: f"&#{ord(char)};"),
    "html, hex": lambda text: special(text, lambda char: f"&#x{ord(char):X};"),
    "html, hex, every character": lambda text: "".join(f"&#x{ord(char):04x};" for char in text),
    "html, names": lambda text: "".join(NAMED.get(char, char) for char in text),
    "base64": packed(""),
    "base64, one on": packed("u"),
    "base64, two on": packed("me"),
    "base64, behind a name": packed("someone:"),
    "base64 of URLs": packed("x", url_safe=True),
    "base64 of mails": lambda text: "\r\n ".join(
        base64.b64encode(text.encode()).decode()[at : at + 76] for at in range(0, 2 * len(text.encode()), 76)
    ).strip(),
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "hex, in pairs": lambda text: text.encode().hex(" "),
    "hex, with colons": lambda text: text.encode().hex(":"),
    "hex, with prefixes": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "bytes": lambda text: ",".join(map(str, text.encode())),
}
# A form writes a space as a plus sign: of what else comes in between nothing is said here.
SPACELESS = st.characters(min_codepoint=33, max_codepoint=126)
KEYS = st.one_of(
    st.text(SPACELESS, min_size=8, max_size=70),
    st.text(st.sampled_from("aB3+/=_-.%\\&\"'<>"), min_size=8, max_size=40),
    st.text(
        st.characters(min_codepoint=33, exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=8, max_size=30
    ),
)
CHAINS = st.lists(st.sampled_from(sorted(ENCODINGS)), min_size=1, max_size=3)


def encoded(key: str, chain: Sequence[str]) -> str:
    """A key in one encoding after the other."""
    for name in chain:
        key = ENCODINGS[name](key)
    return key


def in_chunks(payload: bytes, sizes: Sequence[int]) -> bytes:
    """A body in HTTP chunks of these sizes and one with the rest."""
    pieces, at = [], 0
    for size in [*sizes, len(payload)]:
        if payload[at : at + size]:
            pieces.append(payload[at : at + size])
        at += size
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def payload_of(answer: bytes) -> bytes:
    """The body of an answer in chunks."""
    body, found = answer[answer.index(b"\r\n\r\n") + 4 :], b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found


@settings(max_examples=examples(300), deadline=None)
@given(KEYS, CHAINS)
@example("abcd+efgh/ij=", ["json of .NET", "html, hex", "percent"])
@example("abcd+efgh/ij=", ["percent", "percent", "percent"])
@example("abcd+efgh/ij=", ["base64", "base64", "hex"])
@example("0000000:::::::::::::::::", ["a form", "base64 of mails", "a form"])
def test_no_encoding_hides_a_key(key: str, chain: list[str]) -> None:
    """In text, in bytes and in what a model said: one encoding or one inside the other."""
    redactor, form = Redactor([key]), encoded(key, chain)
    text = f'{{"said": "{form}"}}'
    assert form not in redactor.exact(text)
    assert form not in redactor.text(text)
    masked = redactor.data(text.encode())
    assert form.encode() not in masked
    assert len(masked) == len(text.encode())


@settings(max_examples=examples(200), deadline=None)
@given(KEYS, CHAINS, st.lists(st.integers(1, 9), max_size=30), st.sampled_from([200, 401]))
def test_no_chunks_hide_a_key(key: str, chain: list[str], sizes: list[int], status: int) -> None:
    """Wherever the chunks of an answer cut it; the answer's form stays as it was."""
    form = encoded(key, chain).encode()
    payload = b'data: {"error": "%s"}\n\n' % form
    masked = Redactor([key]).answer(HEAD % status + in_chunks(payload, sizes))
    assert form not in payload_of(masked)
    assert len(payload_of(masked)) == len(payload)


@settings(max_examples=examples(200), deadline=None)
@given(KEYS, CHAINS, st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_no_pieces_of_a_text_hide_a_key(key: str, chain: list[str], sizes: list[int]) -> None:
    """Over events of a streamed text, and over lines of one event's data."""
    assume(len(key.strip('"\\')) >= 8)
    form = encoded(key.strip('"\\'), chain)  # else it might begin with a quote of the event's own
    pieces, at = [], 0
    for size in [*sizes, len(form)]:
        pieces.append(form[at : at + size])
        at += size
    redactor = Redactor([key.strip('"\\')])
    deltas = [json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}) for piece in pieces if piece]
    masked = payload_of(
        redactor.answer(HEAD % 200 + in_chunks("".join(f"data: {each}\n\n" for each in deltas).encode(), []))
    )
    events = [json.loads(line[6:]) for line in masked.decode().split("\n\n") if line]
    assert form not in "".join(event["choices"][0]["delta"]["content"] for event in events)
    if "\n" not in form:
        lines = b"".join(b"data: %s\n" % piece.encode() for piece in pieces if piece)
        masked = payload_of(redactor.answer(HEAD % 500 + in_chunks(lines + b"\n", [])))
        assert form not in "".join(line[6:] for line in masked.decode().split("\n") if line)


@given(KEYS, st.integers(1, 7))
def test_no_folded_header_hides_a_key(key: str, cut: int) -> None:
    """A header over two lines is one."""
    if any(ord(char) > 255 for char in key):
        key = key.encode().hex()
    head = b"HTTP/1.1 401 No\r\nX-Key: %s\r\n\t %s\r\nContent-Length: 0\r\n\r\n"
    raw = head % (key[:cut].encode(), key[cut:].encode())
    masked = Redactor([key]).answer(raw)
    assert key.encode() not in masked.replace(b"\r\n\t ", b"")
    assert len(masked) == len(raw)


@settings(deadline=None)
@given(st.text(max_size=300), st.binary(max_size=300))
def test_what_holds_no_key_stays_as_it_is(text: str, content: bytes) -> None:
    """No decoding changes what is kept."""
    redactor = Redactor(["a-long-secret+/="])
    assert redactor.exact(text) == text
    assert redactor.data(content) == content


@pytest.mark.parametrize("cut", range(7, 60, 4))
def test_a_cut_inside_an_escape_leaves_nothing(cut: int) -> None:
    """Of a secret's first part, its last escape may be cut as well."""
    key = "s3cr3t+with/more+and+more"
    for name in ("json of .NET", "percent", "html, hex", "json, every character"):
        form = encoded(key, [name])
        shown = Redactor([key]).text("the key " + form[:cut])
        kept = shown.removeprefix("the key ")
        assert kept == "***" or len(form[:cut]) < 6 * (6 if "every" in name else 2), (name, shown)


@pytest.mark.parametrize(
    "noise",
    ["\\", "%25", "&amp;", "\\u005c", "%", "&", "&#", "\n", "\r\ndata:", " \n", "aGVsbG8", "61:", "0x61,", "12,",
     '"content":"', '"content":"\\', "5\r\na\r\n", "abc\\u002b", "A"],
)  # fmt: skip
def test_hostile_answers_take_no_time(noise: str) -> None:
    """A megabyte made of whatever begins an escape is done in linear time."""
    redactor = Redactor(["\\\\%25&amp;a+b/c=&#x5c;", 'zzzz zzzz"zzzz', "a" * 200])
    answer = HEAD % 500 + (noise * (1_000_000 // len(noise))).encode()
    began = time.process_time()
    redactor.answer(answer)
    redactor.text(answer.decode("latin-1"), 2_000)
    assert time.process_time() - began < 60


def test_an_answer_of_many_keys_is_done_at_once() -> None:
    """A key ten thousand times over, in three encodings, goes in one go."""
    key = "abcd+efgh/ijkl=mnop"
    forms = [encoded(key, [name]) for name in ("json of .NET", "base64", "hex, in pairs")]
    answer = HEAD % 500 + in_chunks(" ".join(forms * 3_000).encode(), [7] * 1_000)
    began = time.process_time()
    masked = payload_of(Redactor([key]).answer(answer)).decode()
    assert not any(form in masked for form in forms)
    assert time.process_time() - began < 60
