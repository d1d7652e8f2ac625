"""Backends of a session: known kinds and placement of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_flperf.backends.registry import BackendType, installed, registry
from pytest_flperf.backends.resolver import Defaults, Placing
from pytest_flperf.integration.config import FlperfOptions

__all__ = ["known_backends", "placing_of"]


def known_backends(config: pytest.Config) -> Mapping[str, BackendType]:
    """Built-in, installed and hook-provided backends; raises UsageError.

    Plugins and conftest files provide backends with the hook ``pytest_flperf_backends``.
    """
    hook = getattr(config.hook, "pytest_flperf_backends", None)
    brought = [each for found in (hook() if hook is not None else ()) for each in found]
    try:
        return registry([*installed(), *brought])
    except ValueError as error:
        raise pytest.UsageError(f"pytest_flperf_backends: {error}") from error


def placing_of(options: FlperfOptions, known: Mapping[str, BackendType], logs: Path | None = None) -> Placing:
    """Placement of models, from the options of a run."""
    defaults = Defaults(
        backend=options.backend,
        base_url=options.base_url,
        api_key_env=options.api_key_env,
        device=options.device,
        isolation=options.isolation,
        transport=options.transport,
        catalog_url=options.catalog_url,
        model_cache=options.model_cache,
        backend_options=options.backend_options,
        keep_loaded=options.keep_loaded,
    )
    return Placing(defaults, known, logs)
