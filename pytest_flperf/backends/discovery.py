"""Which models could be measured, asked of a backend that is made for the question alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from pytest_flperf.backends.base import Backend, BackendConfig, BackendError, ListedModel, OnProgress
from pytest_flperf.backends.readiness import LOAD_TIMEOUT_S, Patience, when_loaded
from pytest_flperf.backends.registry import BackendType

__all__ = ["discover_models", "listed_when_ready"]


def _ignore_progress(what: str, percent: float | None) -> None:
    del what, percent


def discover_models(
    kind: BackendType, config: BackendConfig, on_progress: OnProgress = _ignore_progress
) -> tuple[ListedModel, ...]:
    """Ask a backend what it has; what was started for it is ended.

    Args:
        kind: Of the backend.
        config: How it is reached.
        on_progress: Told of the wait for a server that says that it is loading (``load_timeout_s`` at most).

    Raises:
        BackendError: Nobody answered, or something else than a list; or the configuration can't be.

    """
    with tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True) as logs:
        try:
            backend = kind.make(replace(config, logs_dir=Path(logs)))
        except ValueError as error:
            raise BackendError(f"{kind.name}: {error}") from error
        try:
            return listed_when_ready(backend, config, on_progress)
        finally:
            backend.close()


def listed_when_ready(backend: Backend, config: BackendConfig, on_progress: OnProgress) -> tuple[ListedModel, ...]:
    """As :func:`discover_models`, of a backend that is there."""
    limit_s = float(config.options.get("load_timeout_s", LOAD_TIMEOUT_S))  # its backend has checked it
    return when_loaded(backend.discover, Patience("the list of models", limit_s, on_progress))
