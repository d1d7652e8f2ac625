"""Several backends behind one face: each model has its place, and what is the same server is made once."""

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

_NOT_PLACED: Final = "nobody has said where this model lives"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lives: a kind of backend, how it is reached, and the model's name there."""

    kind: BackendType
    config: BackendConfig
    model: str


class SeveralBackends:
    """A backend whose models are labels, each with a place."""

    name = "several"

    def __init__(self, *, keep_loaded: bool = False) -> None:
        """``keep_loaded``: :meth:`release` leaves models where they are."""
        self._keep_loaded = keep_loaded
        self._places: dict[str, Place] = {}
        self._made: list[tuple[str, BackendConfig, Backend]] = []
        self._loads = 0
        self._generations: dict[str, tuple[int, int]] = {}

    def add(self, label: str, place: Place) -> None:
        """Say where a model lives; nothing is started."""
        self._places[label] = place

    def prepare(self, models: tuple[str, ...]) -> None:
        """Begin at each backend what its models need; what is wrong is said when a model is asked for."""
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
        """Of each backend in use; raises where none is."""
        if not self._made:
            raise BackendError(_NOT_PLACED)
        found = [backend.about() for _, _, backend in self._made]
        return About(", ".join(each.runtime for each in found), address=", ".join(each.address for each in found))

    def discover(self) -> tuple[ListedModel, ...]:
        """What all backends in use list."""
        return tuple(model for _, _, backend in self._made for model in backend.discover())

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Make a model ready where it lives; generations count over all backends."""
        backend, place = self._of(model)
        try:
            served = backend.ensure(place.model, on_progress)
        except BackendError:
            raise
        except Exception as error:
            # somebody else's code: the case has an error, and the others are measured
            raise BackendError(f"{model}: the backend failed: {type(error).__name__}: {error}") from error
        former, generation = self._generations.get(model, (-1, 0))
        if served.generation != former:
            self._loads += 1
            generation = self._loads
            self._generations[model] = (served.generation, generation)
        return replace(served, model=model, generation=generation)

    def endpoint(self, model: str) -> Endpoint:
        """Where requests for a model go."""
        backend, place = self._of(model)
        return backend.endpoint(place.model)

    def capabilities(self, model: str) -> Capabilities:
        """Of the backend where the model lives."""
        try:
            backend, place = self._of(model)
        except BackendError:
            return Capabilities()
        return backend.capabilities(place.model)

    def health(self) -> str:
        """What is wrong with any backend in use."""
        return "\n".join(filter(None, (backend.health() for _, _, backend in self._made)))

    def processes(self, model: str) -> ServerProcesses:
        """Of the backend where the model lives."""
        try:
            backend, place = self._of(model)
        except BackendError as error:
            return ServerProcesses((), str(error))
        return backend.processes(place.model)

    def kind_of(self, model: str) -> str:
        """The name of the kind of backend where a model lives; empty where nobody has said it."""
        place = self._places.get(model)
        return place.kind.name if place is not None else ""

    def release(self, model: str) -> None:
        """Unload a model, unless models are to be kept."""
        place = self._places.get(model)
        if place is None or self._keep_loaded:
            return
        backend = self._made_for(place)
        if backend is not None:  # one that could not be made has loaded nothing
            backend.release(place.model)

    def close(self) -> None:
        """End what was started, everywhere."""
        made, self._made = self._made, []
        for _, _, backend in made:
            with contextlib.suppress(Exception):  # one of others that raises all the same leaves no other running
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
