"""Foundry Local backend: embedded models, model folders, the public catalog.

Runs the runtime in hosts of our own; embedded models work offline.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from typing import Final
from weakref import WeakKeyDictionary

from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    NativeChat,
    OnProgress,
    Served,
    said_of_memory,
)
from pytest_flperf.backends.foundry.hosts import Hosts, Key, checked, mode_of
from pytest_flperf.foundry_host.client import Mode, ModelInfo, RuntimeHost
from pytest_flperf.foundry_host.embedded import find_embedded
from pytest_flperf.foundry_host.errors import HostDied, HostHung, ModelNotFound, RuntimeHostError
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["FoundryBackend", "listed"]

_HEALTH_S = 3.0
_LET_GO = "the runtime had unloaded the model: it was loaded again"
_RESTARTED = "the runtime had ended or hung: it was restarted, and the model loaded again"

# Tried on the web service of 2.2.1 with an embedded model, whose answers are always the same where they are greedy, or
# have a seed; inside the host (transport: native) it is the same code.
#   taken: max_tokens (from 1; 400 where prompt and max_tokens exceed the context), max_completion_tokens (before
#     max_tokens), temperature (0 to 2, else 400; the default samples), top_p (0 to 1, else 400; 0 is as if not given),
#     seed, stop (a string or up to four; more are 400), response_format, stream_options, metadata (of texts:
#     {"top_k": "1"} and {"random_seed": "7"} are taken there), tools and tool_choice (an embedded model answers tools
#     with 500: it has no tokens for calls).
#   refused with 400: presence_penalty and frequency_penalty other than 0.
#   ignored: top_k, n, logit_bias, logprobs, reasoning_effort, min_p, typical_p, repetition_penalty, min_tokens,
#     ignore_eos, do_sample, cache_prompt, max_output_tokens, user, and whatever it doesn't know.
# Without max_tokens an answer ends at 2,048 tokens, with finish_reason "length", whatever the catalog or the model's
# own configuration say; a model whose context has no room for so many answers 400.  Before 1.0 it was about 512, with
# "stop".
_DEFAULT_MAX_TOKENS: Final = 2_048
_TAKEN: Final = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "response_format",
        "stream_options",
        "metadata",
        "tools",
        "tool_choice",
    }
)
_OF_TOOLS: Final = frozenset({"tools", "tool_choice"})
_RANGES: Final = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)}


class FoundryBackend:
    """Foundry Local backend: starts runtime hosts and loads models in them.

    It also finds and downloads models, and ends the hosts.
    """

    name = "foundry"

    def __init__(self, config: BackendConfig) -> None:
        """Check the configuration; starts nothing.

        Raises BackendError for an unknown device, isolation or transport.
        """
        self._config = checked(config)
        self._hosts = Hosts(config)
        self._served: dict[str, tuple[RuntimeHost, Served]] = {}
        self._folders: WeakKeyDictionary[RuntimeHost, set[str]] = WeakKeyDictionary()
        self._loads = 0

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start the hosts for these models without waiting."""
        self._hosts.begin(models)

    def discover(self) -> tuple[ListedModel, ...]:
        """List embedded models, ready folders, then the public catalog."""
        here = [served for served in self.ready() if mode_of(served.model) is Mode.FOLDER]
        folders = tuple(
            ListedModel(
                alias=served.model,
                model_id=served.model_id,
                source="folder",
                device=served.device or "",
                execution_provider=served.execution_provider or "",
                size_mb=served.size_mb,
                context_length=served.context_length,
                cached=True,
                loaded=True,
            )
            for served in here
        )
        return self.discover_in(Mode.EMBEDDED) + folders + self.discover_in(Mode.PUBLIC)

    def discover_in(self, mode: Mode) -> tuple[ListedModel, ...]:
        """List one catalog; raises BackendError if the runtime is unavailable.

        Execution providers may be large, so they are downloaded only for a device that is set by name.
        """
        try:
            with self._hosts.borrowed(mode) as host:
                if mode is Mode.PUBLIC and self._config.device in {"gpu", "npu"}:
                    self._hosts.providers(host, _silently)
                models = host.list_models()
        except (RuntimeHostError, OSError) as error:
            raise BackendError(str(error)) from error
        return tuple(listed(model, mode) for model in models)

    def ready(self) -> tuple[Served, ...]:
        """Models that were made ready and not released since."""
        return tuple(served for _, served in self._served.values())

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Find, download and load a model; reload it if gone.

        The runtime may evict a model, or lose it with its process.
        """
        key = self._hosts.key(model)
        try:
            return self._ensure(model, key, on_progress)
        except (RuntimeHostError, OSError) as error:
            self._hosts.bury(key)
            raise BackendError(f"{model}: {error}") from error

    def _ensure(self, model: str, key: Key, on_progress: OnProgress) -> Served:
        former, ready = self._served.get(model, (None, None))
        host = self._hosts.live(key)
        if ready is not None and former is host and ready.model_id in host.status().loaded:
            return ready
        notes: tuple[str, ...] = ()
        if ready is not None:
            notes = (_LET_GO if former is host else _RESTARTED,)
        info, said = self._find(host, key[0], model, on_progress)
        download_s: float | None = None
        if not info.cached:
            on_progress(f"downloading {info.id}", 0.0)
            download_s = host.download(info.id, functools.partial(on_progress, f"downloading {info.id}"))
        notes += said_of_memory(info.size_mb, on_progress, info.device)
        on_progress(f"loading {info.id}", None)
        load_s = host.load(info.id)
        self._loads += 1
        served = Served(
            backend=self.name,
            model=model,
            model_id=info.id,
            endpoint=Endpoint.parse(host.url),
            native=self._native(host, info.id),
            variant=info.id,
            device=info.device or None,
            execution_provider=info.execution_provider or None,
            context_length=info.context_length,
            max_output_tokens=info.max_output_tokens,
            size_mb=info.size_mb,
            download_s=download_s,
            load_s=load_s,
            generation=self._loads,
            reloaded=ready is not None,
            notes=notes + said,
        )
        # The note belongs to the case that saw the reload, not to later ones.
        self._served[model] = (host, replace(served, reloaded=False, download_s=None, notes=()))
        return served

    def _find(
        self, host: RuntimeHost, mode: Mode, model: str, on_progress: OnProgress
    ) -> tuple[ModelInfo, tuple[str, ...]]:
        """The variant that a name means, with notes on execution providers."""
        device = self._config.device
        if mode is Mode.EMBEDDED:
            return host.resolve(model, device), ()
        if mode is Mode.FOLDER:
            return self._find_folder(host, model, on_progress)
        said = () if device == "cpu" else self._providers(host, on_progress)
        try:
            return host.resolve(model, device), said
        except ModelNotFound as error:
            raise BackendError(f"{model}: {error} ({'; '.join(said)})" if said else f"{model}: {error}") from error

    def _find_folder(self, host: RuntimeHost, model: str, on_progress: OnProgress) -> tuple[ModelInfo, tuple[str, ...]]:
        from pytest_flperf.foundry_host.folders import folder_of, read_folder

        folder = folder_of(model)
        if folder is None:
            raise BackendError(f"{model}: the folder is gone")
        found = read_folder(folder)
        if self._config.device not in {"auto", found.device}:
            raise BackendError(
                f"{model}: device is {self._config.device!r}, and the folder's {found.execution_provider} runs on "
                f"{found.device!r}: say that, or auto"
            )
        said = () if found.device == "cpu" else self._providers(host, on_progress)
        known = self._folders.setdefault(host, set())
        if found.id not in known:
            host.add_folder(found)
            known.add(found.id)
        return host.resolve(found.id), said

    def _providers(self, host: RuntimeHost, on_progress: OnProgress) -> tuple[str, ...]:
        found = self._hosts.providers(host, on_progress)
        said = []
        if found.registered:
            said.append(f"execution providers registered: {', '.join(found.registered)}")
        if found.failed:
            said.append(f"execution providers not available: {', '.join(found.failed)}")
        return tuple(clean(each) for each in said)

    def _native(self, host: RuntimeHost, model_id: str) -> NativeChat | None:
        if self._config.transport != "native":
            return None
        from pytest_flperf.backends.foundry.native import FoundryChat

        return FoundryChat(host, model_id)

    def about(self) -> About:
        """SDK version, and the address of a host."""
        mode = next((mode for (mode, _), _ in self._hosts.all()), Mode.EMBEDDED)
        try:
            with self._hosts.borrowed(mode) as host:
                return About("Foundry Local", host.sdk_version, host.url)
        except (RuntimeHostError, OSError) as error:
            raise BackendError(str(error)) from error

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint of the host that serves the model."""
        _, served = self._served.get(model, (None, None))
        if served is None:
            raise BackendError(f"{model}: not ready, call ensure() first")
        return served.endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities of the runtime's web service, as tested with 2.2."""
        embedded = find_embedded(model) is not None
        return Capabilities(
            parameters=_TAKEN - _OF_TOOLS if embedded else _TAKEN,
            ranges=_RANGES,
            default_max_tokens=_DEFAULT_MAX_TOKENS,
            usage=True,
            tools=False if embedded else None,
        )

    def health(self) -> str:
        """Check that the hosts live and answer.

        A host that doesn't is ended, and started again when it is next needed.
        """
        for key, host in self._hosts.all():
            try:
                host.status(_HEALTH_S)
            except (HostDied, HostHung) as error:
                self._hosts.end(key)
                return str(error)
            except RuntimeHostError as error:
                return str(error)
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """Process of the host that serves the model.

        Other hosts don't count.
        """
        host, _ = self._served.get(model, (None, None))
        if host is None or not host.alive:
            return ServerProcesses((), "no runtime host serves the model")
        return ServerProcesses((host.pid,))

    def release(self, model: str) -> None:
        """Unload a model; a host of its own ends with it."""
        host, served = self._served.pop(model, (None, None))
        if host is None or served is None:
            return
        key = next((key for key, each in self._hosts.all() if each is host), None)
        if key is None:
            return
        if key[1]:
            self._hosts.end(key, gently=True)
            return
        # Under another name it may be in use still.
        if not any(each is host and other.model_id == served.model_id for each, other in self._served.values()):
            with contextlib.suppress(RuntimeHostError, OSError):
                host.unload(served.model_id)

    def close(self) -> None:
        """End all hosts."""
        self._hosts.close()
        self._served.clear()


def listed(model: ModelInfo, mode: Mode) -> ListedModel:
    """Convert a catalog variant to a ``ListedModel``."""
    return ListedModel(
        alias=model.alias,
        model_id=model.id,
        source="embedded" if mode is Mode.EMBEDDED else "catalog",
        device=model.device,
        execution_provider=model.execution_provider,
        size_mb=model.size_mb,
        context_length=model.context_length,
        cached=model.cached,
        loaded=model.loaded,
    )


def _silently(what: str, percent: float | None) -> None:
    """Ignore progress."""
