"""Finding servers on this machine: stand-ins on free ports, the real reference server and the real Foundry runtime."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ollama_double import OllamaDouble
from server_doubles import Answer, Asked, Double, free_port

from pytest_flperf.backends import local_servers
from pytest_flperf.backends.base import About, BackendConfig, ListedModel
from pytest_flperf.backends.local_servers import FoundServer, find_servers
from pytest_flperf.backends.registry import BUILT_IN, BackendType, registry
from pytest_flperf.foundry_host.client import HostConfig, RuntimeHost
from pytest_flperf.reference_server import ReferenceServer


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else may run here is not the test's business."""
    monkeypatch.setattr(local_servers, "_WELL_KNOWN", ())
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


def at(*roots: str) -> dict[str, BackendType]:
    """The built-in kinds, to be found at other addresses than theirs."""
    kinds = {name: replace(each, local_urls=()) for name, each in BUILT_IN.items()}
    kinds["openai"] = replace(kinds["openai"], local_urls=roots)
    return kinds


class Told(Double):
    """Answers as its table says."""

    def __init__(self, routes: dict[str, Any]) -> None:
        super().__init__()
        self.routes = routes

    def answer(self, asked: Asked) -> Answer:
        """By path."""
        found = self.routes.get(asked.path)
        return found if isinstance(found, Answer) else Answer(found) if found is not None else Answer("no", 404)


LLAMA = {
    "/health": {"status": "ok"},
    "/models": {"data": [{"id": "m", "status": {"value": "unloaded"}}]},
    "/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp"}]},
}
MODELS = {"data": [{"id": "m", "owned_by": "x"}]}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ({"/v1/models": MODELS}, ("openai", "OpenAI-compatible server", "")),
        (
            {"/v1/models": {"data": [{"id": "m", "owned_by": "vllm"}]}, "/version": {"version": "0.11"}},
            ("openai", "vLLM", "0.11"),
        ),
        (
            LLAMA | {"/props": {"default_generation_settings": {"n_ctx": 4096}, "build_info": "b6790-1"}},
            ("llamacpp", "llama.cpp", "b6790-1"),
        ),
        (
            LLAMA | {"/props": {"role": "router", "default_generation_settings": {}, "build_info": "b6790-1"}},
            ("llamacpp", "llama.cpp", "b6790-1"),
        ),
        (
            {
                "/v1/models": MODELS,
                "/api/tags": {"models": []},
                "/api/extra/version": {"result": "KoboldCpp", "version": "1.117"},
            },
            ("openai", "KoboldCpp", "1.117"),
        ),
        ({"/v1/models": MODELS, "/health/liveliness": "I'm alive!"}, ("openai", "LiteLLM", "")),
        ({"/api/v0/models": {"data": [{"id": "m", "type": "llm"}]}}, ("lmstudio", "LM Studio", "")),
        (
            {"/openai/loadedmodels": [], "/openai/models": ["m:1"], "/foundry/list": []},
            ("foundry-service", "Foundry Local service", ""),
        ),
    ],
)
def test_kinds_by_their_own_paths(routes: dict[str, Any], expected: tuple[str, str, str]) -> None:
    """Whatever the port: KoboldCpp, which plays Ollama as well, is not taken for it."""
    with Told(routes) as server:
        (found,) = find_servers(at(server.root))
        assert (found.kind, found.runtime, found.version) == expected
        assert (found.url, found.problem) == (f"{server.root}/v1", "")
        assert [each.model_id for each in found.models] in (["m"], ["m:1"])
        assert {each.method for each in server.asked} == {"GET"}, "asking loads nothing"
        assert not [each for each in server.asked if "authorization" in each.headers]


def test_real_servers_side_by_side(tmp_path: Path) -> None:
    """Ollama's stand-in with what is loaded, the reference server, the real Foundry runtime, and nobody at a port."""
    with OllamaDouble("a:1", "b:latest") as ollama, ReferenceServer() as reference, ExitStack() as stack:
        host = stack.enter_context(RuntimeHost.start(HostConfig(logs_dir=tmp_path)))
        ollama.running["b:latest"] = {"name": "b:latest"}
        nobody = f"http://127.0.0.1:{free_port()}"
        found = find_servers(at(ollama.root, nobody, reference.base_url, host.url))
        assert [each.kind for each in found] == ["ollama", "openai", "foundry-service"]
        assert [(each.model_id, each.loaded) for each in found[0].models] == [("a:1", False), ("b:latest", True)]
        assert found[0].version == "0.12.6"
        assert found[1].models
        assert {each.model_id for each in found[2].models} == {"flperf-micro:1", "flperf-nano:1"}
        assert host.status().loaded == ()
        assert not any(each.problem for each in found)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_what_goes_wrong_is_told(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent one, a web page, one that redirects, one that wants a key: each says so, none holds up the others."""
    monkeypatch.setattr(local_servers, "_ASK_S", 0.3)
    elsewhere = Answer("", 302, {"Location": "http://127.0.0.1:1/"})
    keyed = {"/v1/models": Answer({"error": "no key"}, 401), "/health/liveliness": "I'm alive!"}
    with Told({"/": "<html>"}) as page, Told({"/v1/models": elsewhere}) as moved, Told(keyed) as locked:
        begun = time.monotonic()
        found = {each.url: each for each in find_servers(at(silent, page.root, moved.root, locked.root))}
        assert time.monotonic() - begun < 60
        assert "no answer within 0.3 s" in found[f"{silent}/v1"].problem
        for server in (page, moved):
            assert "not as a model server does" in found[f"{server.root}/v1"].problem
        assert found[f"{locked.root}/v1"].runtime == "LiteLLM"
        assert "needs a key" in found[f"{locked.root}/v1"].problem


def test_it_ends_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte now and then would go on for ever: it is left behind."""
    monkeypatch.setattr(local_servers, "_ALL_S", 0.5)

    class Trickle(Double):
        def answer(self, asked: Asked) -> Answer:
            return Answer(lines=iter(lambda: self.released.wait(0.05) or " ", True))  # type: ignore[arg-type]

    with Trickle() as server:
        begun = time.monotonic()
        (found,) = find_servers(at(server.root))
        assert time.monotonic() - begun < 60
        assert "did not answer within 0.5 s" in found.problem


def test_ollama_where_its_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine only; an address that is none is passed over."""
    with OllamaDouble("a:1") as server:
        for host, kinds in ((f"0.0.0.0:{server.port}", ["ollama"]), ("192.0.2.1:1", []), ("a:b:c", [])):
            monkeypatch.setenv("OLLAMA_HOST", host)
            assert [each.kind for each in find_servers(at())] == kinds


def test_a_foundry_service_that_is_only_said_to_be_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows on ARM64."""
    monkeypatch.setattr(local_servers, "service_url", lambda: f"http://127.0.0.1:{free_port()}")
    (found,) = find_servers(at())
    assert found.kind == "foundry-service"
    assert "nothing accepts a connection" in found.problem


class Theirs:
    """As much of a backend of another package as finding needs."""

    name = "theirs"

    def __init__(self, config: BackendConfig) -> None:
        self.broken = config.base_url is None

    def about(self) -> About:
        """Its own word."""
        return About("Their server", "7")

    def discover(self) -> tuple[ListedModel, ...]:
        """Raises what no contract allows."""
        raise RuntimeError("their bug")

    def close(self) -> None:
        """Nothing."""


def test_kinds_of_other_packages() -> None:
    """They say what they are at their own addresses; what they raise ends their own question only."""
    with Told({"/v1/models": MODELS}) as one, Told({"/v1/models": MODELS}) as other:
        kind = BackendType("theirs", Theirs, "…", local_urls=(one.root,))  # type: ignore[arg-type]
        found = find_servers({**at(other.root), **registry([kind])} | at(other.root))
        by_url = {each.url: each for each in found}
        assert by_url[f"{one.root}/v1"] == FoundServer("", "", f"{one.root}/v1", problem="their bug")
        assert by_url[f"{other.root}/v1"].models


def test_nobody_anywhere() -> None:
    """Quick, and empty."""
    begun = time.monotonic()
    assert find_servers(at()) == ()
    assert time.monotonic() - begun < 60
