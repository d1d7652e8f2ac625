"""LiteLLM options: validated before anything starts, and free of keys."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.wire.endpoint import Endpoint, EndpointError
from pytest_flperf.wire.tls import TlsOptions

__all__ = ["FROM_ENVIRONMENT", "LiteLlmOptions", "computes_here", "provider_of", "variables_in"]

FROM_ENVIRONMENT: Final = "os.environ/"
"""Prefix that marks the name of an environment variable in LiteLLM's configuration."""
_OF_THIS_MACHINE: Final = frozenset(
    {"docker_model_runner", "lemonade", "llamafile", "lm_studio", "ollama", "ollama_chat"}
)
"""LiteLLM providers that are on loopback unless a URL is given."""
_OURS: Final = ("server", "models", "params", "start_s")
_LONGEST_START_S: Final = 600.0
_SERVER: Final = "litellm"
_START_S: Final = 90.0
_KEY_NAMES: Final = re.compile(
    r"api_?-?key|access_?-?key|secret|passw|token|credential|authorization|private_?-?key", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class LiteLlmOptions:
    """Options of the LiteLLM proxies that we start."""

    server: str = _SERVER
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters of LiteLLM for single models, by ``provider/model``."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of LiteLLM for every model."""
    start_s: float = _START_S
    api_key: str | None = field(default=None, repr=False)
    """The key of the one provider in use; None: LiteLLM reads each provider's own variable."""

    @classmethod
    def from_config(cls, config: BackendConfig) -> LiteLlmOptions:
        """Validate a configuration; raises BackendError.

        The message says what was found and what was expected.
        """
        given = {name: value for name, value in config.options.items() if name in _OURS and value is not None}
        if config.base_url is not None:
            if given:
                raise BackendError(
                    f"litellm: found {', '.join(given)} with base_url, expected only one: options are for a proxy "
                    "that the run starts, base_url for one that is already running"
                )
            return cls()
        if config.headers:
            raise BackendError(
                "litellm: found headers without base_url: they are for a proxy that is already running; for a "
                "provider, give extra_headers under the option models"
            )
        if config.tls != TlsOptions():
            raise BackendError(
                "litellm: found TLS settings without base_url: they are for a proxy that is already running"
            )
        models = _mapping("models", given.get("models", {}))
        options = cls(
            server=_command(given.get("server", _SERVER)),
            models={provider_of(name) and name: _mapping(f"models.{name}", each) for name, each in models.items()},
            params=_mapping("params", given.get("params", {})),
            start_s=_seconds(given.get("start_s", _START_S)),
            api_key=config.api_key,
        )
        for name, each in (
            ("params", options.params),
            *((f"models.{key}", each) for key, each in options.models.items()),
        ):
            for path, value in _texts(each, name):
                _check_key(path, value)
        return options

    def of_model(self, model: str) -> dict[str, Any]:
        """LiteLLM parameters of a model: its own override the common ones."""
        return {**self.params, **self.models.get(model, {})}

    def takes_the_key(self, model: str) -> bool:
        """Whether ``api_key`` is for this model.

        It is, unless the options name a key.
        """
        return self.api_key is not None and "api_key" not in self.of_model(model)

    def check_key(self, models: Iterable[str]) -> None:
        """Refuse to send one provider's key to another."""
        providers = sorted({provider_of(model) for model in models if self.takes_the_key(model)})
        if len(providers) > 1:
            raise BackendError(
                f"litellm: found one api_key for several providers ({', '.join(map(clean, providers))}), "
                "expected none, so that LiteLLM takes each provider's own variable, "
                f"or {FROM_ENVIRONMENT}NAME as api_key of each under the option models"
            )


def variables_in(options: Any) -> frozenset[str]:
    """Environment variables that options name as ``os.environ/NAME``, at any depth."""
    named = (value for _, value in _texts(options, "") if value.startswith(FROM_ENVIRONMENT))
    return frozenset(value.removeprefix(FROM_ENVIRONMENT) for value in named)


def provider_of(model: str) -> str:
    """Provider of a model: ``openai`` of ``openai/gpt-4o``.

    Raises BackendError for a name without a provider.
    """
    provider, _, name = model.partition("/")
    if not (provider and name and model.isprintable() and model == model.strip() and "*" not in model):
        raise BackendError(
            f"litellm: found {clean(model)!r}, expected provider/model, such as openai/gpt-4o-mini or "
            "ollama_chat/qwen2.5:0.5b"
        )
    return provider


def computes_here(model: str, options: Mapping[str, Any]) -> bool:
    """Whether a model's provider is a server on this machine.

    Decided by its URL, else by the usual address of its kind.
    """
    try:
        of_model = _mapping("models", options.get("models", {})).get(model, {})
        given = {**_mapping("params", options.get("params", {})), **_mapping("models", of_model)}
        url = given.get("api_base") or given.get("base_url")
        if url is None:
            return model.partition("/")[0] in _OF_THIS_MACHINE
        return Endpoint.parse(str(url)).loopback
    except (BackendError, EndpointError):  # raised where the backend is created
        return False


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str) and value.lstrip().startswith("{"):  # from a command line
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    value = {} if value is None else value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BackendError(
            f"litellm: option {clean(name)}: found {clean(repr(value), 60)}, expected names with values, such as "
            '{"api_base": "http://127.0.0.1:8000/v1"}'
        )
    if name != "models" and "model" in value:
        raise BackendError(f"litellm: option {clean(name)}: found model, expected it only as the name of the entry")
    return value


def _command(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BackendError(
            f"litellm: option server: found {clean(repr(value), 60)}, expected the litellm command or its path"
        )
    return value


def _seconds(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= _LONGEST_START_S:
        raise BackendError(
            f"litellm: option start_s: found {clean(repr(value), 60)}, expected seconds up to {_LONGEST_START_S:g}"
        )
    return float(value)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string in nested options, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, path)


def _check_key(path: str, value: str) -> None:
    """Refuse a literal key, without showing it, and an unset variable."""
    where = f"litellm: option {clean(path)}"
    if value.startswith(FROM_ENVIRONMENT):
        variable = value.removeprefix(FROM_ENVIRONMENT)
        if not os.environ.get(variable):
            raise BackendError(f"{where} names the environment variable {clean(variable)!r}, which is not set")
    elif _KEY_NAMES.search(path.rpartition(".")[2]) or re.search(r"://[^/?#]*@", value):
        raise BackendError(
            f"{where} holds a key or password as text, expected {FROM_ENVIRONMENT}NAME with the variable that holds "
            "the value"
        )
