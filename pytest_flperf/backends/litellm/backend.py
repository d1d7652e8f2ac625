"""LiteLLM backend: any ``provider/model``, through LiteLLM's proxy.

The proxy is our own on loopback, or one that runs already.

Requests are HTTP to an OpenAI-compatible endpoint, as for every other server.  LiteLLM is never imported here: the
import takes seconds, and its work would be done in the measuring process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.attached import Attachment, root_of
from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.backends.litellm.options import LiteLlmOptions, provider_of
from pytest_flperf.backends.litellm.proxy import LiteLlmProxy
from pytest_flperf.backends.server_process import PortTakenError
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["LiteLlmBackend"]

_HEALTH_S: Final = 5.0
_INFO_S: Final = 30.0
_THROUGH: Final = (
    "requests went through LiteLLM's proxy: its own time is part of every time, and it counts tokens itself where the "
    "provider doesn't"
)
_RESTARTED: Final = "LiteLLM's proxy had ended: it was restarted"
_ELSEWHERE: Final = "the provider's server runs the model; LiteLLM's proxy only passes requests on"
_HANDLED_BY_LITELLM: Final = frozenset({"stream_options"})
"""Accepted for every provider, whatever the list says: LiteLLM computes the usage of a stream itself."""
_PASSED_ON: Final = frozenset(
    {
        "top_k",
        "min_p",
        "repetition_penalty",
        "min_tokens",
        "ignore_eos",
        "chat_template_kwargs",
        "thinking",
    }
)
"""Not OpenAI parameters, so in no list: LiteLLM passes them on, and the provider accepts or refuses them."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The proxy's information on a model."""

    parameters: frozenset[str] | None
    context_length: int | None
    max_output_tokens: int | None


@dataclass(slots=True)
class _Place:
    """A proxy, ours or not, with its reported models."""

    endpoint: Endpoint
    control: Control
    api_key: str | None
    proxy: LiteLlmProxy | None = None
    number: int = 0
    notes: tuple[str, ...] = ()
    groups: Mapping[str, _Group] | None = None


class LiteLlmBackend:
    """LiteLLM backend: starts proxies, or attaches to one at ``base_url``."""

    name = "litellm"

    def __init__(self, config: BackendConfig) -> None:
        """Check the options; starts nothing.

        Raises BackendError for invalid options.
        """
        self._config = config
        self._options = LiteLlmOptions.from_config(config)
        self._proxies: list[_Place] = []
        self._places: dict[str, _Place] = {}
        """The proxy of each requested model; proxies of our own only."""
        self._ready: dict[str, Served] = {}
        self._started = 0
        self._theirs: _Place | None = None
        if config.base_url is not None:
            server = Attachment(self.name, config, config.base_url, root_of(config.base_url))
            self._theirs = _Place(server.endpoint, server.control, config.api_key, notes=server.notes)

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start one proxy for all these models without waiting."""
        missing = [model for model in models if "/" in model and model not in self._places]
        if self._theirs is None and missing:
            with contextlib.suppress(BackendError):  # errors are raised when the model is requested
                self._start(missing)

    def about(self) -> About:
        """LiteLLM's version and the address of its proxy.

        A proxy of our own is started for this.
        """
        place = self._first_place()
        place.control.get("health/liveliness")
        version = "" if place.proxy is None else place.proxy.version()
        return About("LiteLLM proxy", version, place.endpoint.base_url)

    def discover(self) -> tuple[ListedModel, ...]:
        """List the models of the proxy.

        For a proxy of our own: those of the option ``models``, and those requested so far.
        """
        first = self._first_place()
        places = [first, *(place for place in self._proxies if place is not first)]
        return tuple(listed for place in places for listed in self._listed(place))

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Start or find a proxy that accepts the model.

        Only a request shows whether the provider has the model and accepts the key.
        """
        if self._theirs is None:
            provider_of(model)
        ready = self._ready.get(model)
        place = self._place(model)
        if ready is not None and place is not None and (place.proxy is None or place.proxy.alive):
            return ready
        if place is None or (place.proxy is not None and not place.proxy.alive):
            on_progress("starting LiteLLM's proxy", None)
            place = self._start([model, *self._forget(place)])
        place = self._wait(place)
        self._check_taken(place, model)
        group = self._group(place, model)
        served = Served(
            backend=self.name,
            model=model,
            model_id=model,
            endpoint=place.endpoint,
            api_key=place.api_key,
            headers=self._config.headers,
            tls=self._config.tls,
            context_length=group.context_length if group else None,
            max_output_tokens=group.max_output_tokens if group else None,
            generation=place.number,
            notes=(_THROUGH, *place.notes),
        )
        self._ready[model] = served
        if ready is not None:
            return replace(served, reloaded=True, notes=(_RESTARTED, *served.notes))
        return served

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint of the proxy that serves the model."""
        if model not in self._ready:
            raise BackendError(f"{clean(model)}: not ready, call ensure() first")
        return self._ready[model].endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Provider's parameters as LiteLLM knows them; unknown before a proxy answers."""
        place = self._place(model)
        if place is None or (place.proxy is not None and not place.proxy.answers()):
            return Capabilities(usage=True)
        try:
            group = self._group(place, model)
        except BackendError:
            group = None
        if group is None or group.parameters is None:
            return Capabilities(usage=True)
        taken = group.parameters | _HANDLED_BY_LITELLM | _PASSED_ON
        return Capabilities(parameters=taken, usage=True, tools="tools" in group.parameters)

    def health(self) -> str:
        """Check that the proxies answer; the providers behind are not checked."""
        for place in self._proxies if self._theirs is None else [self._theirs]:
            try:
                place.control.get("health/liveliness", _HEALTH_S)
            except BackendError as error:
                ended = place.proxy is not None and place.proxy.has_ended()
                return place.proxy.obituary() if place.proxy is not None and ended else str(error)
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """No processes on this machine, as far as known."""
        del model
        return ServerProcesses((), _ELSEWHERE)

    def release(self, model: str) -> None:
        """Nothing to unload; a proxy of ours stays until ``close``.

        It may serve other models.
        """
        self._ready.pop(model, None)

    def close(self) -> None:
        """Stop the proxies that were started."""
        for place in self._proxies:
            if place.proxy is not None:
                place.proxy.end()
        self._proxies.clear()
        self._places.clear()
        self._ready.clear()

    def _place(self, model: str) -> _Place | None:
        return self._theirs or self._places.get(model)

    def _first_place(self) -> _Place:
        return self._wait(self._theirs or next(iter(self._proxies), None) or self._start([]))

    def _wait(self, place: _Place) -> _Place:
        """Wait until the proxy answers; replace it if its port was taken."""
        if place.proxy is None:
            return place
        try:
            place.proxy.wait_ready()
        except PortTakenError:
            place = self._start(self._forget(place))
            assert place.proxy is not None
            place.proxy.wait_ready()
        return place

    def _start(self, models: list[str]) -> _Place:
        """Start a proxy for these models.

        It also serves the models of the options that no other proxy has.
        """
        wanted = [model for model in dict.fromkeys([*models, *self._options.models]) if model not in self._places]
        self._options.check_key([*self._places, *wanted])
        proxy = LiteLlmProxy(self._options, tuple(wanted), self._config.logs_dir)
        self._started += 1
        control = Control(Endpoint.parse(root_of(proxy.endpoint.base_url)), api_key=proxy.master_key)
        place = _Place(proxy.endpoint, control, proxy.master_key, proxy, self._started)
        self._proxies.append(place)
        self._places.update(dict.fromkeys(wanted, place))
        return place

    def _forget(self, gone: _Place | None) -> list[str]:
        """Remove an ended proxy; returns the models that it had."""
        if gone is None or gone.proxy is None:
            return []
        gone.proxy.end()
        self._proxies.remove(gone)
        models = [model for model, place in self._places.items() if place is gone]
        for model in models:
            del self._places[model]
        return models

    def _check_taken(self, place: _Place, model: str) -> None:
        """Refuse a model that the proxy doesn't list."""
        listed = [each.model_id for each in self._listed(place)]
        if any(name == model or (name.endswith("*") and model.startswith(name[:-1])) for name in listed):
            return
        if place.proxy is None:
            shown = ", ".join(clean(name, 60) for name in listed[:8]) or "none"
            raise BackendError(
                f"{clean(model)}: the proxy at {place.endpoint.base_url} has no model with that name; it has: {shown}"
            )
        raise BackendError(
            f"{clean(model)}: LiteLLM can't pass requests on to it; expected provider/model with a provider of "
            f"https://docs.litellm.ai/docs/providers, and with what that one needs under the option models"
            f"{place.proxy.complaint(model)}"
        )

    def _listed(self, place: _Place) -> tuple[ListedModel, ...]:
        where = f"GET {place.endpoint.base_url}/models"
        try:
            answer = place.control.get("models", _INFO_S)
        except ControlError as error:
            refused = error.status in (400, 401, 403, 500) and place.proxy is None
            advice = ". Does the proxy need another key (api_key)?" if refused else ""
            raise BackendError(f"{error}{advice}") from error
        try:
            return tuple(_model(entry) for entry in answer["data"])
        except (KeyError, TypeError) as error:
            raise BackendError(f"{where} did not answer with a list of models: {clean(str(answer))}") from error

    def _group(self, place: _Place, model: str) -> _Group | None:
        """The proxy's information on a model; None if it gives none.

        The key may lack permission, or the version may be older.
        """
        if place.groups is None:
            try:
                place.groups = _groups(place.control.get("model_group/info", _INFO_S))
            except ControlError as error:
                if error.status is None:
                    raise
                place.groups = {}
        return place.groups.get(model)


def _model(entry: Mapping[str, Any]) -> ListedModel:
    name = str(entry["id"])
    return ListedModel(alias=name, model_id=name, source="server", context_length=_whole(entry.get("max_input_tokens")))


def _groups(answer: Any) -> dict[str, _Group]:
    found = {}
    entries = answer.get("data") if isinstance(answer, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        named = entry.get("supported_openai_params")
        found[str(entry.get("model_group"))] = _Group(
            parameters=frozenset(map(str, named)) if isinstance(named, list) and named else None,
            context_length=_whole(entry.get("max_input_tokens")),
            max_output_tokens=_whole(entry.get("max_output_tokens")),
        )
    return found


def _whole(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 < value < 1 << 53 else None
