"""Foundry Local service backend: attaches to a service of either generation.

The newer one is the web service of the 2.x runtime and of the command line from 0.10 on: ``/status``,
``/models/loaded``, ``/models/load/{name}``, ``/models/unload/{name}``.  There a name is an *alias*, and which variant
that means is known when it is loaded; seen on the runtime of foundry-local-sdk 2.2.1.  The older one is the service of
the command line up to 0.9: ``/openai/status``, ``/foundry/list``, ``/openai/models``, ``/openai/loadedmodels``,
``/openai/load/{id}``, ``/openai/unload/{id}``; from its documentation (learn.microsoft.com, "Foundry Local REST API
reference") and from foundry-local-sdk 0.5.1.  Both want requests to name the id, never the alias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.attached import Attachment, api_of, root_of, seconds
from pytest_flperf.backends.base import About, BackendConfig, BackendError, Capabilities, ListedModel, OnProgress
from pytest_flperf.backends.foundry.command import service_url
from pytest_flperf.backends.foundry.service_api import DEVICES, NewerApi, OlderApi, device_in
from pytest_flperf.backends.on_demand_loading import LOAD_TIMEOUT_S, Found, Loaded, LoadingBackend
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.foundry_host.reachability import check_answers

__all__ = ["FoundryServiceBackend"]

_REACH_S: Final = 5.0


class FoundryServiceBackend(LoadingBackend):
    """Foundry Local service backend: starts and stops nothing."""

    name = "foundry-service"
    advice = (
        "Start the service with `foundry server start` (before 0.10: `foundry service start`), or give its base_url; "
        "its port changes with every start"
    )

    def __init__(self, config: BackendConfig, find: Callable[[], str] = service_url) -> None:
        """Read the configuration; doesn't look for the service yet.

        Without a base_url, ``find`` runs the ``foundry`` command.
        """
        load_timeout_s = seconds(self.name, config.options, "load_timeout_s", LOAD_TIMEOUT_S)
        super().__init__(load_timeout_s, keep_loaded=config.keep_loaded)
        if config.device not in DEVICES:
            found, expected = clean(repr(config.device), 60), ", ".join(DEVICES)
            raise BackendError(f"{self.name}: device: found {found}, expected one of {expected}")
        self._config = config
        self._find_url = find
        self._attachment: Attachment | None = None
        self._api: NewerApi | OlderApi | None = None
        if config.base_url is not None:
            self._attachment = self._attach(config.base_url)

    def about(self) -> About:
        """Generation of the service; it reports no version."""
        api = self._connected()
        return About(f"Foundry Local service ({api.words})", "", self._server().endpoint.base_url)

    def discover(self) -> tuple[ListedModel, ...]:
        """List the service's models with ids, and aliases where known."""
        with self._asking():
            return self._connected().models()

    def loaded_id(self, model: str) -> str:
        """Id of a model, whoever loaded it; empty if it is not loaded."""
        api = self._connected()
        if isinstance(api, OlderApi):
            return super().loaded_id(model)
        with self._asking():
            return api.loaded_by_name(model)

    def unload(self, model: str) -> str:
        """Unload a model, whoever loaded it; its id, empty if not loaded."""
        api = self._connected()
        if isinstance(api, OlderApi):
            return super().unload(model)
        with self._asking():
            return api.unload_by_name(model)

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities: accepted parameters are still unknown."""
        del model
        return Capabilities()

    # ---- hooks of the base class

    def _server(self) -> Attachment:
        if self._attachment is None:
            self._attachment = self._attach(self._find_url())
        return self._attachment

    def _attach(self, url: str) -> Attachment:
        root = root_of(url)
        return Attachment(self.name, self._config, api_of(root), root)

    def _connected(self) -> NewerApi | OlderApi:
        """Interface of the service.

        Once the service was gone, its address is looked up again: its port changes.
        """
        if self._api is not None:
            return self._api
        server = self._server()
        problem = check_answers(server.endpoint.base_url, _REACH_S) if not server.endpoint.tls else None
        if problem:
            url = server.endpoint.base_url
            if self._config.base_url is not None:
                raise BackendError(f"{self.name}: the address {url} {problem}. {self.advice}")
            self._attachment = None
            raise BackendError(
                f"{self.name}: the `foundry` command says that the service is up at {url}, but that address {problem} "
                f"(tried for {_REACH_S:g} s). This is known from Windows on ARM64 and from services that have run "
                "for a long time. Restart it (`foundry server restart`, before 0.10 `foundry service restart`) and "
                "check firewalls and security programs; backend foundry needs no service"
            )
        with self._asking():
            self._api = _generation(server.control, self._config.device)
        return self._api

    def _find(self, model: str, on_progress: OnProgress) -> Found:
        del on_progress
        return self._connected().find(model)

    def _is_loaded(self, model_id: str, patience_s: float | None = None) -> bool:
        try:
            return model_id in self._connected().loaded(patience_s)
        except ControlError as error:
            if error.status is not None or self._config.base_url is not None:
                raise
        self._api = self._attachment = None  # it may come back on another port
        return model_id in self._connected().loaded(patience_s)

    def _load(self, found: Found) -> Loaded:
        try:
            return self._connected().load(found, self._load_timeout_s)
        except ControlError as error:
            raise self._too_long(found, error) from error

    def _unload(self, handle: str) -> None:
        if self._api is not None:
            self._api.unload(handle)

    def _details(self, found: Found, model_id: str) -> dict[str, Any]:
        details = super()._details(found, model_id)
        return {"variant": model_id, **details, "device": details.get("device") or device_in(model_id) or None}


def _generation(control: Control, device: str) -> NewerApi | OlderApi:
    """Interface of the service, detected by its own paths."""
    tried = []
    for path, api in (("models/loaded", NewerApi(control, device)), ("openai/loadedmodels", OlderApi(control, device))):
        try:
            if isinstance(control.get(path), list):
                return api
            tried.append(f"GET {path} did not answer with a list")
        except ControlError as error:
            if error.status is None:
                raise
            tried.append(str(error))
    raise BackendError(f"foundry-service: what answers is not a Foundry Local service: {'; '.join(tried)}")
