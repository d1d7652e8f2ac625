"""Planted keys: whatever a server does with the key that it was sent, it reaches no file and no screen."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import socket
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_doubles import HEAD, RawServer
from tiny_runs import Tiny

from pytest_flperf.backends.resolver import secrets_of
from pytest_flperf.suite.targets import TargetSpec

KEY = "Zq7/plan+ted=K3y~0x9Wv/Tr8mN"
"""Of no known form, and different in JSON with escaped slashes, in URLs and in base64."""
PIECE = 9
"""Characters of a key in a row that are too many."""
UNKNOWN = "sk-proj-Abcdefghij0123456789klmn"
"""A key that nobody told us of."""
OUTPUTS = ("--junitxml=j.xml", "--flperf-csv=c.csv", "--flperf-json=r.json", "--flperf-markdown=m.md", "-vv", "-rA")


def response(status: int, body: str | bytes, headers: str = "", kind: str = "application/json") -> bytes:
    """A whole answer."""
    data = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n{headers}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def refusal(message: str, status: int = 401) -> bytes:
    """An error as OpenAI's API has it."""
    return response(status, json.dumps({"error": {"message": message, "type": "x", "code": "invalid_api_key"}}))


def chunked(status: int, body: str, size: int, headers: str = "") -> bytes:
    """An answer in chunks of a few bytes, so that no key in it is whole."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}"
    data = body.encode()
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def events(*texts: str, before: str = "") -> bytes:
    """A streamed answer with these pieces of text."""
    deltas = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts]
    deltas.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    data = "".join("data: " + json.dumps({"id": "x", "choices": [delta]}) + "\n\n" for delta in deltas)
    return HEAD + (before + data + "data: [DONE]\n\n").encode()


def basic(key: str, user: str) -> str:
    """A user and a key as Basic authentication writes them."""
    return base64.b64encode(f"{user}:{key}".encode()).decode()


def quoted(key: str) -> str:
    """A key in a URL, with small letters."""
    return re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(key, safe=""))


def net(key: str) -> str:
    """A key in JSON of System.Text.Json."""
    return re.sub("[^A-Za-z0-9/=~ ]", lambda found: f"\\u{ord(found[0]):04X}", key)


def html_numbers(key: str, form: str) -> str:
    """A key whose signs are references to characters."""
    return re.sub("[^A-Za-z0-9]", lambda found: f"&#{form.format(ord(found[0]))};", key)


WAYS: dict[str, Callable[[str], bytes]] = {
    "message": lambda key: refusal(f"Incorrect API key provided: {key}."),
    "bearer": lambda key: refusal(f"bad header 'Authorization: Bearer {key}'"),
    "header": lambda key: response(401, "no", f'WWW-Authenticate: Bearer realm="{key}"\r\nX-Echo: {key}\r\n'),
    "server_error": lambda key: response(500, f"<pre>x.py: headers={{'x-api-key': '{key}'}}</pre>", kind="text/html"),
    "rate_limited": lambda key: refusal(f"key {key} has no quota", 429),
    "not_found": lambda key: refusal(f"model m does not exist for {key}", 404),
    "query": lambda key: refusal(f"GET https://host.example/v1/x?api_key={key}&n=1 failed"),
    "quoted": lambda key: refusal(f"GET /v1?key={urllib.parse.quote(key, safe='')}"),
    "quoted_small": lambda key: refusal(f"GET /v1?key={quoted(key)}"),
    "quoted_path": lambda key: refusal(f"GET /v1/{urllib.parse.quote(key)}/x"),
    "userinfo": lambda key: refusal(f"can't reach https://me:{urllib.parse.quote(key, safe='')}@host.example/v1"),
    "base64": lambda key: refusal(f"got {basic(key, 'u')} and {basic(key, 'me')} and {basic(key, '')}"),
    "base64_url": lambda key: refusal(f"got {base64.urlsafe_b64encode(key.encode()).decode()}"),
    "slashes": lambda key: response(401, '{"error": {"message": "key ' + key.replace("/", "\\/") + ' is bad"}}'),
    "unicode": lambda key: response(
        401, '{"error": {"message": "key ' + "".join(f"\\u{ord(each):04x}" for each in key) + ' is bad"}}'
    ),
    "json_in_json": lambda key: refusal(json.dumps({"headers": json.dumps({"token": key.replace("/", "\\/")})})),
    "chunked": lambda key: chunked(401, json.dumps({"error": {"message": f"the key {key} is bad"}}), 5),
    "chunked_small": lambda key: chunked(500, f"the key {key} is bad", 1),
    "cut": lambda key: response(500, "x" * (2048 - 20) + key + "y" * 100, kind="text/plain"),
    "cut_message": lambda key: refusal("x" * (500 - 20) + key + "y" * 100),
    "chunked_cut": lambda key: chunked(500, "x" * (2048 - 20) + key + "y" * 100, 7),
    "redirect": lambda key: response(302, "", f"Location: https://host.example/?token={key}\r\n"),
    "event": lambda key: HEAD + b'data: {"error": {"message": "key ' + key.encode() + b'"}}\n\n',
    "stray": lambda key: HEAD + f"internal error: key {key}\n".encode(),
    "comment": lambda key: events("Hel", "lo", before=f": key {key}\n\n"),
    "echo": lambda key: events("Your key is ", key, "!"),
    "echo_header": lambda key: events("Hel", "lo").replace(b"\r\n\r\n", f"\r\nx-api-key: {key}\r\n\r\n".encode(), 1),
    "no_http": lambda key: f"SSH-2.0 {key}\r\n".encode(),
    "net": lambda key: response(401, '{"error":"' + net(key) + '"}'),
    "net_event": lambda key: HEAD + f'data: {{"error":{{"message":"{net(key)}"}}}}\n\n'.encode(),
    "go": lambda key: response(401, json.dumps({"error": f"<{key}>&"}).replace("&", "\\u0026").replace("<", "\\u003c")),
    "html_hex": lambda key: response(500, f"<p>{html_numbers(key, 'x{:X}')}</p>", kind="text/html"),
    "html_decimal": lambda key: response(500, f"<p>{html_numbers(key, '{}')}</p>", kind="text/html"),
    "percent_twice": lambda key: refusal(urllib.parse.quote(urllib.parse.quote(key, safe=""), safe="")),
    "percent_chunks": lambda key: chunked(401, urllib.parse.quote(key, safe=""), 2),
    "net_chunks": lambda key: chunked(401, '{"error":"' + net(key) + '"}', 3),
    "base64_chunks": lambda key: chunked(401, basic(key, "u"), 4),
    "hex": lambda key: refusal(f"{key.encode().hex()} {key.encode().hex().upper()}"),
    "data_lines": lambda key: HEAD + f"data: the key\ndata: {key[:11]}\ndata: {key[11:]}\n\n".encode(),
    "folded": lambda key: response(401, "no", f"X-Echo: {key[:11]}\r\n\t{key[11:]}\r\n"),
    "page_in_json": lambda key: refusal(f"<p>{html_numbers(net(key), '{}')}</p>"),
    "echo_pieces": lambda key: events("Your key is ", *re.findall(".{1,3}", key), "!"),
    "head_only": lambda key: f"HTTP/1.1 401 {key}\r\nContent-Length: 0\r\n\r\n".encode(),
}
_APART = (
    "base64", "base64_url", "unicode", "chunked", "chunked_small", "chunked_cut", "cut", "cut_message", "percent_twice",
    "percent_chunks", "net_chunks", "base64_chunks", "hex", "data_lines", "folded", "page_in_json", "echo_pieces",
    "net_event", "net", "go", "html_hex", "html_decimal",
)  # fmt: skip
"""Hides a key so that its form can't be seen."""


def forms(key: str) -> Iterator[str]:
    """Pieces of a key as it is and as it is written elsewhere, long enough to be of use to a thief."""
    written = [key, urllib.parse.quote(key, safe=""), quoted(key), key.replace("/", "\\/"), json.dumps(key)[1:-1]]
    for text in dict.fromkeys(written):
        yield from (text[start : start + PIECE] for start in range(len(text) - PIECE + 1))
    for before in ("", "a", "ab"):  # three ways to lie in base64
        encoded = base64.b64encode((before + key).encode()).decode()[len(before) + 1 : -4]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")
    yield "".join(f"\\u{ord(each):04x}" for each in key[:PIECE])
    yield key[:PIECE].encode().hex()
    yield key[:PIECE].encode().hex().upper()


def readings(content: str) -> Iterator[str]:
    """What somebody may make of a file who looks for keys in it."""
    yield content
    yield content.replace("\\\\", "\\")  # of files in JSON
    joined = re.sub(r"\\r\\n[0-9a-f]{1,4}\\r\\n", "", content)
    yield joined
    yield re.sub(r'\\"\}.{1,60}?data: .{1,90}?\\"content\\": \\"', "", joined)
    joined = re.sub(r"(?:\\r)?\\n(?:data: |\\t|[ \t])|<wbr>", "", joined)
    for _ in range(4):
        joined = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), joined)
        joined = html.unescape(urllib.parse.unquote(joined))
        yield joined


def leaks(folder: Path, text: str, key: str) -> list[str]:
    """The files, and the screen, in which a form of a key stands; chunks that are put together count as well."""
    found = []
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {"j.xml", "c.csv", "r.json", "m.md"} <= set(files)
    assert any(name.endswith("report.html") for name in files)
    assert any(name.endswith("journal.jsonl") for name in files)
    contents = {name: path.read_text(encoding="utf-8", errors="replace") for name, path in files.items()}
    wanted = list(forms(key))
    for name, content in {**contents, "(screen)": text}.items():
        read = list(dict.fromkeys(readings(content)))
        pieces = [form for form in wanted if any(form in each for each in read)]
        if pieces:
            found.append(f"{name}: {pieces[0]}")
    return found


@contextlib.contextmanager
def answering(data: bytes) -> Iterator[str]:
    """A server that gives everybody these bytes, also who asks for its models; its URL."""

    def behave(connection: socket.socket, _number: int) -> None:
        request = connection.recv(65_536)
        if b"content-length" in request.lower():
            connection.recv(65_536) if request.endswith(b"\r\n\r\n") else None
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    with RawServer(behave, lists=True) as server:
        yield server.base_url


@pytest.mark.parametrize("way", WAYS)
def test_the_key_of_the_run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The key that was named by its variable stands nowhere, in no form."""
    monkeypatch.setenv("MY_KEY", KEY)
    tiny.suite()
    with answering(WAYS[way](KEY)) as url:
        at = (f"--flperf-base-url={url}", "--flperf-model=m", "--flperf-api-key-env=MY_KEY")
        done = tiny.run("--flperf-suite=tiny.json", *at, *OUTPUTS)
    assert leaks(tiny.folder, done.text, KEY) == []


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way not in ("event", "stray", "comment", "echo", "no_http", *_APART)]
)
def test_a_key_that_nobody_named(tiny: Tiny, way: str) -> None:
    """What has a key's form is masked in everything that a server says, but not in what a model wrote."""
    tiny.suite()
    with answering(WAYS[way](UNKNOWN)) as url:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=m", *OUTPUTS)
    found = leaks(tiny.folder, done.text, UNKNOWN)
    assert found == []


def test_a_key_of_the_environment(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that a server of ours may have taken from there, and tells, is masked without being named."""
    monkeypatch.setenv("AZURE_API_KEY", KEY)
    tiny.suite()
    with answering(WAYS["message"](KEY)) as url:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=m", *OUTPUTS)
    assert leaks(tiny.folder, done.text, KEY) == []


@pytest.mark.parametrize("way", ["message", "header", "quoted", "comment"])
def test_a_test_of_somebody_s_own(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A failing test of a user's, shown with every local variable of every frame."""
    monkeypatch.setenv("MY_KEY", KEY)
    (tiny.folder / "test_mine.py").write_text(
        "def test_it(flperf):\n    assert flperf.run(prompt='Hi', iterations=1).ttft_ms.p50 < 0\n"
    )
    shown = ("--showlocals", "--full-trace", "--tb=long", *OUTPUTS)
    with answering(WAYS[way](KEY)) as url:
        at = (f"--flperf-base-url={url}", "--flperf-model=m", "--flperf-api-key-env=MY_KEY")
        result = tiny.pytester.runpytest_inprocess("test_mine.py", *at, *shown)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert leaks(tiny.folder, "\n".join([*result.outlines, *result.errlines]), KEY) == []


@pytest.mark.parametrize(
    "way", ["message", "header", "quoted", "base64", "echo", "chunked", "net", "html_hex", "percent_twice", "hex"]
)
def test_listing_models(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """``flperf models`` shows a server's refusal without the key."""
    monkeypatch.setenv("MY_KEY", KEY)
    with answering(WAYS[way](KEY)) as url:
        at = ("--base-url", url, "--api-key-env", "MY_KEY")
        result = tiny.pytester.run(sys.executable, "-m", "pytest_flperf", "models", *at)
    text = "\n".join([*result.outlines, *result.errlines])
    assert result.ret == 1
    assert "GET http://127.0.0.1" in text
    assert not [form for form in forms(KEY) if any(form in each for each in readings(text))]


def test_variables_that_a_target_names(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target's headers and options name variables: what is in them is masked, whatever they are called."""
    monkeypatch.setenv("MINE", KEY)
    with answering(WAYS["message"](KEY)) as url:
        tiny.suite(targets=[{"backend": "openai", "model": "m", "base_url": url, "headers_env": {"X-Mine": "MINE"}}])
        done = tiny.run("--flperf-suite=tiny.json", *OUTPUTS)
    assert leaks(tiny.folder, done.text, KEY) == []
    spec = TargetSpec("openai/m", "litellm", options={"params": {"nested": ["os.environ/MINE"]}})
    assert KEY in secrets_of(None, [spec])


def test_what_a_model_writes_stays(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks like a key is a model's right to write: it is kept as it came."""
    monkeypatch.setenv("MY_KEY", KEY)
    written = f"password: hunter22, api_key=abcd1234 {UNKNOWN} Bearer abc.def-123"
    tiny.suite({"expect": {"contains": UNKNOWN}})
    with answering(events(*re.findall(".{1,7}", written))) as url:
        at = (f"--flperf-base-url={url}", "--flperf-model=m", "--flperf-api-key-env=MY_KEY")
        done = tiny.run("--flperf-suite=tiny.json", *at)
    assert done.ret == 0, done.text
    (sample,) = [each for each in done.journal("samples.jsonl") if each["phase"] == "measured"]
    assert sample["output_text"] == written


def test_a_password_in_a_url(tiny: Tiny) -> None:
    """It is refused, and the message says so without it."""
    tiny.suite()
    url = f"--flperf-base-url=http://me:{KEY}@127.0.0.1:9/v1"
    message = tiny.refused("--flperf-suite=tiny.json", url, "--flperf-model=m")
    assert not any(form in message for form in forms(KEY))


@pytest.mark.parametrize("place", ["option", "target", "suite"])
def test_a_key_in_a_query(tiny: Tiny, place: str) -> None:
    """It is sent, and stands nowhere, also where the server says it again in other forms and nobody listens at last."""
    url = f"http://127.0.0.1:9/v1?api-version=1&api_key={KEY}"
    target = {"base_url": url, "model": "m", "name": "gateway"}
    tiny.suite(**({"targets": [target]} if place == "suite" else {}))
    at = {
        "option": (f"--flperf-base-url={url}", "--flperf-model=m"),
        "target": (f"--flperf-target=base_url={url},model=m,name=gateway",),
        "suite": (),
    }[place]
    done = tiny.run("--flperf-suite=tiny.json", *at, "-vv", "--junitxml=j.xml")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert not any(form in done.text for form in forms(KEY))
    files = [path for path in tiny.folder.rglob("*") if path.is_file() and path.name != "tiny.json"]
    assert len(files) > 3
    assert not [path for path in files if any(form.encode() in path.read_bytes() for form in forms(KEY))]
