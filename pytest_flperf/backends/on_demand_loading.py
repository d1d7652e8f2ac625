"""Base backend for running servers that load models on request."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_flperf.backends.admin_api import ControlError
from pytest_flperf.backends.attached import Attachment
from pytest_flperf.backends.base import BackendError, ListedModel, OnProgress, Served, said_of_memory
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["Found", "Loaded", "LoadingBackend"]

LOAD_TIMEOUT_S: Final = 600.0
_HEALTH_S: Final = 3.0
_GONE_S: Final = 10.0
_POLL_S: Final = 0.05
_NOBODY_OR_NOTHING: Final = (None, 404)
_NOT_PERMITTED: Final = (401, 403)
_LET_GO: Final = "the server had unloaded the model: it was loaded again"


class _GivenUpError(BackendError):
    """A load that timed out; the server may still finish it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model that the server has."""

    name: str
    """The name that a load request takes."""
    model_id: str
    """The name in requests, as far as known before the load."""
    loaded: bool
    listed: ListedModel | None = None
    download_s: float | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that the server loaded at our request."""

    model_id: str
    """As requests name it."""
    handle: str
    """The name that an unload request takes; empty: others had loaded it before."""
    own_s: float | None = None
    """Load time in seconds, as the server reports it."""


class LoadingBackend(ABC):
    """Base backend for servers that load models on request.

    Ready means: in the server's list of loaded models.  Only models loaded here are unloaded, at the latest by
    ``close``.
    """

    name: str
    advice: str
    """Advice for when the server doesn't answer."""

    def __init__(self, load_timeout_s: float, *, keep_loaded: bool = False) -> None:
        """Set the load timeout.

        ``keep_loaded``: :meth:`close` leaves models loaded.
        """
        self._load_timeout_s = load_timeout_s
        self._keep_loaded = keep_loaded
        self._ready: dict[str, Served] = {}
        self._ours: dict[str, str] = {}  # id of each model that we loaded: name for the unload request
        self._loads = 0

    # ---- hooks for subclasses

    @abstractmethod
    def _server(self) -> Attachment:
        """Attachment to the server."""

    @abstractmethod
    def _find(self, model: str, on_progress: OnProgress) -> Found:
        """Find a model by a user's name; raises BackendError.

        Downloads it if the configuration says so.
        """

    @abstractmethod
    def _is_loaded(self, model_id: str, patience_s: float | None = None) -> bool:
        """Whether a model is in memory."""

    @abstractmethod
    def _load(self, found: Found) -> Loaded:
        """Load a model and wait for it; raises BackendError."""

    @abstractmethod
    def _unload(self, handle: str) -> None:
        """Unload a model."""

    def _details(self, found: Found, model_id: str) -> dict[str, Any]:
        """More fields of ``Served``, for a loaded model."""
        del model_id
        listed = found.listed
        if listed is None:
            return {}
        return {
            "device": listed.device or None,
            "execution_provider": listed.execution_provider or None,
            "context_length": listed.context_length,
            "size_mb": listed.size_mb,
        }

    # ---- the protocol

    def prepare(self, models: tuple[str, ...]) -> None:
        """Do nothing: the server runs already."""
        del models

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Find and load a model; reload it if the server unloaded it."""
        with self._asking():
            ready = self._ready.get(model)
            if ready is not None and self._is_loaded(ready.model_id) and ready.endpoint == self._server().endpoint:
                return ready
            served = self._make_ready(model, ready, on_progress)
        lasting = tuple(note for note in served.notes if note != _LET_GO)
        # The reload belongs to the case that saw it, not to later ones.
        self._ready[model] = replace(served, reloaded=False, download_s=None, notes=lasting)
        return served

    def _make_ready(self, model: str, former: Served | None, on_progress: OnProgress) -> Served:
        found = self._find(model, on_progress)
        model_id, load_s = found.model_id, None
        notes = self._server().notes
        if not found.loaded:
            if former is not None:
                notes = (_LET_GO, *notes)
            if found.listed is not None and self._server().endpoint.loopback:
                notes += said_of_memory(found.listed.size_mb, on_progress, found.listed.device)
            on_progress(f"loading {found.name}", None)
            # Ours from now on: the server may still finish a load that timed out here.
            self._ours.setdefault(model_id, found.name)
            begun = time.monotonic()
            try:
                loaded = self._load(found)
            except BackendError as error:
                if not _may_go_on(error):
                    self._ours.pop(model_id, None)
                raise
            took_s = time.monotonic() - begun
            self._ours.pop(model_id, None)
            model_id = loaded.model_id
            if loaded.handle:
                load_s = took_s
                self._ours[model_id] = loaded.handle
                self._loads += 1
            if loaded.own_s is not None:
                notes = (*notes, f"the server says that loading took {loaded.own_s:.3g} s")
        details = self._details(found, model_id)
        notes += details.pop("notes", ())
        return self._server().served(
            model,
            model_id,
            load_s=load_s,
            download_s=found.download_s,
            generation=self._loads,
            reloaded=former is not None and load_s is not None,
            load_timeout_s=self._load_timeout_s,
            notes=notes,
            **details,
        )

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint of the server."""
        served = self._ready.get(model)
        if served is None:
            raise BackendError(f"{model}: not ready, call ensure() first")
        return served.endpoint

    def health(self) -> str:
        """Check that the server still answers."""
        try:
            self._is_loaded("", _HEALTH_S)
        except BackendError as error:
            return str(error)
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """Processes that listen on the server's port, on this machine."""
        if model not in self._ready:
            return ServerProcesses((), "the model is not ready")
        try:
            return self._server().processes()
        except BackendError as error:
            return ServerProcesses((), str(error))

    def release(self, model: str) -> None:
        """Unload a model that was loaded here, and wait for that."""
        served = self._ready.pop(model, None)
        if served is None or any(other.model_id == served.model_id for other in self._ready.values()):
            return
        handle = self._ours.get(served.model_id)
        if handle is None:
            return
        self._let_go(served.model_id, handle)
        del self._ours[served.model_id]

    def loaded_id(self, model: str) -> str:
        """Id of a model, whoever loaded it; empty if it is not loaded."""
        with self._asking():
            found = self._look_up(model)
            return found.model_id if found.loaded else ""

    def unload(self, model: str) -> str:
        """Unload a model, whoever loaded it; its id, empty if not loaded."""
        with self._asking():
            found = self._look_up(model)
            if not found.loaded:
                return ""
            self._unload_whoever(found)
        return found.model_id

    def _look_up(self, model: str) -> Found:
        """Find a model, and download nothing."""
        return self._find(model, _quiet)

    def _unload_whoever(self, found: Found) -> None:
        """Unload a loaded model and wait until it is gone; raises BackendError.

        A runtime may refuse for a moment after an answer has ended; a client without permission is refused for good.
        """
        refused: ControlError | None = None
        deadline = time.monotonic() + _GONE_S
        while True:
            for handle in dict.fromkeys((found.model_id, found.name)):
                try:
                    self._unload(handle)
                except ControlError as error:
                    if error.status in _NOT_PERMITTED:
                        raise
                    refused = None if error.status == 404 else error
            if not self._is_loaded(found.model_id):
                self._ours.pop(found.model_id, None)
                return
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        said = "" if refused is None else f": {refused}"
        raise BackendError(
            f"{clean(found.name)}: the server was told to unload it but still lists {clean(found.model_id)} as "
            f"loaded{said}"
        )

    def _let_go(self, model_id: str, handle: str) -> None:
        """Unload, and wait until the model is gone.

        A runtime may refuse for a moment after an answer has ended.  Errors are ignored: the next use of the server
        shows them.
        """
        deadline = time.monotonic() + _GONE_S
        with contextlib.suppress(BackendError):
            while time.monotonic() < deadline:
                try:
                    self._unload(handle)
                except ControlError as error:
                    if error.status in _NOBODY_OR_NOTHING:
                        return
                if not self._is_loaded(model_id):
                    return
                time.sleep(_POLL_S)

    def close(self) -> None:
        """Unload the models loaded here, unless they are kept."""
        ours, self._ours = self._ours, {}
        self._ready.clear()
        if self._keep_loaded:
            return
        for model_id, handle in ours.items():
            self._let_go(model_id, handle)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Add advice to the error of a server that doesn't answer."""
        try:
            yield
        except ControlError as error:
            problem = self._server().problem(error)
            if problem:
                raise BackendError(f"{self.name}: {problem}. {self.advice}") from error
            raise

    def _too_long(self, found: Found, error: ControlError) -> BackendError:
        """Error of a failed load; says so if it timed out."""
        if error.too_late:
            return _GivenUpError(
                f"{found.name} was not loaded within {self._load_timeout_s:g} s; for a slow disk or a large model, "
                "set the option load_timeout_s higher"
            )
        return error


def _quiet(what: str, percent: float | None) -> None:
    del what, percent


def _may_go_on(error: BackendError) -> bool:
    """Whether the server may still finish a load that failed here."""
    return isinstance(error, _GivenUpError) or (isinstance(error, ControlError) and error.status is None)
