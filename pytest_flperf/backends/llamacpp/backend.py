"""llama.cpp backend: a running llama-server, or one of our own.

A server has one model, or is a router that loads and unloads many.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
    said_of_memory,
)
from pytest_flperf.backends.llamacpp.admin_api import LlamaModel, load, some_names
from pytest_flperf.backends.llamacpp.models import (
    PARAMETERS,
    alias_of,
    context_of,
    file_of,
    is_file_name,
    listed,
    listed_file,
    quantization_of,
    size_mb_of,
    tools_of,
)
from pytest_flperf.backends.llamacpp.options import LlamaOptions
from pytest_flperf.backends.llamacpp.pool import Site, Sites
from pytest_flperf.backends.llamacpp.server import find_binary, version_of
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["LlamaCppBackend"]

_RUNTIME: Final = "llama.cpp"
_UNLOAD_S: Final = 15.0
"""A router gives a busy model 10 s to end."""
_UNLOAD_PAUSE_S: Final = 0.02
_NOT_LOADED: Final = frozenset({"unloaded", "downloading", "downloaded"})
_LET_GO: Final = "llama-server had unloaded the model for another one or another client: it was loaded again"
_BACK: Final = "llama-server had unloaded the model, and another client's request has loaded it again"
_RESTARTED: Final = "llama-server had ended: it was restarted, and the model loaded again"
_SLEPT: Final = "llama-server had put the idle model to sleep: it was woken"


@dataclass(frozen=True, slots=True)
class _Ready:
    served: Served
    site: Site
    port: int | None
    """Port of the router's child: a new port means a new load."""
    ours: bool
    """Whether we requested the load from a router."""
    tools: bool | None


class LlamaCppBackend:
    """llama.cpp backend: attaches to ``base_url``, or starts its own servers.

    Without ``base_url``: one router, and a server for each model that is named by its file.
    """

    name = "llamacpp"

    def __init__(self, config: BackendConfig) -> None:
        """Check the configuration; starts nothing and sends nothing."""
        self._config = config
        self._options = LlamaOptions.of(config)
        self._sites = Sites(config, self._options)
        self._asked: dict[str, None] = {}
        self._ready: dict[str, _Ready] = {}
        self._loads = 0

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start the router if these models need it, without waiting."""
        self._asked.update(dict.fromkeys(models))
        if self._sites.attached is None and any(not self._is_alone(model) for model in models):
            with contextlib.suppress(BackendError, OSError):  # errors are raised when the model is requested
                self._sites.main()

    def about(self) -> About:
        """Build of the running server, or of the program to start."""
        site = self._sites.attached or self._sites.own_router
        if site is None or not site.lives:
            return About(_RUNTIME, version_of(find_binary(self._options.server)))
        with self._sites.explained(site):
            self._sites.wait(site)
            return About(_RUNTIME, clean(str(site.control.props().get("build_info", "")), 80), site.endpoint.base_url)

    def discover(self) -> tuple[ListedModel, ...]:
        """List the server's models, and the files requested so far."""
        files = {model: file_of(model) for model in self._asked if self._is_alone(model)}
        found = [listed_file(model, path) for model, path in files.items() if path is not None]
        if found and self._options.models_dir is None:
            return tuple(found)
        site = self._sites.main()
        with self._sites.explained(site):
            self._sites.wait(site)
            found += [listed(model, ours=site.ours) for model in site.control.models()]
        return tuple(found)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Start the server and load the model, as far as needed.

        Notices a model that was ready and is gone.
        """
        self._asked[model] = None
        if self._is_alone(model):
            return self._ensure_alone(model, on_progress)
        site = self._sites.main()
        with self._sites.explained(site, model):
            self._sites.wait(site, functools.partial(on_progress, f"loading {model}", None))
            if site.router:
                return self._ensure_in_router(model, site, on_progress)
            return self._ensure_served(model, site, on_progress)

    def _is_alone(self, model: str) -> bool:
        """Whether a model gets a server of its own.

        It must be named by its file; with ``models_dir``, the file must also exist, or the router may have it.
        """
        if self._sites.attached is not None or not is_file_name(model):
            return False
        return self._options.models_dir is None or file_of(model) is not None

    def _ensure_alone(self, model: str, on_progress: OnProgress) -> Served:
        former = self._ready.get(model)
        if former is not None and former.site is self._sites.alone(model):
            return former.served
        path = file_of(model)
        if path is None:
            raise BackendError(f"{clean(model)}: there is no such file (seen from {Path.cwd()})")
        short = said_of_memory(listed_file(model, path).size_mb, on_progress)
        on_progress(f"loading {alias_of(path)}", None)
        site = self._sites.start_alone(model, path)
        with self._sites.explained(site, model):
            if site.server is not None:
                site.server.wait_started()
            began = time.monotonic()
            self._sites.wait(site)
            load_s = time.monotonic() - began
            notes = short if former is None else (_RESTARTED, *short)
            return self._keep(model, site, _only_model(site), site.control.props(), load_s=load_s, notes=notes)

    def _ensure_served(self, model: str, site: Site, on_progress: OnProgress) -> Served:
        """The one model of a server that was running before."""
        found, props = _only_model(site), site.control.props()
        if not replace(found, path=str(props.get("model_path", ""))).is_called(model):
            raise BackendError(
                f"{clean(model)}: the llama-server at {site.endpoint.base_url} serves only {clean(found.name)}: name "
                "that model, or start the server with -m and the model's file"
            )
        slept, former = props.get("is_sleeping") is True, self._ready.get(model)
        if former is not None and not slept:
            return _with_notes(former.served, _busy_notes(site))
        load_s = self._wake(site, found, on_progress) if slept else None
        notes = (_SLEPT,) if slept else ()
        return self._keep(model, site, found, props, load_s=load_s, notes=notes + _busy_notes(site))

    def _ensure_in_router(self, model: str, site: Site, on_progress: OnProgress) -> Served:
        former, found = self._ready.get(model), _find(site, model)
        same = former is not None and former.site is site and former.port == found.port and found.ready
        if former is not None and same and found.state == "loaded":
            return _with_notes(former.served, _busy_notes(site, found.name))
        notes: list[str] = []
        if site.endpoint.loopback and not found.ready:
            notes += said_of_memory(size_mb_of(found, found.path, ours=site.ours), on_progress)
        loaded = load(site.control, functools.partial(_find, site, model), self._options.load_s, on_progress)
        load_s = loaded.load_s
        if former is not None and not same:
            again = _LET_GO if load_s is not None else _BACK
            notes.append(again if former.site is site else _RESTARTED)
        if loaded.model.state == "sleeping":
            load_s = self._wake(site, loaded.model, on_progress)
            notes.append(_SLEPT)
        notes += _busy_notes(site, loaded.model.name)
        ours = loaded.load_s is not None or (former is not None and same and former.ours)
        return self._keep(model, site, loaded.model, loaded.props, load_s=load_s, notes=tuple(notes), ours=ours)

    def _keep(
        self,
        model: str,
        site: Site,
        found: LlamaModel,
        props: Mapping[str, Any],
        *,
        load_s: float | None,
        notes: tuple[str, ...],
        ours: bool = False,
    ) -> Served:
        self._loads += 1
        served = Served(
            backend=self.name,
            model=model,
            model_id=found.name,
            endpoint=site.endpoint,
            api_key=self._config.api_key,
            headers=self._config.headers,
            tls=self._config.tls,
            variant=quantization_of(props),
            device=self._sites.device_of(site),
            context_length=context_of(props),
            size_mb=size_mb_of(found, found.path or str(props.get("model_path", "")), ours=site.ours),
            load_s=load_s,
            load_timeout_s=self._options.load_s,
            generation=self._loads,
            reloaded=model in self._ready,
            notes=notes,
            # With a cached prompt, reading it would seem to take no time.
            request_defaults={"cache_prompt": False},
        )
        # The note belongs to the case that saw the reload, not to later ones.
        kept = replace(served, reloaded=False, notes=())
        self._ready[model] = _Ready(kept, site, found.port, ours, tools_of(props))
        return served

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint of the server that has the model."""
        if model not in self._ready:
            raise BackendError(f"{clean(model)}: not ready, call ensure() first")
        return self._ready[model].served.endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Documented parameters; tools as the model's chat template supports them.

        Tools are known once the model is ready.
        """
        ready = self._ready.get(model)
        limits = {"top_p": (0.0, 1.0), "min_p": (0.0, 1.0)}
        return Capabilities(PARAMETERS, limits, usage=True, tools=None if ready is None else ready.tools)

    def health(self) -> str:
        """Check that the servers live, answer, and have no open requests.

        Open requests are known where ``/metrics`` is available.  A hung server of ours is ended, and started again when
        it is next needed.
        """
        for site in self._sites.all():
            if site.server is not None and not site.server.alive:
                return site.server.obituary()
            try:
                status, words = site.control.health()
            except BackendError as error:
                return self._sites.lament(site, str(error))
            if status != 200:
                return f"llama-server at {site.endpoint.base_url} is not healthy ({status}): {words}"
        for ready in self._ready.values():
            busy = ready.site.control.busy(ready.served.model_id if ready.site.router else "")
            if busy is not None and any(busy):
                return f"llama-server is busy with {clean(ready.served.model_id)}: {_busy_words(busy)}"
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """Process of the model's router child, else of the server.

        Children of a server belong to it.
        """
        ready = self._ready.get(model)
        if ready is None:
            return ServerProcesses((), "the model is not ready")
        return self._sites.owner_of_child(ready.site, ready.port)

    def release(self, model: str) -> None:
        """Unload what we loaded in a router; end a file's server."""
        ready = self._ready.pop(model, None)
        self._sites.end_alone(model)
        if ready is not None and ready.ours and ready.site.lives:
            with contextlib.suppress(BackendError):
                _unload(ready.site, replace(_find(ready.site, ready.served.model_id), port=ready.port))

    def loaded_id(self, model: str) -> str:
        """Id of a model, whoever loaded it; empty if it is not loaded."""
        site = self._sites.main()
        with self._sites.explained(site, model):
            self._sites.wait(site)
            found = _find(site, model)
        return "" if found.state in _NOT_LOADED else found.name

    def unload(self, model: str) -> str:
        """Unload a model of a router, whoever loaded it; its id, empty if not loaded."""
        site = self._sites.main()
        with self._sites.explained(site, model):
            self._sites.wait(site)
            if not site.router:
                raise BackendError(
                    f"{clean(model)}: the llama-server at {site.endpoint.base_url} serves one model for as long as it "
                    "runs: stop the server, or start it as a router (without -m)"
                )
            found = _find(site, model)
            if found.state in _NOT_LOADED:
                return ""
            _unload(site, found)
            if _find(site, found.name).state not in _NOT_LOADED:
                raise BackendError(f"{clean(model)}: the router was told to unload it but still has it loaded")
        return found.name

    def close(self) -> None:
        """Unload what we loaded elsewhere, and end our own servers."""
        if self._sites.attached is not None and not self._config.keep_loaded:
            for model in tuple(self._ready):
                self.release(model)
        self._ready.clear()
        self._sites.close()

    def _wake(self, site: Site, model: LlamaModel, on_progress: OnProgress) -> float:
        """Wake a sleeping model; returns the seconds it took."""
        on_progress(f"waking {model.name}", None)
        began = time.monotonic()
        site.control.wake(model.name, self._options.load_s)
        return time.monotonic() - began


def _only_model(site: Site) -> LlamaModel:
    models = site.control.models()
    if not models:
        raise BackendError(f"the llama-server at {site.endpoint.base_url} serves no model")
    return models[0]


def _find(site: Site, asked: str) -> LlamaModel:
    models = site.control.models()
    exact = [model for model in models if asked in (model.name, *model.aliases)]
    found = exact or [model for model in models if model.is_called(asked)]
    if not found:
        where = "llama-server's router" if site.ours else f"the llama-server at {site.endpoint.base_url}"
        raise BackendError(f"{clean(asked)}: {where} has no such model; it has {some_names(models, asked)}")
    return found[0]


def _unload(site: Site, model: LlamaModel) -> None:
    """Unload a model, unless it was loaded again since: then its port is another."""

    def there() -> bool:
        found = _find(site, model.name)
        return found.state not in _NOT_LOADED and found.port == model.port

    if not there():
        return
    site.control.unload(model.name)
    give_up = time.monotonic() + _UNLOAD_S
    while there() and time.monotonic() < give_up:
        time.sleep(_UNLOAD_PAUSE_S)


def _busy_notes(site: Site, model: str = "") -> tuple[str, ...]:
    """Note that a shared server is busy with others' requests."""
    busy = None if site.ours else site.control.busy(model)
    if busy is None or not any(busy):
        return ()
    return (f"llama-server was busy before the case began: {_busy_words(busy)}",)


def _busy_words(busy: tuple[int, int]) -> str:
    return f"requests in work: {busy[0]}, waiting: {busy[1]}"


def _with_notes(served: Served, notes: tuple[str, ...]) -> Served:
    return replace(served, notes=notes) if notes else served
