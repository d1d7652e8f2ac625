"""Placement of a run's models on backends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_flperf.backends.registry import BackendType
from pytest_flperf.backends.resolver import Defaults, Placing
from pytest_flperf.session.options import RunOptions

__all__ = ["placing_of"]


def placing_of(options: RunOptions, known: Mapping[str, BackendType], logs: Path | None = None) -> Placing:
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
