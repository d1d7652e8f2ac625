"""What can go wrong with the runtime host; each error says what, where, what was tried and what to do."""

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
    """Any trouble with the runtime host."""

    def __init__(self, message: str, *, log: tuple[str, ...] = (), log_path: str | None = None) -> None:
        """``message`` is made of whole sentences; ``log`` holds the last lines of the host's log, cleaned."""
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
    """The host process ended, and nobody had asked it to."""


class HostHung(RuntimeHostError):
    """The host process lives and gives no sign of life; it has been killed."""


class ServiceUnreachable(RuntimeHostError):
    """The runtime named an address, and nothing answers there."""


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
        """``nearest`` holds the names most like ``name``, the most alike first."""
        super().__init__(message, log=log, log_path=log_path)
        self.name = name
        """What was asked for."""
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
    """The download was given up by wish."""
