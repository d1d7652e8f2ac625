"""Runtime in the host: the SDK's manager and its catalog models."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.foundry_host.protocol import FailureKind, Mode, ModelInfo, Ready, Start
from pytest_flperf.foundry_host.sdk import SdkUnavailableError, import_sdk

if TYPE_CHECKING:
    from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer

__all__ = ["HostError", "Runtime"]

_STILL_USED_S: Final = 3.0
_OUT_OF_REACH_S: Final = 3.5


class HostError(Exception):
    """Host failure, worded for the parent."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        """``kind`` selects the parent's error class."""
        super().__init__(message)
        self.kind = kind


class Runtime:
    """Foundry Local runtime: SDK manager, and catalog models by id."""

    def __init__(self, start: Start, began: float) -> None:
        """Start the runtime and its web service.

        ``began``: start of the host's own code, by ``perf_counter``.
        """
        self._began = began
        catalog_url = start.catalog_url
        serving: queue.SimpleQueue[CatalogServer | Exception] = queue.SimpleQueue()
        ours = start.mode is not Mode.PUBLIC
        if ours:
            # In parallel with the SDK's import: half of its cost is the same standard library.
            threading.Thread(target=_serve_catalog, args=(start.mode, serving), daemon=True).start()
        try:
            sdk = import_sdk()
        except SdkUnavailableError as error:
            raise HostError(FailureKind.SDK_MISSING, str(error)) from error
        self._catalog: CatalogServer | None = None
        if ours:
            served = serving.get()
            if isinstance(served, Exception):
                raise served
            self._catalog = served
            catalog_url = served.url
        configuration = sdk.configuration(
            app_name=start.app_name,
            app_data_dir=start.app_data_dir,
            model_cache_dir=start.model_cache_dir,
            logs_dir=start.logs_dir,
            log_level=sdk.log_level[start.log_level.upper()],
            web=sdk.configuration.WebService(urls="http://127.0.0.1:0"),
            catalog_urls=[(catalog_url, None)] if catalog_url else None,
            disable_nonessential_telemetry=True,
        )
        sdk.manager.initialize(configuration)
        self._manager: Any = sdk.manager.instance
        self._sdk_version = sdk.version
        self._models: dict[str, Any] = {}
        self._unknown: set[str] = set()
        # Seconds that the first catalog request took; None before that.
        self._catalog_s: float | None = None
        self._manager.start_web_service()

    def ready(self) -> Ready:
        """``Ready`` message for the parent; raises HostError if not up."""
        urls = self._manager.urls or []
        if not urls:
            raise HostError(FailureKind.START_FAILED, "the web service started without an address")
        return Ready(
            url=str(urls[0]).rstrip("/"),
            pid=os.getpid(),
            sdk_version=self._sdk_version,
            start_s=time.perf_counter() - self._began,
        )

    def list(self, model_id: str | None = None) -> tuple[ModelInfo, ...]:
        """All variants of the catalog, and the one with ``model_id``.

        That one is included even if the catalog shows a newer version.
        """
        described = []
        models: dict[str, Any] = {}
        began = time.perf_counter()
        listed = self._manager.catalog.list_models()
        if self._catalog_s is None:
            self._catalog_s = time.perf_counter() - began
        for model in listed:
            default = model.id
            for variant in model.variants:
                info = _describe(variant, default)
                models[info.id] = variant
                described.append(info)
        self._models = models
        if model_id is not None and model_id not in models:
            variant = self._fetch(model_id)
            if variant is not None:
                described.append(_describe(variant, ""))
        return tuple(described)

    def add(self, model_id: str, entry: str) -> None:
        """List a folder's model that has come into the model cache.

        It joins the loopback catalog; ``entry``: its JSON.
        """
        from pytest_flperf.foundry_host.catalog import CatalogEntry

        if self._catalog is None:
            raise HostError(FailureKind.FAILED, "the public catalog takes no folders")
        self._catalog.entries = (*self._catalog.entries, CatalogEntry(**json.loads(entry)))
        self._unknown.discard(model_id)
        self.find(model_id)

    def find(self, model_id: str) -> Any:
        """The variant with this id; raises HostError if there is none."""
        if model_id not in self._models:
            self.list()
        model = self._models.get(model_id) or self._fetch(model_id)
        if model is None:
            raise HostError(FailureKind.MODEL_NOT_FOUND, f"the catalog has no model {model_id}")
        return model

    def _fetch(self, model_id: str) -> Any:
        # The runtime requests the catalog again for every unknown id: four tries in four seconds if it is unreachable,
        # as the first listing has shown.
        out_of_reach = self._catalog_s is None or self._catalog_s > _OUT_OF_REACH_S
        if out_of_reach or ":" not in model_id or model_id in self._unknown or "\0" in model_id:
            return None
        variant = self._manager.catalog.get_model_variant(model_id)
        if variant is None:
            self._unknown.add(model_id)
        else:
            self._models[model_id] = variant
        return variant

    def providers(self, on_progress: Callable[[str, float], None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Register execution providers; returns available and missing names.

        Registers those that exist for this machine.  Call this before the catalog is listed: it lists what the
        registered ones can run.
        """
        found = self._manager.discover_eps()
        missing = [each.name for each in found if not each.is_registered]
        if missing:
            self._manager.download_and_register_eps(missing, on_progress)
            found = self._manager.discover_eps()
            self._models, self._catalog_s = {}, None
        return (
            tuple(str(each.name) for each in found if each.is_registered),
            tuple(str(each.name) for each in found if not each.is_registered),
        )

    def remove(self, model_id: str) -> None:
        """Remove a model's files from the cache."""
        self.find(model_id).remove_from_cache()

    def loaded(self) -> tuple[str, ...]:
        """Ids of the loaded models."""
        return tuple(str(model.id) for model in self._manager.catalog.get_loaded_models())

    def unload(self, model_id: str) -> None:
        """Unload a model; retries while its session is still in use.

        The session of an answer that has just ended may hold the model for a moment.
        """
        give_up = time.monotonic() + _STILL_USED_S
        while True:
            try:
                self.find(model_id).unload()
            except Exception as error:
                if "still using" not in str(error) or time.monotonic() > give_up:
                    raise
            else:
                return
            time.sleep(0.02)

    def unload_all(self) -> None:
        """Unload every model."""
        for model in self._manager.catalog.get_loaded_models():
            model.unload()


def _serve_catalog(mode: Mode, serving: queue.SimpleQueue[CatalogServer | Exception]) -> None:
    try:
        from pytest_flperf.foundry_host.catalog import CatalogServer

        serving.put(CatalogServer(_embedded_entries() if mode is Mode.EMBEDDED else ()))
    except Exception as error:  # noqa: BLE001 - it is raised again by the thread that waits
        serving.put(error)


def _embedded_entries() -> list[CatalogEntry]:
    from pytest_flperf.foundry_host.catalog import CatalogEntry
    from pytest_flperf.foundry_host.embedded import embedded_models

    return [
        CatalogEntry(
            name=model.name,
            version=model.version,
            alias=model.alias,
            size_bytes=model.size_bytes,
            context_length=model.context_length,
            max_output_tokens=model.max_output_tokens,
            license=model.license,
        )
        for model in embedded_models()
    ]


def _describe(variant: Any, default_id: str) -> ModelInfo:
    info = variant.info
    runtime = info.runtime
    return ModelInfo(
        id=info.id,
        alias=info.alias,
        device=str(runtime.device_type or "") if runtime else "",
        execution_provider=runtime.execution_provider if runtime else "",
        size_mb=info.file_size_mb,
        context_length=info.context_length,
        max_output_tokens=info.max_output_tokens,
        cached=variant.is_cached,
        loaded=variant.is_loaded,
        default=info.id == default_id,
        task=info.task or "",
        license=info.license or "",
    )
