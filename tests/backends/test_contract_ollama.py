"""The contract on a stand-in for Ollama, written from its documentation: there is no Ollama here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ollama_double import OllamaDouble

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.backends.base import Backend, BackendConfig
from pytest_flperf.backends.ollama import OllamaBackend


@pytest.fixture(autouse=True)
def _server() -> Iterator[None]:
    with OllamaDouble("qwen2.5:0.5b", "tiny:latest") as server:
        TestOllama.url = server.root
        yield


class TestOllama(BackendContract):
    """Two models are pulled."""

    model = "qwen2.5:0.5b"
    second_model = "tiny"
    url: str

    def make(self) -> Backend:
        """A backend on the one server."""
        return OllamaBackend(BackendConfig(base_url=self.url))
