"""What every backend does: list models, make one ready, say how it is, let go of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["Backend", "BackendError", "ListedModel", "OnProgress", "Served"]

OnProgress: TypeAlias = Callable[[str, float | None], None]
"""Called with what is going on (``downloading NAME``) and percent, 0 to 100, or None where it can't be known."""


class BackendError(Exception):
    """A model could not be made ready.  The text says what was tried, what came of it, and what to do."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that a backend can serve."""

    alias: str
    model_id: str
    source: str
    """``embedded``, ``catalog`` or ``server``."""
    device: str = ""
    execution_provider: str = ""
    size_mb: int | None = None
    """In units of 2²⁰ bytes."""
    context_length: int | None = None
    """In tokens."""
    cached: bool | None = None
    loaded: bool | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is ready: where and under which name."""

    backend: str
    model: str
    """As asked for."""
    model_id: str
    """As requests must name it."""
    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)
    variant: str | None = None
    device: str | None = None
    execution_provider: str | None = None
    context_length: int | None = None
    """In tokens; None where the backend doesn't say."""
    load_s: float | None = None
    """Time that loading into memory took; None where nothing was loaded by us."""
    generation: int = 0
    """Counts the loads of a backend: a new number means that the next request is the first after a load."""
    notes: tuple[str, ...] = ()


class Backend(Protocol):
    """A kind of server.  Every method may raise BackendError."""

    name: str

    def prepare(self, models: tuple[str, ...]) -> None:
        """Begin what takes time before ``models`` can be asked for; returns at once."""

    def discover(self) -> tuple[ListedModel, ...]:
        """The models that could be measured."""

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Make a model ready: find it, download and load what is missing; at once where it is ready already."""

    def health(self) -> str:
        """What is wrong with the server, for a person; empty if nothing is."""

    def processes(self, model: str) -> ServerProcesses:
        """The processes that serve a model which is ready, or why they can't be told; never raises."""

    def release(self, model: str) -> None:
        """Unload what ``ensure`` loaded; nothing if it is gone already."""

    def close(self) -> None:
        """End what the backend started; never raises."""
