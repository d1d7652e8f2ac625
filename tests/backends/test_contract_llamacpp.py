"""The contract on llama.cpp: on what a real llama-server answered once, and on a real one where there is one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_doubles import ReplayedLlama
from tiny_gguf import write_tiny_gguf

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.backends.base import Backend, BackendConfig
from pytest_flperf.backends.llamacpp.backend import LlamaCppBackend
from pytest_flperf.backends.registry import BUILT_IN

SERVER = os.environ.get("FLPERF_LLAMA_SERVER") or shutil.which("llama-server") or ""
real = pytest.mark.skipif(not SERVER, reason="no llama-server: name one in FLPERF_LLAMA_SERVER, or put it on PATH")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of a megabyte."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("alpha", "beta")):
        write_tiny_gguf(folder / f"{name}.gguf", seed)
    return folder


class TestReplayedRouter(BackendContract):
    """A recorded router with room for one of its two models."""

    model = "alpha"
    second_model = "beta"

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with ReplayedLlama() as llama:
            self.url = llama.base_url
            yield

    def make(self) -> Backend:
        """Attached."""
        return LlamaCppBackend(BackendConfig(base_url=self.url))


class TestReplayedServer(BackendContract):
    """A recorded server with one model."""

    model = "alpha"
    loads = False

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with ReplayedLlama(alone="alpha") as llama:
            self.url = llama.base_url
            yield

    def make(self) -> Backend:
        """Attached, with a URL without its /v1: llama-server takes both."""
        return BUILT_IN["llamacpp"].make(BackendConfig(base_url=self.url.removesuffix("/v1")))


@pytest.mark.skipif(sys.platform == "win32", reason="the double is no program there")
class TestStartedReplay(BackendContract):
    """A program that answers as a router did, which the backend starts."""

    model = "alpha"
    second_model = "beta"

    @pytest.fixture(autouse=True)
    def _program(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        for name in ("alpha", "beta"):
            (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")

    def make(self) -> Backend:
        """It logs into a temporary folder."""
        options = {"server": str(llama_program(self.folder)), "models_dir": str(self.folder)}
        return LlamaCppBackend(BackendConfig(options=options))


@real
class TestRouter(BackendContract):
    """A real router of our own with room for one of two models."""

    model = "alpha"
    second_model = "beta"

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.options = {"server": SERVER, "models_dir": str(folder), "models_max": 1, "args": ["--threads", 1]}

    def make(self) -> Backend:
        """Started when it is needed."""
        return LlamaCppBackend(BackendConfig(options=self.options))


@real
class TestServerOfAFile(BackendContract):
    """A real server of our own for each file."""

    @pytest.fixture(autouse=True)
    def _files(self, folder: Path) -> None:
        self.model, self.second_model = str(folder / "alpha.gguf"), str(folder / "beta.gguf")

    def make(self) -> Backend:
        """Started when it is needed; what is prepared is listed."""
        backend = LlamaCppBackend(BackendConfig(options={"server": SERVER, "args": ["--threads", 1], "context": 1024}))
        backend.prepare((self.model,))
        return backend


@real
class TestAttached(TestRouter):
    """A real router that runs."""

    @pytest.fixture(autouse=True)
    def _running(self, _folder: None) -> Iterator[None]:
        starter = LlamaCppBackend(BackendConfig(options=self.options))
        starter.discover()
        self.url = starter.about().address
        yield
        starter.close()

    def make(self) -> Backend:
        """By its URL."""
        return LlamaCppBackend(BackendConfig(base_url=self.url))


@real
class TestAttachedToOneModel(BackendContract):
    """A real server with one model that runs."""

    model = "alpha.gguf"
    loads = False

    @pytest.fixture(autouse=True)
    def _running(self, folder: Path) -> Iterator[None]:
        starter = LlamaCppBackend(BackendConfig(options={"server": SERVER, "args": ["--threads", 1]}))
        served = starter.ensure(str(folder / "alpha.gguf"), lambda _what, _percent: None)
        self.url = served.endpoint.base_url
        yield
        starter.close()

    def make(self) -> Backend:
        """By its URL, and the model by its file's name."""
        return LlamaCppBackend(BackendConfig(base_url=self.url))

    def test_its_models_are_listed(self) -> None:
        """The list has the server's name for it."""
        with self.backend() as backend:
            assert [each.model_id for each in backend.discover()] == ["alpha"]


def llama_program(folder: Path) -> Path:
    """The double as a program of its own."""
    program = folder / "llama-server"
    double = Path(__file__).with_name("llama_doubles.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{double}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program
