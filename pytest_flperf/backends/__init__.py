"""Backends: one module per kind of server, one shared Protocol.

For a backend of one's own, these names are public: ``from pytest_flperf.backends import Backend``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_flperf.backends.base import Backend, BackendConfig, BackendError
    from pytest_flperf.backends.openai import OpenAiBackend
    from pytest_flperf.backends.registry import BackendType
    from pytest_flperf.backends.server_process import ServerCommand, ServerProcess, free_port

__all__ = [
    "Backend",
    "BackendConfig",
    "BackendError",
    "BackendType",
    "OpenAiBackend",
    "ServerCommand",
    "ServerProcess",
    "free_port",
]

_MODULES: Final = {
    "Backend": "base",
    "BackendConfig": "base",
    "BackendError": "base",
    "BackendType": "registry",
    "OpenAiBackend": "openai",
    "ServerCommand": "server_process",
    "ServerProcess": "server_process",
    "free_port": "server_process",
}
"""Where each public name is: each is imported at first use (PEP 562)."""


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Public names, for completion."""
    return [*globals(), *__all__]
