"""Foundry Local through a runtime host of our own: embedded models offline, the public catalog by alias or id."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from dataclasses import replace
from pathlib import Path

from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.runtime.client import HostConfig, Mode, ModelInfo, RuntimeHost
from pytest_flperf.runtime.embedded import find_embedded
from pytest_flperf.runtime.errors import HostDied, HostHung, RuntimeHostError
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["FoundryBackend"]

_HEALTH_S = 3.0
_LET_GO = "the runtime had let go of the model: it was loaded again"
_STARTED_ANEW = "the runtime had ended or hung: it was started anew, and the model was loaded again"


class FoundryBackend:
    """Starts a host for the embedded models, and another for the public catalog, each when it is first needed.

    Two, because the embedded ones need no catalog and so no four seconds of waiting without internet.
    """

    name = "foundry"

    def __init__(self, config: BackendConfig) -> None:
        """Start nothing yet."""
        self._config = config
        self._hosts: dict[Mode, RuntimeHost] = {}
        self._served: dict[str, tuple[RuntimeHost, Served]] = {}
        self._loads = 0
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start the hosts that these models need and don't wait for them."""
        for mode in {_mode_of(model) for model in models}:
            with contextlib.suppress(RuntimeHostError, OSError):
                self._host(mode)  # what is wrong is said when the model is asked for

    def discover(self) -> tuple[ListedModel, ...]:
        """The embedded models, then the public catalog's."""
        return self.discover_in(Mode.EMBEDDED) + self.discover_in(Mode.PUBLIC)

    def discover_in(self, mode: Mode) -> tuple[ListedModel, ...]:
        """The models of one catalog; raises BackendError where the runtime can't be had."""
        try:
            models = self._live_host(mode).list_models()
        except (RuntimeHostError, OSError) as error:
            raise BackendError(str(error)) from error
        return tuple(_listed(model, mode) for model in models)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Find, download and load; load again what the runtime let go of or lost with its process."""
        mode = _mode_of(model)
        try:
            return self._ensure(model, mode, on_progress)
        except (RuntimeHostError, OSError) as error:
            self._bury(mode)
            raise BackendError(f"{model}: {error}") from error

    def _ensure(self, model: str, mode: Mode, on_progress: OnProgress) -> Served:
        host = self._live_host(mode)
        former, ready = self._served.get(model, (None, None))
        if ready is not None and former is host and ready.model_id in host.status().loaded:
            return ready
        notes: tuple[str, ...] = ()
        if ready is not None:
            notes = (_LET_GO if former is host else _STARTED_ANEW,)
        info = host.resolve(model)
        download_s: float | None = None
        if not info.cached:
            on_progress(f"downloading {info.id}", 0.0)
            download_s = host.download(info.id, functools.partial(on_progress, f"downloading {info.id}"))
        on_progress(f"loading {info.id}", None)
        load_s = host.load(info.id)
        self._loads += 1
        served = Served(
            backend=self.name,
            model=model,
            model_id=info.id,
            endpoint=Endpoint.parse(host.url),
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
            notes=notes,
        )
        # The note belongs to the case that met it, not to those after it.
        self._served[model] = (host, replace(served, reloaded=False, download_s=None, notes=()))
        return served

    def about(self) -> About:
        """The version of the SDK, and where the host of the embedded models serves."""
        try:
            host = self._live_host(Mode.EMBEDDED)
        except (RuntimeHostError, OSError) as error:
            raise BackendError(str(error)) from error
        return About("Foundry Local", host.sdk_version, host.url)

    def endpoint(self, model: str) -> Endpoint:
        """Of the host that serves the model."""
        _, served = self._served.get(model, (None, None))
        if served is None:
            raise BackendError(f"{model}: not ready, ensure() it first")
        return served.endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Not known yet which parameters it takes."""
        del model
        return Capabilities()

    def health(self) -> str:
        """Whether the hosts live and answer; one that doesn't is ended, and started anew when it is next needed."""
        for mode, host in list(self._hosts.items()):
            try:
                host.status(_HEALTH_S)
            except (HostDied, HostHung) as error:
                self._forget(mode)
                return str(error)
            except RuntimeHostError as error:
                return str(error)
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """The host that serves the model; the other one, where there are two, has no part in it."""
        host, _ = self._served.get(model, (None, None))
        if host is None or not host.alive:
            return ServerProcesses((), "no runtime host serves the model")
        return ServerProcesses((host.pid,))

    def release(self, model: str) -> None:
        """Unload a model."""
        host, served = self._served.pop(model, (None, None))
        if host is not None and served is not None and host in self._hosts.values():
            with contextlib.suppress(RuntimeHostError, OSError):
                host.unload(served.model_id)

    def close(self) -> None:
        """End the hosts."""
        for host in self._hosts.values():
            host.stop()
        self._hosts.clear()
        self._served.clear()
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()

    def _host(self, mode: Mode) -> RuntimeHost:
        host = self._hosts.get(mode)
        if host is None:
            public = mode is Mode.PUBLIC
            host = self._hosts[mode] = RuntimeHost(
                HostConfig(
                    logs_dir=self._config.logs_dir or self._temporary_logs(),
                    mode=mode,
                    catalog_url=self._config.catalog_url if public else None,
                    model_cache_dir=self._config.model_cache_dir if public else None,
                )
            )
        return host

    def _live_host(self, mode: Mode) -> RuntimeHost:
        """A host that is ready and answers; one that died or hangs is replaced, once."""
        host = self._host(mode)
        try:
            host.wait_ready()
            host.status()
        except (HostDied, HostHung):
            self._forget(mode)
            host = self._host(mode)
            host.wait_ready()
        except RuntimeHostError:
            self._forget(mode)
            raise
        return host

    def _temporary_logs(self) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    def _bury(self, mode: Mode) -> None:
        """Forget a host that has ended, so that the next case starts another."""
        host = self._hosts.get(mode)
        if host is not None and not host.alive:
            self._forget(mode)

    def _forget(self, mode: Mode) -> None:
        host = self._hosts.pop(mode, None)
        if host is not None:
            host.kill()


def _mode_of(model: str) -> Mode:
    return Mode.EMBEDDED if find_embedded(model) is not None else Mode.PUBLIC


def _listed(model: ModelInfo, mode: Mode) -> ListedModel:
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
