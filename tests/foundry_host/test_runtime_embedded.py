"""The embedded models on the real Foundry Local runtime: list, load, answer, unload."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from runtime_doubles import MakeConfig

from pytest_flperf.foundry_host import process
from pytest_flperf.foundry_host.client import HostConfig, RuntimeHost
from pytest_flperf.foundry_host.embedded import embedded_models, find_embedded
from pytest_flperf.foundry_host.errors import ModelNotFound

PROMPTS = (
    "Hello",
    "Wie schnell bist du? Größe, Übermut, ß.",
    "¿Qué tan rápido eres?",
    "Насколько быстро?",
    "言語モデルは速いですか。",
    "ما مدى سرعتك؟",
    "क्या हाल है? 🏳️‍🌈 𝔘\U0010fffd",
    '{"a": [1, 2]}\r\n\tdef f(x): return x\x00\x7f',
)


def ask(host: RuntimeHost, model: str, prompt: str, max_tokens: int = 24, **more: Any) -> tuple[int, list[Any]]:
    """Status and events of a streamed answer."""
    address = urlsplit(host.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, "stream": True}
    body |= {"temperature": 0, "stream_options": {"include_usage": True}, **more}
    try:
        connection.request(
            "POST", f"{address.path}/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        lines = response.read().split(b"\n")
    finally:
        connection.close()
    return response.status, [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def text_of(events: list[Any]) -> str:
    """The text of all chunks."""
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


@pytest.fixture(scope="module")
def loaded_host(shared_host: RuntimeHost) -> Iterator[RuntimeHost]:
    """A host with both models in memory."""
    for model in embedded_models():
        shared_host.load(model.id)
    return shared_host


def test_cards_of_the_packaged_models() -> None:
    """Two models of clearly different size ship, small enough, the smaller one first, and say what they are."""
    nano, micro = embedded_models()
    assert (nano.id, micro.id) == ("flperf-nano:1", "flperf-micro:1")
    assert micro.parameters > 4 * nano.parameters
    assert nano.size_bytes + micro.size_bytes < 10_000_000
    assert all("noise by design" in model.note for model in (nano, micro))
    assert find_embedded("flperf-nano") == find_embedded("flperf-nano:1") == nano
    assert find_embedded("gpt-5") is None


def test_packaged_files_name_no_machine() -> None:
    """No file of a packaged model holds a path of the machine that built it."""
    places = [str(place).encode() for place in (Path.home(), tempfile.gettempdir(), Path(__file__).parents[2])]
    for model in embedded_models():
        for path in model.folder.iterdir():
            data = path.read_bytes()
            assert not [place for place in places if place + b"/" in data], path


def test_list(shared_host: RuntimeHost) -> None:
    """Listing shows the packaged models with what a person wants to know of them."""
    models = {model.alias: model for model in shared_host.list_models()}
    assert set(models) == {"flperf-nano", "flperf-micro"}
    nano = models["flperf-nano"]
    assert (nano.id, nano.device, nano.execution_provider) == ("flperf-nano:1", "CPU", "CPUExecutionProvider")
    assert (nano.context_length, nano.max_output_tokens) == (4096, 2048)
    assert (nano.task, nano.license) == ("chat-completion", "MIT")
    assert nano.size_mb is not None
    assert nano.cached
    assert nano.default


def test_load_answer_unload(host: RuntimeHost) -> None:
    """A loaded model streams tokens over HTTP, an unloaded one does not."""
    model = host.resolve("flperf-nano")
    assert 0 < host.load(model.id) < 120
    assert host.status().loaded == ("flperf-nano:1",)
    assert host.resolve("flperf-nano").loaded
    status, events = ask(host, model.id, "Hello")
    assert status == 200
    assert text_of(events)
    host.unload(model.id)
    assert host.status().loaded == ()
    assert ask(host, model.id, "Hello")[0] >= 400


def test_alias_is_no_id(loaded_host: RuntimeHost) -> None:
    """An alias resolves to the id that requests must name; the web service itself refuses the alias."""
    assert loaded_host.resolve("flperf-nano").id == loaded_host.resolve("flperf-nano:1").id == "flperf-nano:1"
    assert loaded_host.resolve("FLPERF-Nano").id == "flperf-nano:1"
    assert ask(loaded_host, "flperf-nano", "Hello")[0] == 404


@pytest.mark.parametrize("name", ["flperf-nan", "nano", "flperf-nano:7"])
def test_unknown_model(shared_host: RuntimeHost, name: str) -> None:
    """An unknown name fails with the nearest names and with the option that shows all."""
    with pytest.raises(ModelNotFound, match="flperf-list-models") as caught:
        shared_host.resolve(name)
    assert caught.value.name == name
    assert "flperf-nano" in caught.value.nearest


def test_unknown_model_loaded_by_id(shared_host: RuntimeHost) -> None:
    """Loading an id that does not exist is ModelNotFound, too, and the host lives on."""
    with pytest.raises(ModelNotFound):
        shared_host.load("flperf-giant:1")
    assert shared_host.alive


def test_hostile_names(shared_host: RuntimeHost) -> None:
    """Names with anything in them are simply unknown, and can't act on a terminal."""
    for name in ("", "\0", "a:\0", "\x1b[31mred\n\n", "é" * 100_000, "\ud800", "🏳️‍🌈:1", "'; --"):
        with pytest.raises(ModelNotFound) as caught:
            shared_host.resolve(name)
        assert len(str(caught.value)) < 5_000
        assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("model_id", ["flperf-nano:1", "flperf-micro:1"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_answers_never_stop_early(loaded_host: RuntimeHost, model_id: str, prompt: str) -> None:
    """Greedy answers to prompts in any script begin with visible text and end exactly at max_tokens."""
    status, events = ask(loaded_host, model_id, prompt, max_tokens=200)
    assert status == 200
    assert events[-1]["usage"]["completion_tokens"] == 200
    assert [choice["finish_reason"] for event in events for choice in event["choices"]][-1] == "length"
    assert text_of(events[:3])


def test_greedy_answers_repeat(loaded_host: RuntimeHost) -> None:
    """The same prompt gets the same greedy answer, another prompt another one."""
    first, again, other = (
        text_of(ask(loaded_host, "flperf-micro:1", p)[1]) for p in ("Hello", "Hello", "Good evening")
    )
    assert first == again != other


def test_sampled_answers_do_not_stop_early(loaded_host: RuntimeHost) -> None:
    """A temperature changes the answer and not its length."""
    for seed in range(5):
        _, events = ask(loaded_host, "flperf-nano:1", "Hello", max_tokens=300, temperature=1.0, seed=seed)
        assert events[-1]["usage"]["completion_tokens"] == 300


def test_unloaded_behind_our_back(host: RuntimeHost) -> None:
    """The status shows when the runtime has unloaded a model by itself."""
    host.load("flperf-nano:1")
    address = urlsplit(host.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
    try:
        # This route wants the name without the version, unlike /v1.
        connection.request("GET", "/models/unload/flperf-nano")
        assert connection.getresponse().read() == b'{"status":"unloaded"}'
    finally:
        connection.close()
    assert host.status().loaded == ()
    host.load("flperf-nano:1")
    assert host.status().loaded == ("flperf-nano:1",)


def test_read_only_models(make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models in a folder that nobody can write to load, and nothing is written there."""
    models = []
    for model in embedded_models():
        folder = Path(shutil.copytree(model.folder, tmp_path / "site-packages" / model.name))
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        models.append(replace(model, folder=folder))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "site-packages").rglob("*")}
    monkeypatch.setattr(process, "embedded_models", lambda: tuple(models))
    try:
        with RuntimeHost.start(make_config()) as host:
            host.load("flperf-nano:1")
            assert ask(host, "flperf-nano:1", "Hello")[0] == 200
            host.unload("flperf-nano:1")
    finally:
        for model in models:
            model.folder.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "site-packages").rglob("*")} == before
    assert not list((tmp_path / "temp").iterdir())


def test_copies_where_links_fail(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system allows no symbolic links the models are copied, and the copies are removed."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    config: HostConfig = make_config()
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with RuntimeHost.start(config) as host:
        host.load("flperf-nano:1")
    assert config.temp_dir is not None
    assert not list(config.temp_dir.iterdir())


def test_proxy_is_not_asked_for_loopback(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's proxy in the environment does not come between the runtime and its loopback catalog."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "intranet.example")
    with RuntimeHost.start(make_config()) as host:
        assert len(host.list_models()) == 2
