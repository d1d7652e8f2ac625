"""Router: one backend in front of several.

Each model has its place; places on the same server share one backend.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Final

from pytest_flperf.backends.base import (
    About,
    Backend,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.backends.registry import BackendType
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["Place", "SeveralBackends"]

_NOT_PLACED: Final = "no backend is known for this model"


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a model: kind of backend, configuration, model name."""

    kind: BackendType
    config: BackendConfig
    model: str


class SeveralBackends:
    """Router backend: its models are labels, each with a place."""

    name = "several"

    def __init__(self, *, keep_loaded: bool = False) -> None:
        """Start without places.

        ``keep_loaded``: :meth:`release` leaves models loaded.
        """
        self._keep_loaded = keep_loaded
        self._places: dict[str, Place] = {}
        self._made: list[tuple[str, BackendConfig, Backend]] = []
        self._loads = 0
        self._generations: dict[str, tuple[int, int]] = {}

    def add(self, label: str, place: Place) -> None:
        """Register a model's place; starts nothing."""
        self._places[label] = place

    def prepare(self, models: tuple[str, ...]) -> None:
        """Prepare each backend for its models.

        Errors are raised when a model is requested.
        """
        asked: dict[int, tuple[Backend, list[str]]] = {}
        for label in models:
            try:
                backend, place = self._of(label)
            except BackendError:
                continue
            asked.setdefault(id(backend), (backend, []))[1].append(place.model)
        for backend, names in asked.values():
            backend.prepare(tuple(names))

    def about(self) -> About:
        """Runtimes of the backends in use; raises if there are none."""
        if not self._made:
            raise BackendError(_NOT_PLACED)
        found = [backend.about() for _, _, backend in self._made]
        return About(", ".join(each.runtime for each in found), address=", ".join(each.address for each in found))

    def discover(self) -> tuple[ListedModel, ...]:
        """List the models of all backends in use."""
        return tuple(model for _, _, backend in self._made for model in backend.discover())

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Make a model ready on its backend.

        Generations count over all backends.
        """
        backend, place = self._of(model)
        try:
            served = backend.ensure(place.model, on_progress)
        except BackendError:
            raise
        except Exception as error:
            # third-party code: this case fails, and the others are still measured
            raise BackendError(f"{model}: the backend failed: {type(error).__name__}: {error}") from error
        former, generation = self._generations.get(model, (-1, 0))
        if served.generation != former:
            self._loads += 1
            generation = self._loads
            self._generations[model] = (served.generation, generation)
        return replace(served, model=model, generation=generation)

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint for requests to a model."""
        backend, place = self._of(model)
        return backend.endpoint(place.model)

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities of the model's backend."""
        try:
            backend, place = self._of(model)
        except BackendError:
            return Capabilities()
        return backend.capabilities(place.model)

    def health(self) -> str:
        """Problems of all backends in use."""
        return "\n".join(filter(None, (backend.health() for _, _, backend in self._made)))

    def processes(self, model: str) -> ServerProcesses:
        """Processes of the model's backend."""
        try:
            backend, place = self._of(model)
        except BackendError as error:
            return ServerProcesses((), str(error))
        return backend.processes(place.model)

    def kind_of(self, model: str) -> str:
        """Kind of the model's backend; empty for an unknown label."""
        place = self._places.get(model)
        return place.kind.name if place is not None else ""

    def release(self, model: str) -> None:
        """Unload a model, unless models are kept."""
        place = self._places.get(model)
        if place is None or self._keep_loaded:
            return
        backend = self._made_for(place)
        if backend is not None:  # a backend that could not be created has loaded nothing
            backend.release(place.model)

    def close(self) -> None:
        """Close all backends."""
        made, self._made = self._made, []
        for _, _, backend in made:
            with contextlib.suppress(Exception):  # a third-party backend that raises must not leave others running
                backend.close()

    def _of(self, label: str) -> tuple[Backend, Place]:
        place = self._places.get(label)
        if place is None:
            raise BackendError(f"{label}: {_NOT_PLACED}")
        made = self._made_for(place)
        if made is not None:
            return made, place
        try:
            backend = place.kind.make(place.config)
        except ValueError as error:
            raise BackendError(f"{place.kind.name}: {error}") from error
        self._made.append((place.kind.name, place.config, backend))
        return backend, place

    def _made_for(self, place: Place) -> Backend | None:
        same = (made for name, config, made in self._made if name == place.kind.name and config == place.config)
        return next(same, None)
