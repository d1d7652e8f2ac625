"""LM Studio by a stand-in that follows its documentation of API v1 and v0: there is no LM Studio here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from server_doubles import Answer, Asked, Double, free_port, streamed

from pytest_flperf.backend_contract import BackendContract, answer_of
from pytest_flperf.backends.base import Backend, BackendConfig, BackendError
from pytest_flperf.backends.lmstudio import LmStudioBackend

KEYS = ("google/gemma-3-1b", "qwen/qwen3-4b")


def ignore(what: str, percent: float | None) -> None:
    """No progress."""


class LmStudioDouble(Double):
    """As documented; ``api`` is the newest that it has."""

    def __init__(self, api: str = "v1") -> None:
        super().__init__()
        self.api = api
        self.loaded: dict[str, str] = {}
        """Instance ids, and the model of each."""
        self.lies = False
        self.instance = "{}"

    def answer(self, asked: Asked) -> Answer:
        """Lists, loads, chats."""
        body = asked.body or {}
        if asked.path == "/api/v1/models" and self.api == "v1":
            return Answer({"models": [*map(self._v1, KEYS), {"type": "embedding", "key": "text-embedding-x"}]})
        if asked.path == "/api/v0/models":
            return Answer({"object": "list", "data": [*map(self._v0, KEYS), {"type": "embeddings", "id": "x"}]})
        if asked.path == "/api/v1/models/load" and self.api == "v1":
            instance = self.instance.format(body["model"])
            if not self.lies:
                self.loaded[instance] = body["model"]
            answer = {"type": "llm", "instance_id": instance, "load_time_seconds": 1.5, "status": "loaded"}
            return Answer(answer)
        if asked.path == "/api/v1/models/unload" and self.api == "v1":
            del self.loaded[body["instance_id"]]
            return Answer({"instance_id": body["instance_id"]})
        if asked.path == "/v1/chat/completions":
            if body["model"] not in self.loaded:
                self.loaded[body["model"]] = body["model"]  # just in time
            return streamed(model=body["model"]) if body.get("stream") else Answer({"choices": []})
        return Answer({"error": f"Unexpected endpoint or method. ({asked.method} {asked.path})"}, 404)

    def _v1(self, key: str) -> dict[str, Any]:
        loaded = [{"id": one, "config": {"context_length": 4096}} for one, of in self.loaded.items() if of == key]
        quantization = {"name": "Q4_K_M", "bits_per_weight": 4}
        more = {"quantization": quantization, "size_bytes": 512 << 20, "max_context_length": 32768}
        return {"type": "llm", "key": key, "loaded_instances": loaded, **more}

    def _v0(self, key: str) -> dict[str, Any]:
        state = "loaded" if key in self.loaded.values() else "not-loaded"
        return {"id": key, "type": "llm", "quantization": "Q4_K_M", "state": state, "max_context_length": 32768}


@pytest.fixture
def server() -> Iterator[LmStudioDouble]:
    """With API v1."""
    with LmStudioDouble() as running:
        yield running


class TestLmStudio(BackendContract):
    """API v1."""

    model, second_model = KEYS

    @pytest.fixture(autouse=True)
    def _server(self, server: LmStudioDouble) -> None:
        self.server = server

    def make(self) -> Backend:
        """A backend on it."""
        return LmStudioBackend(BackendConfig(base_url=self.server.root))


class TestLmStudioV0(TestLmStudio):
    """API v0: loads with a first request."""

    @pytest.fixture(autouse=True)
    def _older(self, server: LmStudioDouble) -> None:
        server.api = "v0"


def test_what_is_known_of_a_loaded_model(server: LmStudioDouble) -> None:
    """The instance's own id and context; only what was loaded here is unloaded."""
    server.instance = "{}:2"
    server.loaded["qwen/qwen3-4b"] = "qwen/qwen3-4b"
    backend = LmStudioBackend(BackendConfig(base_url=server.root))
    served = backend.ensure(KEYS[0], ignore)
    assert (served.model_id, served.context_length, served.size_mb) == ("google/gemma-3-1b:2", 4096, 512)
    assert (served.variant, served.endpoint.base_url) == ("Q4_K_M", f"{server.root}/v1")
    assert any("1.5 s" in note for note in served.notes)
    assert answer_of(served)
    assert backend.ensure(KEYS[1], ignore).load_s is None
    backend.close()
    assert set(server.loaded) == {"qwen/qwen3-4b"}


def test_a_model_that_went_is_loaded_again(server: LmStudioDouble) -> None:
    """Its time to live was over."""
    backend = LmStudioBackend(BackendConfig(base_url=server.root))
    first = backend.ensure(KEYS[0], ignore)
    server.loaded.clear()
    again = backend.ensure(KEYS[0], ignore)
    assert again.reloaded
    assert again.generation == first.generation + 1


def test_before_0_4(server: LmStudioDouble) -> None:
    """Without an API to load, a first request does; it is said, and nothing is unloaded."""
    server.api = "v0"
    backend = LmStudioBackend(BackendConfig(base_url=server.root))
    assert "v0" in backend.about().runtime
    served = backend.ensure(KEYS[0], ignore)
    assert served.load_s is None
    assert any("before 0.4" in note for note in served.notes)
    assert answer_of(served)
    backend.close()
    assert set(server.loaded) == {KEYS[0]}


def test_what_goes_wrong(server: LmStudioDouble) -> None:
    """An unknown model, a load that is only claimed, an embedding model, and nobody."""
    backend = LmStudioBackend(BackendConfig(base_url=server.root))
    for model, expected in (("qwen3-4b", "`lms get qwen3-4b`"), ("text-embedding-x", "no such model")):
        with pytest.raises(BackendError, match=expected):
            backend.ensure(model, ignore)
    server.lies = True
    with pytest.raises(BackendError, match="does not list"):
        backend.ensure(KEYS[0], ignore)
    with pytest.raises(BackendError, match="lms server start"):
        LmStudioBackend(BackendConfig(base_url=f"http://127.0.0.1:{free_port()}")).discover()
