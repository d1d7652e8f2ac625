"""Which models could be measured: of a server by its URL, or of Foundry Local."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pytest_flperf.backends.base import Backend, BackendConfig, ListedModel

__all__ = ["discover_models"]


def discover_models(
    base_url: str | None, api_key: str | None, catalog_url: str | None, model_cache: str | None
) -> tuple[ListedModel, ...]:
    """Ask the server at ``base_url``, else Foundry Local with its catalog; what was started for it is ended.

    Raises:
        BackendError: Nobody answered, or something else than a list.

    """
    with tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True) as logs:
        backend = _backend(base_url, api_key, catalog_url, model_cache, Path(logs))
        try:
            return backend.discover()
        finally:
            backend.close()


def _backend(
    base_url: str | None, api_key: str | None, catalog_url: str | None, model_cache: str | None, logs: Path
) -> Backend:
    if base_url is not None:
        from pytest_flperf.backends.openai import OpenAiBackend

        return OpenAiBackend.at(base_url, api_key)
    from pytest_flperf.backends.foundry import FoundryBackend

    cache = Path(model_cache).expanduser().absolute() if model_cache else None
    return FoundryBackend(BackendConfig(logs_dir=logs, catalog_url=catalog_url, model_cache_dir=cache))
