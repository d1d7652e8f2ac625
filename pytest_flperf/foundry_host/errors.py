"""Runtime host errors.

Each message says what happened, where, what was tried and what to do.
"""

from __future__ import annotations

# ruff: noqa: N818 - the names say what happened, as in "except HostDied"

__all__ = [
    "DownloadCancelled",
    "DownloadFailed",
    "HostDied",
    "HostHung",
    "LoadFailed",
    "ModelNotFound",
    "RemoveFailed",
    "RuntimeHostError",
    "RuntimeUnavailable",
    "ServiceUnreachable",
    "UnloadFailed",
]


class RuntimeHostError(Exception):
    """Runtime host error: base class of all others."""

    def __init__(self, message: str, *, log: tuple[str, ...] = (), log_path: str | None = None) -> None:
        """Keep the message and the log.

        ``message`` is made of whole sentences; ``log`` holds the last lines of the host's log, cleaned.
        """
        self.message = message
        """Without the log."""
        self.log = log
        """The last lines of the host's log."""
        tail = "".join(f"\n  | {line}" for line in log)
        where = f" ({log_path})" if log_path else ""
        super().__init__(message + (f"\nLast lines of its log{where}:{tail}" if log else ""))


class RuntimeUnavailable(RuntimeHostError):
    """Foundry Local can't run on this machine, or in this environment."""


class HostDied(RuntimeHostError):
    """The host process ended unexpectedly."""


class HostHung(RuntimeHostError):
    """The host process hung, and was killed.

    It was alive, but gave no sign of life.
    """


class ServiceUnreachable(RuntimeHostError):
    """The runtime's web service doesn't answer at its reported address."""


class ModelNotFound(RuntimeHostError):
    """No model has this alias or id."""

    def __init__(
        self,
        message: str,
        *,
        name: str,
        nearest: tuple[str, ...] = (),
        log: tuple[str, ...] = (),
        log_path: str | None = None,
    ) -> None:
        """Keep the unknown ``name`` and the ``nearest`` ones, most similar first."""
        super().__init__(message, log=log, log_path=log_path)
        self.name = name
        """The name that was not found."""
        self.nearest = nearest
        """Names that exist."""


class LoadFailed(RuntimeHostError):
    """The runtime could not load the model, or not in time."""


class RemoveFailed(RuntimeHostError):
    """The runtime could not remove the model's files."""


class UnloadFailed(RuntimeHostError):
    """The runtime could not unload the model."""


class DownloadFailed(RuntimeHostError):
    """The runtime could not download the model."""


class DownloadCancelled(DownloadFailed):
    """The download was cancelled."""
