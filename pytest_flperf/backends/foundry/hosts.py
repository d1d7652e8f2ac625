"""Runtime hosts of a Foundry backend: shared, or one per model."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from pytest_flperf.backends.base import BackendConfig, BackendError, OnProgress
from pytest_flperf.foundry_host.client import HostConfig, Mode, RuntimeHost
from pytest_flperf.foundry_host.embedded import find_embedded
from pytest_flperf.foundry_host.errors import HostDied, HostHung, RuntimeHostError
from pytest_flperf.foundry_host.reports import Providers

__all__ = ["Hosts", "Key", "checked", "mode_of"]

Key: TypeAlias = tuple[Mode, str]
"""Kind of models, and the one model of the host; empty if it serves all."""
_CHOICES: Final = {
    "device": ("auto", "cpu", "gpu", "npu"),
    "isolation": ("shared", "process"),
    "transport": ("http", "native"),
}


def mode_of(model: str) -> Mode:
    """Kind of host for a model: embedded, then folder, then catalog."""
    if find_embedded(model) is not None:
        return Mode.EMBEDDED
    from pytest_flperf.foundry_host.folders import folder_of

    return Mode.PUBLIC if folder_of(model) is None else Mode.FOLDER


def checked(config: BackendConfig) -> BackendConfig:
    """Validate the configuration; raises BackendError."""
    for name, allowed in _CHOICES.items():
        found = getattr(config, name)
        if found not in allowed:
            raise BackendError(f"foundry: {name} is {str(found)[:80]!r}, expected one of {', '.join(allowed)}")
    return config


class Hosts:
    """Runtime hosts of a backend, each started on first use.

    Embedded models, folders and the public catalog have separate hosts: the first two need no catalog, and so avoid
    four seconds of waiting without internet.
    """

    def __init__(self, config: BackendConfig) -> None:
        """Start nothing yet."""
        self._config = config
        self._hosts: dict[Key, RuntimeHost] = {}
        self._providers: dict[RuntimeHost, Providers] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def key(self, model: str) -> Key:
        """Key of the host that serves a model."""
        return mode_of(model), model if self._config.isolation == "process" else ""

    def all(self) -> tuple[tuple[Key, RuntimeHost], ...]:
        """Hosts that were started and not ended since."""
        return tuple(self._hosts.items())

    def begin(self, models: tuple[str, ...]) -> None:
        """Start the hosts for these models without waiting.

        With one host per model, only the first is started.
        """
        keys = list(dict.fromkeys(map(self.key, models)))
        for key in keys[:1] if self._config.isolation == "process" else keys:
            with contextlib.suppress(RuntimeHostError, OSError):
                self._host(key)  # errors are raised when the model is requested

    def live(self, key: Key) -> RuntimeHost:
        """A host that is ready and answers.

        One that died or hangs is replaced, once.
        """
        host = self._host(key)
        try:
            host.wait_ready()
            host.status()
        except (HostDied, HostHung):
            self.end(key)
            host = self._host(key)
            host.wait_ready()
        except RuntimeHostError:
            self.end(key)
            raise
        return host

    @contextlib.contextmanager
    def borrowed(self, mode: Mode) -> Iterator[RuntimeHost]:
        """Any host of a kind, for temporary use.

        A host that is started for this alone ends afterwards.
        """
        key = next((key for key in self._hosts if key[0] is mode), (mode, ""))
        started = key not in self._hosts and self._config.isolation == "process"
        try:
            yield self.live(key)
        finally:
            if started:
                self.end(key)

    def providers(self, host: RuntimeHost, on_progress: OnProgress) -> Providers:
        """Execution providers registered in a host, once per host.

        Models are listed after that.
        """
        if host not in self._providers:
            tell = functools.partial(_tell, on_progress)
            self._providers[host] = host.register_providers(tell)
        return self._providers[host]

    def bury(self, key: Key) -> None:
        """Forget an ended host, so that the next case starts another."""
        host = self._hosts.get(key)
        if host is not None and not host.alive:
            self.end(key)

    def end(self, key: Key, *, gently: bool = False) -> None:
        """End a host, if there is one."""
        host = self._hosts.pop(key, None)
        if host is not None:
            self._providers.pop(host, None)
            (host.stop if gently else host.kill)()

    def close(self) -> None:
        """End all hosts, and remove temporary files."""
        for key in tuple(self._hosts):
            self.end(key, gently=True)
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()

    def _host(self, key: Key) -> RuntimeHost:
        host = self._hosts.get(key)
        if host is None:
            public = key[0] is Mode.PUBLIC
            host = self._hosts[key] = RuntimeHost(
                HostConfig(
                    logs_dir=self._config.logs_dir or self._temporary_logs(),
                    mode=key[0],
                    catalog_url=self._config.catalog_url if public else None,
                    model_cache_dir=self._config.model_cache_dir if public else None,
                )
            )
        return host

    def _temporary_logs(self) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)


def _tell(on_progress: OnProgress, name: str, percent: float) -> None:
    on_progress(f"getting the execution provider {name}", percent)
