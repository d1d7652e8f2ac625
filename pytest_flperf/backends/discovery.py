"""Model discovery: list the models of a temporary backend."""

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
    """List a backend's models, then stop what it started.

    Args:
        kind: Kind of backend.
        config: How to reach it.
        on_progress: Called during the wait for a server that is loading (``load_timeout_s`` at most).

    Raises:
        BackendError: No answer, an answer without a model list, or an invalid configuration.

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
    """Like :func:`discover_models`, for an existing backend."""
    limit_s = float(config.options.get("load_timeout_s", LOAD_TIMEOUT_S))  # its backend has checked it
    return when_loaded(backend.discover, Patience("the list of models", limit_s, on_progress))
