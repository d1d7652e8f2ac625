"""The small parts of the runtime room: names, log tails, reachability, the loopback catalog."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.foundry_host import logs
from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer, answer
from pytest_flperf.foundry_host.protocol import ModelInfo
from pytest_flperf.foundry_host.reachability import check_answers
from pytest_flperf.foundry_host.variants import nearest_names, pick

MODEL = ModelInfo(
    id="qwen2.5-0.5b-instruct-generic-cpu:4",
    alias="qwen2.5-0.5b",
    device="CPU",
    execution_provider="CPUExecutionProvider",
    size_mb=800,
    context_length=32768,
    max_output_tokens=2048,
    cached=False,
    loaded=False,
    default=False,
    task="chat-completion",
    license="apache-2.0",
)
GPU = replace(MODEL, id="qwen2.5-0.5b-instruct-cuda-gpu:4", device="GPU", default=True)


def test_alias_means_loaded_then_cached_then_default() -> None:
    """Of the variants of an alias, the loaded one wins over the cached one, that over the runtime's own choice."""
    assert pick("qwen2.5-0.5b", [MODEL, GPU]) == GPU
    cached = replace(MODEL, cached=True)
    assert pick("qwen2.5-0.5b", [cached, GPU]) == cached
    loaded = replace(GPU, loaded=True)
    assert pick("qwen2.5-0.5b", [cached, loaded]) == loaded


def test_name_means_its_newest_version() -> None:
    """A name without version means the newest version, an id exactly itself."""
    older = replace(MODEL, id="qwen2.5-0.5b-instruct-generic-cpu:3", cached=True)
    assert pick(MODEL.name, [older, MODEL]) == MODEL
    assert pick(older.id, [older, MODEL]) == older
    assert pick("qwen2.5-0.5b-instruct-generic-cpu:5", [older, MODEL]) is None


def test_exact_spelling_wins() -> None:
    """Where two names differ in case only, the exact one is meant."""
    upper = replace(MODEL, id="A:1", alias="Phi")
    lower = replace(MODEL, id="a:1", alias="phi")
    assert pick("phi", [upper, lower]) == lower
    assert pick("Phi", [upper, lower]) == upper
    assert pick("PHI", [upper, lower]) in {upper, lower}


@given(st.text(), st.lists(st.text()))
def test_nearest_names_are_known_names(name: str, known: list[str]) -> None:
    """Whatever is asked for, at most five of the known names come back."""
    nearest = nearest_names(name, known)
    assert len(nearest) <= 5
    assert set(nearest) <= set(known)


def test_nearest_names_find_parts() -> None:
    """A part of a name is near it, however long the rest."""
    known = ["qwen2.5-coder-14b-instruct-generic-cpu", "phi-4-mini", "mistral-7b"]
    assert nearest_names("coder", known) == ("qwen2.5-coder-14b-instruct-generic-cpu",)
    assert nearest_names("Phi4-mini", known) == ("phi-4-mini",)


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 50))
def test_clean_lines(text: str, limit: int) -> None:
    """A cleaned line is printable, and no longer than asked."""
    cleaned = logs.clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned.isprintable()


@given(st.binary(), st.integers(0, 5))
def test_tail_of_anything(tmp_path_factory: pytest.TempPathFactory, data: bytes, lines: int) -> None:
    """The tail of any bytes is a few printable lines."""
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(data)
    found = logs.tail(path, lines)
    assert len(found) <= lines
    assert all(line.isprintable() and line for line in found)


def test_tail(tmp_path: Path) -> None:
    """The tail is the last lines that say something, in order; a missing log has none."""
    path = tmp_path / "host.log"
    path.write_text("".join(f"line {number}\n\n" for number in range(100_000)))
    assert logs.tail(path, 2) == ("line 99998", "line 99999")
    assert logs.tail(tmp_path / "missing.log") == ()
    path.write_bytes(b"x" * 10_000_000)
    assert len(logs.tail(path)[0]) == 300


def test_nothing_listens() -> None:
    """A closed port is reported in time, and with the reason."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "accepted no connection" in str(check_answers(f"http://127.0.0.1:{port}", 0.2))
    assert "not an address" in str(check_answers("http://127.0.0.1:99999", 0.2))


def test_accepts_and_is_silent() -> None:
    """A port that accepts connections and says nothing is no service."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        problem = check_answers(f"http://127.0.0.1:{server.getsockname()[1]}", 0.3)
    assert problem == "accepted a connection there but never answered"


def test_answers_something_else() -> None:
    """A port where another protocol is spoken is no service."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)

        def speak() -> None:
            connection, _ = server.accept()
            connection.sendall(b"220 smtp ready\r\n")
            connection.close()

        thread = threading.Thread(target=speak)
        thread.start()
        problem = check_answers(f"http://127.0.0.1:{server.getsockname()[1]}", 0.2)
        thread.join()
    assert problem is not None


def request(url: str, body: bytes) -> Any:
    """POST to the catalog, never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body), timeout=120) as response:  # noqa: S310
        return json.load(response)


def test_catalog_server() -> None:
    """The catalog answers what matches the device filter, refuses nonsense, and closes."""
    entries = [CatalogEntry(name="a", alias="a"), CatalogEntry(name="b", alias="b", device="gpu")]
    asked = {
        "filters": [{"field": "properties/variantInfo/variantMetadata/device", "operator": "eq", "values": ["cpu"]}]
    }
    with CatalogServer(entries) as server:
        assert server.url.startswith("http://127.0.0.1:")
        page = request(server.url, json.dumps(asked).encode())
        assert [entry["id"] for entry in page["value"]] == ["a:1"]
        assert server.requests == [asked]
        for nonsense in (b"", b"{", b"[]", b'{"filters": 5}'):
            with pytest.raises(urllib.error.HTTPError) as caught:
                request(server.url, nonsense)
            assert caught.value.code in {400, 411}
            caught.value.close()
    with pytest.raises(OSError, match="refused"):
        request(server.url, b"{}")


def test_catalog_pages() -> None:
    """A long catalog comes in pages, each entry once."""
    entries = [CatalogEntry(name=f"m{number}", alias="m") for number in range(120)]
    names: list[str] = []
    token: str | None = ""
    while token is not None:
        page = answer(entries, {"pageSize": 50, "continuationToken": token})
        names += [entry["properties"]["name"] for entry in page["value"]]
        token = page["continuationToken"]
    assert names == [entry.name for entry in entries]


def test_parent_imports_nothing_heavy() -> None:
    """The parent's side imports neither the SDK nor anything else that is slow."""
    code = (
        "import sys, pytest_flperf.foundry_host.client; "
        "heavy = {'foundry_local_sdk', 'openai', 'pydantic', 'pytest', '_pytest', 'http.server', 'psutil'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
