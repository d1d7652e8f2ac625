"""The litellm backend: what it refuses, what it knows of providers, and what of their errors and keys comes through."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import litellm_doubles
import psutil
import pytest

from pytest_flperf.backend_contract import answer_of
from pytest_flperf.backends.base import BackendConfig, BackendError, Served
from pytest_flperf.backends.litellm.backend import LiteLlmBackend
from pytest_flperf.backends.registry import BUILT_IN

KEY = "planted-0123456789abcdef"
real = pytest.mark.skipif(litellm_doubles.COMMAND is None, reason=litellm_doubles.MISSING)


def ignore(what: str, percent: float | None) -> None:
    """Progress that nobody asked for."""
    del what, percent


def refused(**config: Any) -> str:
    """What is said of a configuration that can't be."""
    with pytest.raises(BackendError) as caught:
        LiteLlmBackend(BackendConfig(**config))
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": {"gpt-4o": {}}}, "found 'gpt-4o', expected provider/model, such as openai/gpt-4o-mini"),
        ({"models": ["openai/x"]}, "option models: found ['openai/x'], expected names with values"),
        ({"models": {"openai/x": "fast"}}, "option models.openai/x: found 'fast', expected names with values"),
        ({"models": {"openai/x": {"model": "y"}}}, "found model, expected it only as the name of the entry"),
        ({"params": 3}, "option params: found 3, expected names with values"),
        ({"server": ""}, "option server: found '', expected the litellm command or its path"),
        ({"start_s": True}, "option start_s: found True, expected seconds up to 600"),
        ({"start_s": 6000}, "option start_s: found 6000, expected seconds up to 600"),
        ({"params": {"api_key": "os.environ/FLPERF_UNSET"}}, "names the environment variable 'FLPERF_UNSET'"),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], said: str) -> None:
    """Each is refused with what was found and what was expected, before anything starts."""
    assert said in refused(options=options)


@pytest.mark.parametrize(
    "params",
    [
        {"api_key": KEY},
        {"aws_secret_access_key": KEY},
        {"azure_ad_token": KEY},
        {"extra_headers": {"Authorization": KEY}},
        {"api_base": f"https://me:{KEY}@example.com/v1"},
    ],
)
def test_keys_as_text_are_refused(params: dict[str, Any]) -> None:
    """A key belongs into a variable; the message doesn't repeat it."""
    for options in ({"params": params}, {"models": {"openai/x": params}}):
        said = refused(options=options)
        assert "holds a key or password as text, expected os.environ/NAME" in said
        assert KEY not in said


def test_options_of_a_command_line() -> None:
    """There is only text there: a mapping as JSON is understood, and checked as any other."""
    LiteLlmBackend(BackendConfig(options={"params": '{"mock_response": "Hello"}', "start_s": 30}))
    assert "holds a key" in refused(options={"params": '{"api_key": "planted"}'})
    assert "expected names with values" in refused(options={"params": "{nonsense"})


def test_what_is_for_a_running_proxy_only() -> None:
    """Options beside ``base_url``, and headers without it, would do nothing."""
    said = refused(base_url="http://127.0.0.1:4000/v1", options={"params": {}, "server": "litellm"})
    assert "found params, server with base_url" in said or "found server, params with base_url" in said
    assert "found headers without base_url" in refused(headers={"a": "b"})


def test_no_command() -> None:
    """Who hasn't installed it is told how."""
    backend = LiteLlmBackend(BackendConfig(options={"server": "flperf-no-such-litellm"}))
    with pytest.raises(BackendError, match=r"no program on PATH named 'flperf-no-such-litellm'.*litellm\]"):
        backend.ensure("openai/x", ignore)
    assert backend.capabilities("openai/x").parameters is None
    assert backend.health() == ""
    backend.close()


def test_a_model_without_a_provider() -> None:
    """Nothing is started for a name that can't be one."""
    backend = LiteLlmBackend(BackendConfig(options={"server": "flperf-no-such-litellm"}))
    with pytest.raises(BackendError, match="found 'gpt-4o', expected provider/model"):
        backend.ensure("gpt-4o", ignore)
    backend.close()


def test_one_key_goes_to_one_provider() -> None:
    """OpenAI's key is nothing for Anthropic: two providers with one key are refused before anything starts."""
    backend = LiteLlmBackend(BackendConfig(api_key=KEY, options={"models": {"openai/x": {}, "anthropic/y": {}}}))
    with pytest.raises(BackendError, match=r"one api_key for several providers \(anthropic, openai\)"):
        backend.ensure("openai/x", ignore)
    backend.close()


def test_the_options_are_listed() -> None:
    """The registry names the options that are understood."""
    assert set(BUILT_IN["litellm"].options) == {"server", "models", "params", "start_s"}


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[str, list[str]]]:
    """A provider that takes no key."""
    with litellm_doubles.refusing_provider(401) as found:
        yield found


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the proxy's log goes."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def backend(provider: tuple[str, list[str]], logs: Path) -> Iterator[LiteLlmBackend]:
    """A backend with a proxy for mock models and for some that refuse."""
    url, _ = provider
    with litellm_doubles.refusing_provider(404) as (nowhere, _asked), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANTED_KEY", KEY)
        key = "os.environ/PLANTED_KEY"
        models = {
            **litellm_doubles.MOCKS,
            "openai/refused": {"api_base": f"{url}/v1", "api_key": key},
            "anthropic/refused": {"api_base": url, "api_key": key},
            "openai/missing": {"api_base": f"{nowhere}/v1", "api_key": key},
            "nosuchprovider/x": {},
        }
        made = LiteLlmBackend(
            BackendConfig(logs_dir=logs, options={"server": litellm_doubles.COMMAND, "models": models})
        )
        yield made
        made.close()


def asked(served: Served, **more: Any) -> tuple[int, str]:
    """The status and text that a request through the proxy gets."""
    connection = http.client.HTTPConnection(served.endpoint.host, served.endpoint.port, timeout=120)
    body = {"model": served.model_id, "messages": [{"role": "user", "content": "Hello"}], "stream": True, **more}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {served.api_key}"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@real
@pytest.mark.slow
def test_what_each_provider_takes(backend: LiteLlmBackend) -> None:
    """OpenAI takes a seed and Anthropic none; and so it is: what is not in the list is an error, not left out."""
    for model, takes in (("openai/tiny", True), ("anthropic/mock", False)):
        served = backend.ensure(model, ignore)
        known = backend.capabilities(model)
        assert known.parameters is not None
        assert ("seed" in known.parameters) is takes
        assert {"max_tokens", "temperature", "stream_options", "top_k"} <= known.parameters
        status, text = asked(served, seed=1)
        assert (status == 200) is takes
        assert takes or "does not support parameters: ['seed']" in text
        status, text = asked(served, stream_options={"include_usage": True}, top_k=3)
        assert status == 200
        assert '"usage"' in text


@real
@pytest.mark.slow
def test_that_there_is_a_proxy_is_said(backend: LiteLlmBackend) -> None:
    """What the proxy adds is in a note; the version is LiteLLM's; no process of this machine serves the model."""
    served = backend.ensure("openai/tiny", ignore)
    assert "LiteLLM's proxy: its own time is part of every time" in served.notes[0]
    assert served.load_s is None
    assert backend.about().version[0].isdigit()
    assert "provider" in backend.processes("openai/tiny").absent


@real
@pytest.mark.slow
def test_an_unknown_provider(backend: LiteLlmBackend) -> None:
    """The model is named, and what LiteLLM said of it."""
    with pytest.raises(BackendError, match=r"nosuchprovider/x: LiteLLM can't pass requests on.*LLM Provider NOT"):
        backend.ensure("nosuchprovider/x", ignore)


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("openai/refused", 401, "AuthenticationError"),
        ("anthropic/refused", 401, "AuthenticationError"),
        ("openai/missing", 404, "NotFoundError"),
    ],
)
def test_errors_of_providers_come_through(
    backend: LiteLlmBackend, provider: tuple[str, list[str]], logs: Path, model: str, status: int, said: str
) -> None:
    """With their status, at once and once: no retry, no rest; the key that the provider repeats is in no log."""
    served = backend.ensure(model, ignore)
    _, requests = provider
    before = len(requests)
    for _ in range(2):
        found, text = asked(served, max_tokens=4)
        assert found == status, text
        assert said in text
    assert len(requests) - before == (2 if status == 401 else 0)
    assert backend.health() == ""
    texts = [path.read_text() for path in logs.iterdir()]
    assert any(said in text for text in texts)
    assert all(KEY not in text and str(served.api_key) not in text for text in texts)


@real
@pytest.mark.slow
def test_only_who_has_the_key_may_ask(backend: LiteLlmBackend) -> None:
    """Others on this machine can't spend the provider's money; attaching with a wrong key is said so."""
    served = backend.ensure("openai/tiny", ignore)
    status, _ = asked(replace(served, api_key="sk-wrong"))
    assert 400 <= status < 600
    other = LiteLlmBackend(BackendConfig(base_url=served.endpoint.base_url, api_key="sk-wrong-wrong-wrong"))
    with pytest.raises(BackendError, match="Does the proxy need another key") as caught:
        other.ensure("openai/tiny", ignore)
    assert "sk-wrong" not in str(caught.value)
    other = LiteLlmBackend(BackendConfig(base_url=served.endpoint.base_url, api_key=served.api_key))
    with pytest.raises(
        BackendError, match=r"openai/other: the proxy at .* has no model with that name; it has: openai/"
    ):
        other.ensure("openai/other", ignore)


@real
@pytest.mark.slow
def test_a_proxy_that_died_is_started_anew(backend: LiteLlmBackend) -> None:
    """It is seen, said with its end, and the next case gets another; the configuration holds no key."""
    first = backend.ensure("openai/tiny", ignore)
    (process,) = [
        each
        for each in psutil.Process().children(recursive=True)
        if "--port" in (words := each.cmdline()) and str(first.endpoint.port) in words
    ]
    config = Path(process.cmdline()[process.cmdline().index("--config") + 1])
    assert "os.environ/PLANTED_KEY" in config.read_text()
    assert KEY not in config.read_text()
    assert not any(KEY in word or str(first.api_key) in word for word in process.cmdline())
    process.kill()
    process.wait(120)
    assert "LiteLLM's proxy was ended by SIGKILL" in backend.health() or os.name == "nt"
    again = backend.ensure("openai/tiny", ignore)
    assert again.reloaded
    assert again.generation > first.generation
    assert "was restarted" in again.notes[0]
    assert answer_of(again)
    assert backend.health() == ""
    assert not backend.ensure("openai/tiny", ignore).reloaded


@real
@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
def test_a_port_that_is_taken_is_left(tmp_path: Path) -> None:
    """Where somebody has had the port since it was found free, another is tried; in uvicorn's recorded words."""
    words = "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 1): address already in use"
    refuses = tmp_path / "litellm"
    first = f'if mkdir "{tmp_path}/once"; then echo "{words}"; exit 3; fi'
    refuses.write_text(f'#!/bin/sh\n{first}\nexec "{litellm_doubles.COMMAND}" "$@"\n', encoding="utf-8")
    refuses.chmod(0o755)
    options = {"server": str(refuses), "models": {"openai/tiny": {"mock_response": "Hello"}}}
    backend = LiteLlmBackend(BackendConfig(options=options))
    assert answer_of(backend.ensure("openai/tiny", ignore))
    backend.close()
