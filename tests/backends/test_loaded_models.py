"""``flperf models load``, ``unload``, ``status`` and ``test`` on every server that loads models on request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from llama_doubles import ReplayedLlama
from ollama_double import OllamaDouble
from server_doubles import Answer, Asked, Double, free_port
from test_lmstudio import KEYS, LmStudioDouble

from pytest_flperf import cli
from pytest_flperf.foundry_host.client import HostConfig, RuntimeHost
from pytest_flperf.reference_server import ReferenceServer

Call = Callable[..., tuple[int, str, str]]
Where = tuple[str, str, str]
"""Kind, URL, and one of its models."""
KINDS = ("foundry-service", "llamacpp", "lmstudio", "ollama")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run ``flperf models``; exit status, output, errors."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = cli.main(["models", *arguments])
        except SystemExit as ending:
            status = int(ending.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return status, said.out, said.err

    return run


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeHost]:
    """The real web service, started by somebody else."""
    with RuntimeHost.start(HostConfig(logs_dir=tmp_path_factory.mktemp("logs"))) as started:
        yield started


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    """A server that runs, by its kind."""
    kind = str(request.param)
    if kind == "foundry-service":
        yield kind, request.getfixturevalue("service").url, "flperf-nano"
    elif kind == "llamacpp":
        with ReplayedLlama(("alpha", "beta")) as llama:
            yield kind, llama.base_url, "alpha"
    elif kind == "lmstudio":
        with LmStudioDouble() as studio:
            yield kind, studio.root, KEYS[0]
    else:
        with OllamaDouble("qwen2.5:0.5b", "tiny:latest") as ollama:
            yield kind, ollama.root, "qwen2.5:0.5b"


def test_there_and_back(call: Call, where: Where) -> None:
    """Loaded by one command it stays for the next, whoever had loaded it; what was so already is said."""
    kind, url, model = where
    at = (f"--backend={kind}", f"--base-url={url}")
    status, out, _ = call("status", *at)
    assert status == 0
    assert "no model is loaded, of 2 models" in out
    assert call("status", model, *at)[0] == 1
    status, out, err = call("load", model, *at)
    assert (status, err) == (0, "")
    assert ": loaded in " in out
    status, out, _ = call("load", model, *at)
    assert status == 0
    assert ": was already loaded" in out
    status, out, _ = call("status", model, *at)
    assert status == 0, "the name that load takes"
    assert out.splitlines()[-1].split()[-1] == "loaded"
    assert all(len(line) <= 80 for line in out.splitlines())
    name = json.loads(call("status", *at, "--json")[1])["models"][0]["model_id"]
    assert call("status", name, *at)[0] == 0
    status, out, err = call("unload", model, *at)
    assert (status, err) == (0, "")
    assert out == f"{name}: unloaded\n"
    assert call("unload", model, *at)[:2] == (0, f"{model}: was not loaded\n")
    assert "no model is loaded" in call("status", *at)[1]


def test_an_unknown_model(call: Call, where: Where) -> None:
    """The error names it; nothing is loaded."""
    kind, url, _ = where
    at = (f"--backend={kind}", f"--base-url={url}")
    for action in ("load", "unload"):
        status, out, err = call(action, "no-such-model", *at)
        assert (status, out) == (1, ""), action
        assert err.startswith("flperf models: error: ")
        assert "no-such-model" in err
    status, out, err = call("status", "no-such-model", *at)
    assert status == 1
    assert "no-such-model" in out + err
    assert json.loads(call("status", *at, "--json")[1])["loaded"] == 0


def test_as_json(call: Call) -> None:
    """What a script reads: ids, seconds, whether there was anything to do."""
    with OllamaDouble("tiny:latest") as ollama:
        at = ("--backend=ollama", f"--base-url={ollama.root}", "--json")
        loaded = json.loads(call("load", "tiny", *at)[1])
        assert (loaded["model"], loaded["model_id"], loaded["device"]) == ("tiny", "tiny:latest", "gpu")
        assert loaded["load_s"] >= 0
        assert json.loads(call("load", "tiny", *at)[1])["load_s"] is None
        assert json.loads(call("unload", "tiny", *at)[1]) == {
            "model": "tiny", "model_id": "tiny:latest", "unloaded": True,
        }  # fmt: skip
        assert json.loads(call("unload", "tiny", *at)[1])["unloaded"] is False


def test_a_server_that_keeps_the_model(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says yes and does nothing: an error, and no success."""
    monkeypatch.setattr("pytest_flperf.backends.on_demand_loading._GONE_S", 0.1)

    class Stubborn(OllamaDouble):
        def answer(self, asked: Asked) -> Answer:
            if (asked.body or {}).get("keep_alive") == 0:
                return Answer({"done": True})
            return super().answer(asked)

    with Stubborn("tiny:latest") as ollama:
        at = ("--backend=ollama", f"--base-url={ollama.root}")
        call("load", "tiny", *at)
        status, out, err = call("unload", "tiny", *at)
    assert (status, out) == (1, "")
    assert "tiny:latest: the server was told to unload it but still lists tiny:latest as loaded" in err


def test_a_server_of_one_model(call: Call) -> None:
    """A llama-server without a router can't unload: it says what to do."""
    with ReplayedLlama(("alpha",), alone="alpha") as llama:
        at = ("--backend=llamacpp", f"--base-url={llama.base_url}")
        status, _, err = call("unload", "alpha", *at)
        assert status == 1
        assert "serves one model for as long as it runs: stop the server" in err
        assert call("status", "alpha", *at)[0] == 0


@pytest.mark.parametrize("action", ["load", "unload"])
def test_a_server_that_loads_nothing(call: Call, action: str) -> None:
    """The command says which servers do."""
    status, _, err = call(action, "any", "--base-url=http://127.0.0.1:9/v1")
    assert status == 4
    assert "openai is not a running server that loads models on request" in err
    assert "foundry-service, llamacpp (a router), lmstudio or ollama" in err


@pytest.mark.parametrize("action", ["load", "unload", "status"])
@pytest.mark.parametrize("kind", ["foundry", "litellm", "llamacpp"])
def test_a_server_of_ours(call: Call, action: str, kind: str) -> None:
    """Started by the command it would end with it: it is no server that answers."""
    status, out, err = call(action, "any", f"--backend={kind}")
    assert (status, out) == (4, "")
    assert f"{kind} is a server that a run starts and stops; expected " in err
    assert ("foundry-service" if kind == "foundry" else "--base-url") in err


@pytest.mark.parametrize("action", ["load", "unload", "test", "download"])
def test_no_model(call: Call, action: str) -> None:
    """It must be named."""
    status, _, err = call(action)
    assert status == 4
    assert f"{action}: no model, expected the alias or id of one" in err


def test_nobody_there(call: Call) -> None:
    """A server that isn't there: an error with the address, whatever was to be done."""
    url = f"http://127.0.0.1:{free_port()}"
    for action in (("status",), ("load", "tiny"), ("unload", "tiny"), ("test", "tiny")):
        status, out, err = call(*action, "--backend=ollama", f"--base-url={url}")
        assert (status, out) == (1, "")
        assert url.removeprefix("http://") in err


def test_loaded_is_not_known(call: Call) -> None:
    """A server that doesn't say what is loaded is not told to have nothing loaded."""
    with ReferenceServer() as server:
        status, out, _ = call("status", f"--base-url={server.base_url}")
        found = json.loads(call("status", f"--base-url={server.base_url}", "--json")[1])
    assert status == 0
    assert "does not say which are loaded" in out
    assert found["loaded"] is None


def test_a_few_tokens(call: Call, tmp_path: Path) -> None:
    """The embedded model says something, and how fast."""
    status, out, err = call("test", "flperf-nano", f"--model-cache={tmp_path}")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("flperf-nano: works; first token after ")
    assert first.endswith(" tokens/s")
    assert second.startswith("  it said: ")
    assert len(second) > len("  it said: ")


def test_a_model_that_fails(call: Call) -> None:
    """Its error, and exit status 1; in JSON as well."""
    with ReferenceServer() as server:
        at = (f"--base-url={server.base_url}",)
        status, out, err = call("test", "reference-fault-http-error", *at)
        assert (status, out) == (1, "")
        assert "500" in err
        status, out, _ = call("test", "reference-fault-http-error", *at, "--json")
    assert status == 1
    assert json.loads(out)["works"] is False


def test_an_alias_of_the_service(call: Call) -> None:
    """The service lists ids of variants; their alias is found among what is loaded."""

    class Variants(Double):
        """As the 2.x web service answers: the alias loads a variant."""

        loaded: ClassVar[list[str]] = []

        def answer(self, asked: Asked) -> Answer:
            if asked.path == "/models/loaded":
                return Answer(self.loaded)
            if asked.path == "/v1/models":
                return Answer({"data": [{"id": "qwen2.5-0.5b-instruct-generic-cpu:4"}]})
            if asked.path == "/models/load/qwen2.5-0.5b":
                self.loaded.append("qwen2.5-0.5b-instruct-generic-cpu:4")
                return Answer({"status": "loaded"})
            if asked.path == "/models/unload/qwen2.5-0.5b":
                self.loaded.clear()
                return Answer({"status": "unloaded"})
            return Answer({"error": {"message": "Model not found"}}, 404)

    with Variants() as server:
        at = ("--backend=foundry-service", f"--base-url={server.root}")
        assert call("status", "qwen2.5-0.5b", *at)[0] == 1
        assert call("load", "qwen2.5-0.5b", *at)[0] == 0
        status, out, _ = call("status", "qwen2.5-0.5b", *at)
        assert status == 0
        assert "qwen2.5-0.5b-instruct-generic-cpu:4" in out
        assert call("unload", "qwen2.5-0.5b", *at)[:2] == (0, "qwen2.5-0.5b-instruct-generic-cpu:4: unloaded\n")


def test_instances_of_lm_studio(call: Call) -> None:
    """The model's name means all of them, an instance's name that one."""
    with LmStudioDouble() as studio:
        at = ("--backend=lmstudio", f"--base-url={studio.root}")
        studio.loaded = {KEYS[0]: KEYS[0], f"{KEYS[0]}:2": KEYS[0], "other": KEYS[1]}
        assert call("unload", f"{KEYS[0]}:2", *at)[0] == 0
        assert list(studio.loaded) == [KEYS[0], "other"]
        studio.loaded[f"{KEYS[0]}:3"] = KEYS[0]
        assert call("unload", KEYS[0], *at)[:2] == (0, f"{KEYS[0]}, {KEYS[0]}:3: unloaded\n")
        assert list(studio.loaded) == ["other"]


def test_an_older_lm_studio(call: Call) -> None:
    """It can't unload: said at once, and asked of nobody."""
    with LmStudioDouble("v0") as studio:
        studio.loaded = {KEYS[0]: KEYS[0]}
        status, out, err = call("unload", KEYS[0], "--backend=lmstudio", f"--base-url={studio.root}")
    assert (status, out) == (1, "")
    assert "can't unload models over HTTP" in err


def test_nothing_is_pulled_to_be_unloaded(call: Call) -> None:
    """Not even where the option says that models are pulled."""
    with OllamaDouble("tiny:latest") as ollama:
        at = ("--backend=ollama", f"--base-url={ollama.root}", "--backend-option=ollama.pull=true")
        for action in ("unload", "status"):
            status, _, err = call(action, "missing", *at)
            assert status == 1
            assert "Ollama has no such model" in err
        assert not [each for each in ollama.asked if each.path == "/api/pull"]


def test_a_model_in_the_cloud(call: Call) -> None:
    """It is never in this machine's memory: there, and nothing to unload."""
    with OllamaDouble("tiny:latest") as ollama:
        ollama.tags[0]["remote_host"] = "https://ollama.com"
        at = ("--backend=ollama", f"--base-url={ollama.root}")
        assert call("status", "tiny", *at)[0] == 0
        status, out, err = call("unload", "tiny", *at)
    assert (status, out) == (1, "")
    assert "runs in Ollama's cloud, not on this machine: there is nothing to unload" in err


def test_the_server_says_why_not(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words are in the error, and a client without permission does not wait."""

    class Forbidding(OllamaDouble):
        status = 403

        def answer(self, asked: Asked) -> Answer:
            if (asked.body or {}).get("keep_alive") == 0:
                return Answer({"error": "keys of readers may not unload"}, self.status)
            return super().answer(asked)

    with Forbidding("tiny:latest") as ollama:
        at = ("--backend=ollama", f"--base-url={ollama.root}")
        call("load", "tiny", *at)
        for status in (403, 500):
            monkeypatch.setattr("pytest_flperf.backends.on_demand_loading._GONE_S", 600.0 if status == 403 else 0.1)
            ollama.status = status
            assert "keys of readers may not unload" in call("unload", "tiny", *at)[2]
