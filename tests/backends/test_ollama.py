"""Ollama by a stand-in that is written from its documentation: loads, evictions, pulls, names, places."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from ollama_double import OllamaDouble, tag
from server_doubles import free_port

from pytest_flperf.backends.base import BackendConfig, BackendError, OnProgress, Served
from pytest_flperf.backends.ollama import OllamaBackend, ollama_url

MODEL = "qwen2.5:0.5b"


def ignore(what: str, percent: float | None) -> None:
    """No progress."""


@pytest.fixture
def server() -> Iterator[OllamaDouble]:
    """With two models."""
    with OllamaDouble(MODEL, "tiny:latest") as running:
        yield running


def backend_of(server: OllamaDouble, url: str = "", **options: Any) -> OllamaBackend:
    """A backend on it."""
    return OllamaBackend(BackendConfig(base_url=url or server.root, options=options))


def problem_of(backend: OllamaBackend, model: str = MODEL, on_progress: OnProgress = ignore) -> str:
    """Why a model can't be made ready."""
    with pytest.raises(BackendError) as caught:
        backend.ensure(model, on_progress)
    return str(caught.value)


def unloads(server: OllamaDouble) -> list[str]:
    """Models that were asked to go."""
    return [each.body["model"] for each in server.asked if each.body and each.body.get("keep_alive") == 0]


def test_what_is_known_of_a_loaded_model(server: OllamaDouble) -> None:
    """Ours and its own load times, place, context as loaded, size, quantisation."""
    served = backend_of(server).ensure(MODEL, ignore)
    assert (served.model_id, served.endpoint.base_url) == (MODEL, f"{server.root}/v1")
    assert served.load_s is not None
    assert (served.device, served.variant, served.size_mb) == ("gpu", "494.03M Q4_K_M", 400)
    assert served.context_length == 4096
    assert any("1.23 s" in note for note in served.notes)
    assert any("4096" in note and "32768" in note for note in served.notes)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/api", "/api/chat", "/api/generate"])
def test_every_url_of_it_is_its_root(server: OllamaDouble, path: str) -> None:
    """Whatever people copy, also of its own API."""
    served = backend_of(server, f"{server.root}{path}").ensure(MODEL, ignore)
    assert served.endpoint.base_url == f"{server.root}/v1"


def test_a_query_of_the_url_stays() -> None:
    """With every request, and in no message."""
    backend = OllamaBackend(BackendConfig(base_url=f"http://127.0.0.1:{free_port()}/api/chat?key=k3y-0123456789"))
    assert backend._server().endpoint.shown.endswith("/v1?key=***")
    assert backend._control._path("api/tags") == "/api/tags?key=k3y-0123456789"
    assert "0123456789" not in problem_of(backend)


@pytest.mark.parametrize(("share", "device"), [(1.0, "gpu"), (0.0, "cpu"), (0.81, "gpu+cpu")])
def test_where_a_model_lies(server: OllamaDouble, share: float, device: str) -> None:
    """By its share in GPU memory; a split is said."""
    server.in_gpu = share
    served = backend_of(server).ensure(MODEL, ignore)
    assert served.device == device
    assert any("% of the model" in note for note in served.notes) is (device == "gpu+cpu")


def test_an_older_ollama_tells_no_context(server: OllamaDouble) -> None:
    """Then the model's own parameter counts, not the longest context that it could have."""
    server.context = None
    assert backend_of(server).ensure(MODEL, ignore).context_length == 2048


def test_only_what_was_loaded_here_is_unloaded(server: OllamaDouble) -> None:
    """What others had loaded stays, at release and at close."""
    server.running["tiny:latest"] = tag("tiny:latest", size_vram=0)
    backend = backend_of(server)
    other = backend.ensure("tiny", ignore)
    assert (other.load_s, other.generation) == (None, 0)
    backend.ensure(MODEL, ignore)
    backend.release("tiny")
    assert unloads(server) == []
    backend.close()
    backend.close()
    assert unloads(server) == [MODEL]
    assert set(server.running) == {"tiny:latest"}


def test_two_names_of_one_model(server: OllamaDouble) -> None:
    """``tiny`` and ``tiny:latest`` are one load, which goes with the last of them."""
    backend = backend_of(server)
    first, second = backend.ensure("tiny", ignore), backend.ensure("tiny:latest", ignore)
    assert (first.generation, second.generation, second.load_s) == (1, 1, None)
    backend.release("tiny")
    assert unloads(server) == []
    backend.release("tiny:latest")
    assert unloads(server) == ["tiny:latest"]


def test_an_evicted_model_is_loaded_again(server: OllamaDouble) -> None:
    """With a new generation and a note, once."""
    backend = backend_of(server)
    first = backend.ensure(MODEL, ignore)
    server.evict(MODEL)
    again = backend.ensure(MODEL, ignore)
    assert (first.reloaded, again.reloaded) == (False, True)
    assert again.generation > first.generation
    assert any("loaded again" in note for note in again.notes)
    after = backend.ensure(MODEL, ignore)
    assert (after.generation, after.reloaded) == (again.generation, False)
    assert not any("loaded again" in note for note in after.notes)


def test_a_load_that_fails(server: OllamaDouble) -> None:
    """Ollama's own words; the next try may work, and nothing is unloaded that never was loaded."""
    server.load = "fails"
    backend = backend_of(server)
    assert "requires more system memory" in problem_of(backend)
    backend.close()
    assert unloads(server) == []
    server.load = ""
    assert backend.ensure(MODEL, ignore).load_s is not None


def test_a_load_that_never_ends(server: OllamaDouble) -> None:
    """Given up after the time that the option says; what may still come is unloaded at the end."""
    server.load = "hangs"
    backend = backend_of(server, load_timeout_s=0.2)
    begun = time.monotonic()
    assert "load_timeout_s" in problem_of(backend)
    assert time.monotonic() - begun < 60
    backend.close()
    assert unloads(server) == [MODEL]


def test_a_load_that_is_only_claimed(server: OllamaDouble) -> None:
    """The answer that it is done is not believed where the list of running models doesn't have it."""
    server.load = "lies"
    assert "does not list it" in problem_of(backend_of(server))


def test_a_model_that_is_not_pulled(server: OllamaDouble) -> None:
    """The nearest of those that are there, and how to get it; nothing is downloaded unasked."""
    said = problem_of(backend_of(server), "qwen2.5")
    assert f"nearest: {MODEL}" in said
    assert "`ollama pull qwen2.5`" in said
    assert server.paths("pull") == []


def test_pulling(server: OllamaDouble) -> None:
    """With progress over all layers, and the time that it took."""
    layer = {"status": "pulling", "digest": "sha256:a", "total": 300}
    server.pull = [
        {"status": "pulling manifest"},
        layer,
        layer | {"completed": 150},
        layer | {"completed": 300},
        {"status": "pulling", "digest": "sha256:b", "total": 100, "completed": 100},
        {"status": "success"},
    ]
    told: list[tuple[str, float | None]] = []
    served: Served = backend_of(server, pull=True).ensure("new", lambda *each: told.append(each))
    assert [percent for what, percent in told if "downloading new:latest" in what] == [None, 0, 50, 100, 100]
    assert served.download_s is not None
    assert served.model_id == "new:latest"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}], "does not exist"),
        ([{"status": "pulling manifest"}], "before it was complete"),
        ([], "before it was complete"),
    ],
)
def test_a_pull_that_fails(server: OllamaDouble, lines: list[dict[str, Any]], expected: str) -> None:
    """An error in the middle of a 200, and a stream that just ends."""
    server.pull = lines
    assert expected in problem_of(backend_of(server, pull="true"), "new")


def test_an_interrupted_pull_hangs_up(server: OllamaDouble) -> None:
    """Ctrl-C in the middle: the connection is closed, which is how Ollama stops a pull."""
    server.pull, server.pull_hangs = [{"status": "pulling manifest"}], True

    def interrupt(what: str, percent: float | None) -> None:
        if percent:
            raise KeyboardInterrupt

    backend = backend_of(server, pull=True)
    with pytest.raises(KeyboardInterrupt):
        backend.ensure("new", interrupt)
    assert "new:latest" not in server.names
    assert backend.ensure(MODEL, ignore).load_s is not None


def test_behind_a_proxys_path(server: OllamaDouble) -> None:
    """With and without ``/v1`` at the end, Ollama's own paths are beside it."""
    for url in (f"{server.root}/behind/a/proxy", f"{server.root}/behind/a/proxy/v1/"):
        backend = backend_of(server, url)
        assert backend.ensure("tiny", ignore).endpoint.base_url == f"{server.root}/behind/a/proxy/v1"
        assert backend.about().version == "0.12.6"
        backend.close()


def test_a_model_in_the_cloud(server: OllamaDouble) -> None:
    """Ollama passes requests on: nothing is loaded here, and it is said."""
    server.tags.append(tag("big:cloud", remote_model="big", remote_host="https://ollama.com"))
    backend = backend_of(server)
    for _ in range(2):
        served = backend.ensure("big:cloud", ignore)
        assert served.load_s is None
        assert any("cloud" in note for note in served.notes)
        assert not served.reloaded
    assert server.paths("generate") == []


def test_nobody_there() -> None:
    """What was tried and what to do."""
    said = problem_of(OllamaBackend(BackendConfig(base_url=f"http://127.0.0.1:{free_port()}")))
    assert "GET http://127.0.0.1:" in said
    assert "ollama serve" in said


def test_another_server_there() -> None:
    """An answer that isn't Ollama's is said, not believed."""
    with OllamaDouble() as server:
        server.tags = {"a": 1}  # type: ignore[assignment]
        assert "did not answer with a list of models" in problem_of(backend_of(server))


@pytest.mark.parametrize("options", [{"pull": "yes"}, {"load_timeout_s": 0}, {"load_timeout_s": "soon"}, {"pull": 1}])
def test_options_of_no_use(options: dict[str, Any]) -> None:
    """Said what was found and what is expected."""
    with pytest.raises(BackendError, match=f"option {next(iter(options))}: found .*expected"):
        OllamaBackend(BackendConfig(options=options))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://example.com", "https://example.com:443"),
        ("example.com/path/", "http://example.com:11434/path"),
        ("[::1]:56789", "http://[::1]:56789"),
        ("::1", "http://[::1]:11434"),
        ('"0.0.0.0:11500"', "http://127.0.0.1:11500"),
        ("[::]", "http://[::1]:11434"),
    ],
)
def test_the_host_as_its_own_client_takes_it(host: str | None, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most are the examples in the client's own tests; "every interface" means this machine to a client."""
    assert ollama_url(host) == url
    monkeypatch.setenv("OLLAMA_HOST", host or "")
    assert OllamaBackend(BackendConfig())._attachment.endpoint.base_url == f"{url}/v1"


def test_a_host_that_is_none() -> None:
    """Without showing what may be a password."""
    with pytest.raises(BackendError, match="OLLAMA_HOST") as caught:
        ollama_url("user:secret@host:port")
    assert "secret" not in str(caught.value)
