"""Which models could be measured, asked of a backend that is made for the question alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from pytest_flperf.backends.base import BackendConfig, BackendError, ListedModel
from pytest_flperf.backends.registry import BackendType

__all__ = ["discover_models"]


def discover_models(kind: BackendType, config: BackendConfig) -> tuple[ListedModel, ...]:
    """Ask a backend what it has; what was started for it is ended.

    Raises:
        BackendError: Nobody answered, or something else than a list; or the configuration can't be.

    """
    with tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True) as logs:
        try:
            backend = kind.make(replace(config, logs_dir=Path(logs)))
        except ValueError as error:
            raise BackendError(f"{kind.name}: {error}") from error
        try:
            return backend.discover()
        finally:
            backend.close()
