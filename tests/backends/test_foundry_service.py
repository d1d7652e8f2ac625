"""A Foundry Local service that runs already: the newer generation on the real runtime, the older one on a stand-in.

The stand-in follows Microsoft's "Foundry Local REST API reference" and what foundry-local-sdk 0.5.1 asks and reads.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server_doubles import Answer, Asked, Double, free_port, streamed

from pytest_flperf.backend_contract import BackendContract, answer_of
from pytest_flperf.backends.base import Backend, BackendConfig, BackendError
from pytest_flperf.backends.foundry.command import service_url, url_in
from pytest_flperf.backends.foundry.service import FoundryServiceBackend
from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer
from pytest_flperf.foundry_host.client import HostConfig, Mode, RuntimeHost
from pytest_flperf.foundry_host.embedded import embedded_models


def ignore(what: str, percent: float | None) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeHost]:
    """The real runtime with the embedded models."""
    with RuntimeHost.start(HostConfig(logs_dir=tmp_path_factory.mktemp("logs"))) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def _url(host: RuntimeHost) -> None:
    TestNewer.url = host.url


class TestNewer(BackendContract):
    """The web service of the real runtime, which somebody else has started."""

    model = "flperf-nano"
    second_model = "flperf-micro:1"
    url: str

    def make(self) -> Backend:
        """A backend on the one service."""
        return FoundryServiceBackend(BackendConfig(base_url=self.url))


class OlderDouble(Double):
    """The service of the command line before 0.10."""

    def __init__(self) -> None:
        super().__init__()
        self.cached = ["phi-4-mini-instruct-generic-cpu:4", "qwen2.5-0.5b-instruct-generic-cpu:4"]
        self.loaded: list[str] = []
        self.lies = False
        self.hangs = False
        self.wrapped = False

    def answer(self, asked: Asked) -> Answer:
        """As documented."""
        path, _, query = asked.path.partition("?")
        if path.startswith("/openai/load/"):
            return self._load(path.removeprefix("/openai/load/"), query)
        if path.startswith("/openai/unload/"):
            self.loaded.remove(path.removeprefix("/openai/unload/"))
            return Answer()
        catalog = [
            entry("phi-4-mini", "Phi-4-mini-instruct-generic-gpu:4", "GPU"),
            entry("phi-4-mini", "phi-4-mini-instruct-generic-cpu:4", "CPU"),
            entry("qwen2.5-0.5b", "qwen2.5-0.5b-instruct-generic-cpu:3", "CPU"),
            entry("qwen2.5-0.5b", "qwen2.5-0.5b-instruct-generic-cpu:4", "CPU"),
        ]
        routes: dict[str, Any] = {
            "/openai/status": {"Endpoints": [self.root], "ModelDirPath": "/models", "PipeName": "inference_agent"},
            "/foundry/list": {"models": catalog} if self.wrapped else catalog,
            "/openai/models": self.cached,
            "/openai/loadedmodels": self.loaded,
        }
        if path == "/v1/chat/completions":
            if asked.body["model"] not in self.loaded:
                return Answer({"error": "No OpenAIService provider found for modelName"}, 400)
            return streamed(model=asked.body["model"])
        return Answer(routes[path]) if path in routes else Answer("", 404)

    def _load(self, name: str, query: str) -> Answer:
        if self.hangs:
            self.released.wait(30)
        if name not in self.cached:
            return Answer("No OpenAIService provider found for modelName: " + name, 400)
        assert "ttl=" in query
        if not self.lies:
            self.loaded.append(name)
        return Answer()


def entry(alias: str, name: str, device: str) -> dict[str, Any]:
    """A model of ``/foundry/list``."""
    runtime = {"deviceType": device, "executionProvider": f"{device}ExecutionProvider"}
    return {"name": name, "alias": alias, "runtime": runtime, "fileSizeMb": 822, "task": "chat-completion"}


@pytest.fixture
def older() -> Iterator[OlderDouble]:
    """A stand-in for the older service."""
    with OlderDouble() as server:
        yield server


class TestOlder(BackendContract):
    """The stand-in."""

    model = "qwen2.5-0.5b"
    second_model = "phi-4-mini"

    @pytest.fixture(autouse=True)
    def _server(self, older: OlderDouble) -> None:
        self.server = older

    def make(self) -> Backend:
        """A backend on it."""
        return FoundryServiceBackend(BackendConfig(base_url=self.server.root))


def problem_of(backend: Backend, model: str) -> str:
    """Why a model can't be made ready."""
    with pytest.raises(BackendError) as caught:
        backend.ensure(model, ignore)
    return str(caught.value)


# ---- the newer generation, on the real runtime


def test_an_alias_becomes_the_id(host: RuntimeHost) -> None:
    """Requests with the alias would be 404; what others have loaded stays."""
    backend = FoundryServiceBackend(BackendConfig(base_url=host.url.removesuffix("/v1")))
    host.load("flperf-micro:1")
    served = backend.ensure("flperf-nano", ignore)
    other = backend.ensure("flperf-micro", ignore)
    assert (served.model_id, other.model_id, other.load_s) == ("flperf-nano:1", "flperf-micro:1", None)
    assert answer_of(served)
    assert "2.x" in backend.about().runtime
    backend.close()
    assert set(host.status().loaded) == {"flperf-micro:1"}
    host.unload("flperf-micro:1")


def test_unloading_right_after_an_answer(host: RuntimeHost) -> None:
    """The runtime refuses for some milliseconds, for a session still uses the model: it is asked again."""
    backend = FoundryServiceBackend(BackendConfig(base_url=host.url))
    for _ in range(8):
        assert answer_of(backend.ensure("flperf-nano", ignore))
        backend.release("flperf-nano")
        assert host.status().loaded == ()


def test_a_model_that_went_is_loaded_again(host: RuntimeHost) -> None:
    """As after its time to live: a new generation, and a note once."""
    backend = FoundryServiceBackend(BackendConfig(base_url=host.url))
    first = backend.ensure("flperf-nano", ignore)
    host.unload("flperf-nano:1")
    again = backend.ensure("flperf-nano", ignore)
    assert again.reloaded
    assert again.generation > first.generation
    assert any("loaded again" in note for note in again.notes)
    assert not backend.ensure("flperf-nano", ignore).notes
    backend.close()


@pytest.fixture(scope="module")
def many_variants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeHost]:
    """The real runtime with a catalog in which an alias has variants, two of them on this machine."""
    entries = (
        CatalogEntry(name="noise-2-generic-cpu", alias="noise-2", version=2, size_bytes=3 << 20, context_length=4096),
        CatalogEntry(name="noise-2-other-cpu", alias="noise-2", size_bytes=3 << 20, context_length=4096),
        CatalogEntry(name="absent-generic-cpu", alias="absent", size_bytes=3 << 20, context_length=4096),
    )
    folder = tmp_path_factory.mktemp("many")
    for name, version in (("noise-2-generic-cpu", 2), ("noise-2-other-cpu", 1)):
        target = folder / "cache" / "flperf" / f"{name}-{version}"
        shutil.copytree(embedded_models()[0].folder, target)
        (target / "inference_model.json").write_text(json.dumps({"Name": f"{name}:{version}", "PromptTemplate": None}))
    with CatalogServer(entries) as catalog:
        config = HostConfig(
            logs_dir=folder / "logs",
            mode=Mode.PUBLIC,
            catalog_url=catalog.url,
            app_data_dir=folder / "app",
            model_cache_dir=folder / "cache",
        )
        with RuntimeHost.start(config) as started:
            yield started


def test_an_alias_with_variants(many_variants: RuntimeHost) -> None:
    """The service chooses the variant; its id is learnt from what is loaded then, also where others had loaded it."""
    first = FoundryServiceBackend(BackendConfig(base_url=many_variants.url))
    served = first.ensure("noise-2", ignore)
    assert served.load_s is not None
    assert served.model_id in {"noise-2-generic-cpu:2", "noise-2-other-cpu:1"}
    assert (served.device, served.variant) == ("cpu", served.model_id)
    assert answer_of(served)
    second = FoundryServiceBackend(BackendConfig(base_url=many_variants.url))
    same = second.ensure("noise-2", ignore)
    assert (same.model_id, same.load_s) == (served.model_id, None)
    second.close()
    assert many_variants.status().loaded == (served.model_id,)
    first.close()
    assert many_variants.status().loaded == ()


def test_a_variant_that_the_service_does_not_load(many_variants: RuntimeHost) -> None:
    """It loads by alias only: said with what to name; a device that the alias' variant doesn't have is refused."""
    url = many_variants.url
    assert "give the alias" in problem_of(FoundryServiceBackend(BackendConfig(base_url=url)), "noise-2-other-cpu:1")
    for_gpu = FoundryServiceBackend(BackendConfig(base_url=url, device="gpu"))
    assert "for device gpu" in problem_of(for_gpu, "noise-2")
    assert many_variants.status().loaded == ()


def test_a_model_that_is_not_on_this_machine(many_variants: RuntimeHost) -> None:
    """How to get it; an unknown one has its nearest name."""
    backend = FoundryServiceBackend(BackendConfig(base_url=many_variants.url))
    assert "`foundry model download absent`" in problem_of(backend, "absent")
    assert "nearest: noise-2-" in problem_of(backend, "noise-3-generic-cpu")


# ---- the older generation


def test_an_older_alias_means_what_is_on_this_machine(older: OlderDouble) -> None:
    """The GPU variant stands first in the catalog and is not downloaded."""
    backend = FoundryServiceBackend(BackendConfig(base_url=older.root))
    served = backend.ensure("phi-4-mini", ignore)
    assert (served.model_id, served.device, served.size_mb) == ("phi-4-mini-instruct-generic-cpu:4", "cpu", 822)
    assert served.execution_provider == "CPUExecutionProvider"
    assert backend.ensure("qwen2.5-0.5b-instruct-generic-cpu", ignore).model_id.endswith(":4")
    said = problem_of(FoundryServiceBackend(BackendConfig(base_url=older.root, device="gpu")), "phi-4-mini")
    assert "`foundry model download phi-4-mini`" in said
    backend.close()
    assert older.loaded == []


def test_an_older_list_without_versions(older: OlderDouble) -> None:
    """The documentation's own examples have none: requests name what the service names."""
    older.cached, older.wrapped = ["phi-4-mini-instruct-generic-cpu"], True
    served = FoundryServiceBackend(BackendConfig(base_url=older.root)).ensure("phi-4-mini", ignore)
    assert served.model_id == "phi-4-mini-instruct-generic-cpu"
    assert answer_of(served)


def test_an_older_model_that_went(older: OlderDouble) -> None:
    """Its time to live was over."""
    backend = FoundryServiceBackend(BackendConfig(base_url=older.root))
    first = backend.ensure("qwen2.5-0.5b", ignore)
    older.loaded.clear()
    again = backend.ensure("qwen2.5-0.5b", ignore)
    assert again.reloaded
    assert again.generation == first.generation + 1


def test_an_older_load_that_is_only_claimed(older: OlderDouble) -> None:
    """``foundry model load`` exits with 0 whatever happens: the list decides."""
    older.lies = True
    said = problem_of(FoundryServiceBackend(BackendConfig(base_url=older.root)), "phi-4-mini")
    assert "list of loaded models has nothing" in said


def test_an_older_load_that_never_ends(older: OlderDouble) -> None:
    """Given up after the option's time."""
    older.hangs = True
    config = BackendConfig(base_url=older.root, options={"load_timeout_s": 0.2})
    assert "load_timeout_s" in problem_of(FoundryServiceBackend(config), "phi-4-mini")


# ---- where it is, and what else may be there


def test_what_is_no_foundry_service() -> None:
    """Any other server at the URL is named as such."""
    with Double() as server:
        said = problem_of(FoundryServiceBackend(BackendConfig(base_url=server.root)), "m")
        assert "not a Foundry Local service" in said


@pytest.mark.parametrize("silent", [True, False])
def test_a_service_that_is_only_said_to_be_up(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows on ARM64: what was tried, what came of it, what to do."""
    monkeypatch.setattr("pytest_flperf.backends.foundry.service._REACH_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if silent else free_port()
        url = f"http://127.0.0.1:{port}"
        said = problem_of(FoundryServiceBackend(BackendConfig(), lambda: url), "m")
        assert url in said
        assert ("never answered" if silent else "accepted no connection") in said
        assert "ARM64" in said
        assert "foundry server restart" in said
        fixed = problem_of(FoundryServiceBackend(BackendConfig(base_url=url)), "m")
        assert "foundry server start" in fixed
        assert "ARM64" not in fixed


def test_a_service_that_comes_back_at_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port changes with every start: it is looked for again, and the model is loaded there."""
    monkeypatch.setattr("pytest_flperf.backends.foundry.service._REACH_S", 0.2)
    with OlderDouble() as second:
        with OlderDouble() as first:
            urls = iter((first.root, second.root))
            backend = FoundryServiceBackend(BackendConfig(), lambda: next(urls))
            was = backend.ensure("phi-4-mini", ignore)
        again = backend.ensure("phi-4-mini", ignore)
        assert (was.endpoint.port, again.endpoint.port) == (first.port, second.port)
        assert again.reloaded
        assert answer_of(again)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (
            "🟢 Model management service is running on http://127.0.0.1:55064/openai/status\nEP: x",
            "http://127.0.0.1:55064",
        ),
        ("🟢 Service is already running on http://127.0.0.1:58338/.", "http://127.0.0.1:58338"),
        ("🟢 Service is Started on http://127.0.0.1:64646/, PID 17000!", "http://127.0.0.1:64646"),
        ('{"state":"Ready","webUrls":["http://localhost:50084"],"pid":7}', "http://localhost:50084"),
        ("State     Ready\nWeb URLs  http://127.0.0.1:50084\n", "http://127.0.0.1:50084"),
        ("listening on http://0.0.0.0:5273/v1", "http://127.0.0.1:5273/v1"),
        ("🔴 Model management service is not running!\nSee https://aka.ms/foundrylocal", None),
        ("Unknown command. http://127.0.0.1:99999/ http://[::1]:5273", "http://[::1]:5273"),
        ("http://evil.example:1/openai/status", None),
        ("", None),
    ],
)
def test_what_the_command_prints(text: str, url: str | None) -> None:
    """Of all versions that were seen in the field; only addresses of this machine are taken."""
    assert url_in(text) == url


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A ``foundry`` on the PATH that is a script of ours."""
    if sys.platform == "win32":
        pytest.skip("a script with #! is no command here")

    def write(script: str) -> None:
        file = tmp_path / "foundry"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")

    return write


def test_the_command_of_both_generations(command: Callable[[str], None]) -> None:
    """``server status`` first; one that doesn't know it is asked for ``service status``."""
    command('[ "$1 $2 $3 $4" = "server status -o json" ] && echo \'{"webUrls":["http://127.0.0.1:4001"]}\'')
    assert service_url() == "http://127.0.0.1:4001"
    command(
        '[ "$1" = service ] && echo "running on http://127.0.0.1:4002/openai/status" || { echo "Unknown"; exit 1; }'
    )
    assert service_url() == "http://127.0.0.1:4002"


def test_a_command_that_does_not_help(command: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """No service, a command that hangs, and no command: each is said with what to do."""
    command('printf "\\033[31mModel management service is not running!\\n"')
    with pytest.raises(BackendError, match=r"not running!.*foundry server start") as caught:
        service_url()
    assert "\x1b" not in str(caught.value)
    monkeypatch.setattr("pytest_flperf.backends.foundry.command._PATIENCE_S", 0.1)
    command("exec sleep 5")
    with pytest.raises(BackendError, match=r"nothing for 0\.1 s"):
        service_url()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendError, match="no `foundry` command"):
        FoundryServiceBackend(BackendConfig()).about()


def test_a_device_of_no_use() -> None:
    """Said what is expected."""
    with pytest.raises(BackendError, match="expected one of auto, cpu, gpu, npu"):
        FoundryServiceBackend(BackendConfig(device="tpu"))
