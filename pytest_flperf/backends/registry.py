"""Backend registry: built-in kinds, and kinds from other packages.

Other packages add theirs by a hook.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pytest_flperf.backends.base import Backend, BackendConfig
from pytest_flperf.backends.llamacpp.options import OPTIONS as LLAMA_OPTIONS

__all__ = ["BUILT_IN", "BackendType", "UnknownBackendError", "backend_type", "installed", "registry"]


class UnknownBackendError(ValueError):
    """Unknown kind of backend; the message names the nearest."""


@dataclass(frozen=True, slots=True)
class BackendType:
    """Kind of backend: its name, factory and options."""

    name: str
    """As ``--flperf-backend`` and a suite's ``targets`` name it."""
    make: Callable[[BackendConfig], Backend]
    """Starts nothing and connects to nothing; raises BackendError or ValueError for an invalid configuration."""
    summary: str
    """What it is, in a few words."""
    takes: frozenset[str] = frozenset()
    """Fields of :class:`BackendConfig` that it uses, apart from ``options`` and ``logs_dir``."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Names of its own options with a few words on each."""
    needs_url: bool = False
    """Whether there is nothing to measure without a ``base_url``."""
    programs: frozenset[str] = frozenset()
    """Options that name a program or its arguments; a suite file can't set them, for it may be untrusted."""
    local_urls: tuple[str, ...] = ()
    """Loopback URLs at which such a server is usually found."""
    untested: str = ""
    """Parts that were written from documentation only; empty: all of it has been run."""


def _foundry(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.foundry.backend import FoundryBackend

    return FoundryBackend(config)


def _openai(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.openai import OpenAiBackend

    return OpenAiBackend(config)


def _litellm(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.litellm.backend import LiteLlmBackend

    return LiteLlmBackend(config)


def _ollama(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.ollama import OllamaBackend

    return OllamaBackend(config)


def _foundry_service(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.foundry.service import FoundryServiceBackend

    return FoundryServiceBackend(config)


def _lmstudio(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.lmstudio import LmStudioBackend

    return LmStudioBackend(config)


def _llamacpp(config: BackendConfig) -> Backend:
    from pytest_flperf.backends.llamacpp.backend import LlamaCppBackend

    return LlamaCppBackend(config)


_REMOTE: Final = frozenset({"base_url", "api_key", "headers", "tls"})
_LOAD_TIMEOUT: Final = "seconds that a load may take (600)"


_TYPES: Final = (
    BackendType(
        "foundry",
        _foundry,
        "Foundry Local's runtime, started by the run: embedded models, the public catalog, a folder of your own",
        takes=frozenset({"device", "isolation", "transport", "catalog_url", "model_cache_dir"}),
        untested="GPUs and NPUs, the real public catalog, Windows and macOS",
    ),
    BackendType(
        "openai",
        _openai,
        "any server with an OpenAI-compatible API, by its URL",
        takes=_REMOTE,
        options=MappingProxyType({"load_timeout_s": "seconds to wait for a server that says it is loading (600)"}),
        needs_url=True,
    ),
    BackendType(
        "foundry-service",
        _foundry_service,
        "a Foundry Local service that is already running, by its URL or found by the foundry command",
        takes=_REMOTE | {"device"},
        options=MappingProxyType({"load_timeout_s": _LOAD_TIMEOUT}),
        untested="the service of the command line before 0.10, and the foundry command: from their documentation only",
    ),
    BackendType(
        "ollama",
        _ollama,
        "a running Ollama server, in which it loads and unloads models",
        takes=_REMOTE,
        options=MappingProxyType({"pull": "true: download missing models (false)", "load_timeout_s": _LOAD_TIMEOUT}),
        local_urls=("http://127.0.0.1:11434",),
        untested="all of it: written from Ollama's documentation and source, run only against a stand-in",
    ),
    BackendType(
        "lmstudio",
        _lmstudio,
        "a running LM Studio server, in which it loads and unloads models",
        takes=_REMOTE,
        options=MappingProxyType({"load_timeout_s": _LOAD_TIMEOUT}),
        local_urls=("http://127.0.0.1:1234",),
        untested="all of it: written from LM Studio's documentation, run only against a stand-in",
    ),
    BackendType(
        "litellm",
        _litellm,
        "any provider that LiteLLM knows, as provider/model: through LiteLLM's proxy, started by the run or running",
        takes=_REMOTE,
        options=MappingProxyType(
            {
                "server": "the litellm command or its path, if it isn't on PATH",
                "models": "LiteLLM's parameters of single models by provider/model: api_base; keys as os.environ/NAME",
                "params": "LiteLLM's parameters of every model; both may be JSON as text",
                "start_s": "seconds that the proxy may take to start (90)",
            }
        ),
        programs=frozenset({"server"}),
        untested="real providers: the proxy was run with LiteLLM's mock answers and servers on this machine",
    ),
    BackendType(
        "llamacpp",
        _llamacpp,
        "llama.cpp's llama-server, by its URL or started by the run: one model, or a router of many",
        takes=_REMOTE,
        options=LLAMA_OPTIONS,
        programs=frozenset({"server", "args"}),
        local_urls=("http://127.0.0.1:8080/v1",),
        untested="offloading to a GPU; Windows and macOS",
    ),
)
BUILT_IN: Final[Mapping[str, BackendType]] = MappingProxyType({each.name: each for each in _TYPES})


_GROUP: Final = "pytest_flperf.backends"


def installed() -> tuple[BackendType, ...]:
    """Kinds of backends from installed packages.

    They are found by the entry point group ``pytest_flperf.backends``.  Each entry is a :class:`BackendType`.  Raises
    ValueError for an entry that isn't, or that can't be imported.
    """
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group=_GROUP):
        try:
            kind = entry.load()
        except Exception as error:
            raise ValueError(f"{entry.value}: {type(error).__name__}: {error}") from error
        if not isinstance(kind, BackendType):
            raise ValueError(f"{entry.value}: found {type(kind).__name__}, expected a BackendType")  # noqa: TRY004
        found.append(kind)
    return tuple(found)


def registry(more: Iterable[BackendType] = ()) -> Mapping[str, BackendType]:
    """All kinds by name: built-in ones, and ``more``.

    Raises ValueError if two have the same name.
    """
    found = dict(BUILT_IN)
    for each in more:
        if each.name in found:
            raise ValueError(f"two backends are named {each.name!r}: rename one of them")
        found[each.name] = each
    return MappingProxyType(found)


def backend_type(name: str, known: Mapping[str, BackendType]) -> BackendType:
    """Look up a kind by name; raises UnknownBackendError."""
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, 1)
    hint = f", nearest: {nearest[0]}" if nearest else ""
    raise UnknownBackendError(f"found {name[:80]!r}, expected one of {', '.join(known)}{hint}")
