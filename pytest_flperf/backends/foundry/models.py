"""Foundry Local model management: list, download and remove models."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pytest_flperf.backends.base import BackendConfig, BackendError, ListedModel, OnProgress
from pytest_flperf.backends.foundry.backend import FoundryBackend, listed
from pytest_flperf.backends.foundry.hosts import Hosts, checked, mode_of
from pytest_flperf.foundry_host.client import Mode, ModelInfo
from pytest_flperf.foundry_host.errors import DownloadCancelled, RuntimeHostError
from pytest_flperf.foundry_host.logs import clean

__all__ = ["CancelledError", "Downloaded", "FoundryModels"]


class CancelledError(BackendError):
    """Download cancelled by the user; partial files are kept."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A model whose files are downloaded."""

    model: ListedModel
    download_s: float | None
    """Download time in seconds; None: the files were there already."""


class FoundryModels:
    """Public catalog and model cache, as a context manager.

    A runtime host is started when it is needed.  Of the configuration, ``device``, ``catalog_url``, ``model_cache_dir``
    and ``logs_dir`` are used.  Every method may raise BackendError.
    """

    def __init__(self, config: BackendConfig) -> None:
        """Start nothing yet; raises BackendError for an unknown device."""
        self._config = checked(config)
        self._hosts = Hosts(config)

    def list(self) -> tuple[ListedModel, ...]:
        """List embedded models, then the catalog's variants for this machine.

        If the configuration names a device, only models for it.
        """
        backend = FoundryBackend(self._config)
        try:
            found = backend.discover()
        finally:
            backend.close()
        device = self._config.device
        return tuple(each for each in found if device == "auto" or each.device.casefold() == device)

    def download(self, model: str, on_progress: OnProgress, cancel: threading.Event | None = None) -> Downloaded:
        """Download the files of the variant that a run would choose.

        Returns at once if they are there.

        Raises:
            CancelledError: ``cancel`` was set.  The next download resumes from there.
            BackendError: There is no such model, or its files can't be downloaded.

        """
        _must_be_of_the_catalog(model, "downloaded")
        try:
            host = self._hosts.live((Mode.PUBLIC, ""))
            if self._config.device != "cpu":
                self._hosts.providers(host, on_progress)
            found = host.resolve(model, self._config.device)
            if found.cached:
                return Downloaded(listed(found, Mode.PUBLIC), None)
            tell = functools.partial(on_progress, f"downloading {found.id}")
            seconds = host.download(found.id, tell, cancel)
            return Downloaded(listed(host.resolve(found.id), Mode.PUBLIC), seconds)
        except DownloadCancelled as error:
            raise CancelledError(f"{clean(model)}: {error}") from error
        except (RuntimeHostError, OSError) as error:
            raise BackendError(f"{clean(model)}: {error}") from error

    def remove(self, model: str) -> ListedModel:
        """Remove a downloaded model's files; returns the variant.

        Raises:
            BackendError: It is embedded or a folder, there is no such model, it isn't downloaded, or more than one of
                its variants are.

        """
        _must_be_of_the_catalog(model, "removed")
        try:
            host = self._hosts.live((Mode.PUBLIC, ""))
            found = host.resolve(model, self._config.device)
            cached = self._cached(host.list_models(), model, found)
            if not cached:
                raise BackendError(f"{clean(model)}: not downloaded; there is nothing to remove")
            if len(cached) > 1:
                ids = ", ".join(clean(each.id) for each in cached)
                raise BackendError(f"{clean(model)}: more than one variant is downloaded; name one by its id: {ids}")
            if cached[0].loaded:
                host.unload(cached[0].id)
            host.remove(cached[0].id)
            return listed(host.resolve(cached[0].id), Mode.PUBLIC)
        except (RuntimeHostError, OSError) as error:
            raise BackendError(f"{clean(model)}: {error}") from error

    def close(self) -> None:
        """Stop what was started; never raises."""
        self._hosts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cached(self, models: Sequence[ModelInfo], asked: str, found: ModelInfo) -> Sequence[ModelInfo]:
        """Downloaded variants of an alias, or the one named variant."""
        if asked.casefold() != found.alias.casefold():
            return [found] if found.cached else []
        device = self._config.device
        mine = [each for each in models if each.alias == found.alias and each.cached]
        return [each for each in mine if device == "auto" or each.device.casefold() == device]


def _must_be_of_the_catalog(model: str, done: str) -> None:
    mode = mode_of(model)
    if mode is Mode.EMBEDDED:
        raise BackendError(f"{clean(model)}: part of this package and always available; it can't be {done}")
    if mode is Mode.FOLDER:
        raise BackendError(f"{clean(model)}: a folder of your own, used as it is; it can't be {done}")
