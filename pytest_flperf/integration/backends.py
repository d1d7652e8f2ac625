"""Backends that a session knows: built-in, installed, and from hooks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_flperf.backends.registry import BackendType, installed, registry
from pytest_flperf.session.errors import OptionsError

__all__ = ["known_backends"]


def known_backends(config: pytest.Config) -> Mapping[str, BackendType]:
    """Built-in, installed and hook-provided backends; raises OptionsError.

    Plugins and conftest files provide backends with the hook ``pytest_flperf_backends``.
    """
    hook = getattr(config.hook, "pytest_flperf_backends", None)
    brought = [each for found in (hook() if hook is not None else ()) for each in found]
    try:
        return registry([*installed(), *brought])
    except ValueError as error:
        raise OptionsError(f"pytest_flperf_backends: {error}") from error
