"""Foundry Local SDK import, with the reason if it fails."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Sdk", "SdkUnavailableError", "import_sdk"]

_OLDEST: Final = (2, 2)


class SdkUnavailableError(Exception):
    """SDK missing, too old, or its native library doesn't load."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """Parts of the SDK that the host needs."""

    configuration: Any
    manager: Any
    log_level: Any
    version: str


def import_sdk() -> Sdk:
    """Import the SDK; raises SdkUnavailableError."""
    try:
        from foundry_local_sdk.version import __version__

        version = str(__version__)
        _check(version)
        from foundry_local_sdk import Configuration, FoundryLocalManager
        from foundry_local_sdk.logging_helper import LogLevel
    except SdkUnavailableError:
        raise
    except Exception as error:
        raise SdkUnavailableError(f"the module foundry_local_sdk can't be imported: {_describe(error)}") from error
    return Sdk(Configuration, FoundryLocalManager, LogLevel, version)


def _check(version: str) -> None:
    # 2.0 and 2.1 lack calls of ours, and 2.1 was seen to crash in the middle of a suite.
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is not None and (int(found[1]), int(found[2])) < _OLDEST:
        raise SdkUnavailableError(f"foundry-local-sdk {version} is installed, expected 2.2 or newer")


def _describe(error: Exception) -> str:
    where = f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}".strip(", ")
    return f"{type(error).__name__}: {error} ({where}, Python {platform.python_version()})"
