"""OpenAI-compatible backend: attaches to any such server by its URL.

Nothing is started, loaded or unloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from pytest_flperf.backends.admin_api import ControlError
from pytest_flperf.backends.attached import Attachment, nearest, seconds, text_of
from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.backends.model_lists import find_listed, listed_models, some_names
from pytest_flperf.backends.readiness import LOAD_TIMEOUT_S, Patience, when_loaded
from pytest_flperf.backends.wrong_address import NO_SUCH_PATH, is_page
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.results.notes import warning
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["OpenAiBackend"]

_RUNTIMES: Final = {"vllm": "vLLM", "llamacpp": "llama.cpp", "sglang": "SGLang"}
"""Runtimes by the ``owned_by`` of listed models."""


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """A server's list entry for a model."""

    model_id: str
    """The name that requests must use."""
    listed: bool | None
    others: tuple[ListedModel, ...] = ()
    notes: tuple[str, ...] = ()


class OpenAiBackend:
    """OpenAI-compatible backend for a running server."""

    name = "openai"

    def __init__(self, config: BackendConfig) -> None:
        """Check the URL and the configuration.

        Raises EndpointError for an invalid URL, BackendError for settings that can't be used.
        """
        if config.base_url is None:
            raise BackendError("openai: no base_url, expected the server's, such as http://127.0.0.1:8080/v1")
        self._load_timeout_s = seconds(self.name, config.options, "load_timeout_s", LOAD_TIMEOUT_S)
        self._server = Attachment(self.name, config, config.base_url)
        self._ready: dict[str, Served] = {}

    @classmethod
    def at(cls, base_url: str, api_key: str | None = None) -> Self:
        """Create a backend from a URL and a key alone."""
        return cls(BackendConfig(base_url=base_url, api_key=api_key))

    def prepare(self, models: tuple[str, ...]) -> None:
        """Do nothing: the server runs already."""

    def about(self) -> About:
        """Runtime and version, as far as the server reports them.

        vLLM has ``/version``; others may send a ``Server`` header.
        """
        control, address = self._server.control, self._server.endpoint.shown
        try:
            status, text, headers = control.exchange("GET", "models")
        except ControlError as error:
            raise BackendError(self._nobody(error)) from error
        runtime = "OpenAI-compatible server"
        if 200 <= status < 300:
            runtime = _RUNTIMES.get(_owner(text), runtime)
        version = self._version() or text_of(headers.get("server"))
        return About(runtime, version if version != runtime else "", address)

    def _version(self) -> str:
        try:
            answer = self._server.control.get("/version")
        except ControlError:
            return ""
        return text_of(answer.get("version")) if isinstance(answer, Mapping) else ""

    def discover(self) -> tuple[ListedModel, ...]:
        """List the models of ``GET …/models``, with keys unmasked.

        Callers mask keys in what they show.
        """
        try:
            return self._list()
        except ControlError as error:
            raise BackendError(self._nobody(error)) from error

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Look the model up on the server; it can't be loaded.

        A list without it, or no list, is no error: lists can be wrong, and some servers serve models that they don't
        list.
        """
        ready = self._ready.get(model)
        if ready is not None:
            return ready
        patience = Patience(model, self._load_timeout_s, on_progress)
        found = self._look_up(model, patience)
        ready = self._ready[model] = self._server.served(
            model,
            found.model_id,
            listed=found.listed,
            others=found.others,
            alternatives=self._server.endpoint.alternatives,
            load_timeout_s=self._load_timeout_s,
            notes=self._server.notes + found.notes,
        )
        if not patience.note:
            return ready
        # The wait and its note belong to the case that waited, not to later ones.
        left_s = max(self._load_timeout_s - patience.waited_s, 1.0)
        return replace(ready, load_timeout_s=left_s, notes=(*ready.notes, patience.note))

    def _look_up(self, model: str, patience: Patience) -> _LookedUp:
        """List entry of a model, with notes; raises BackendError without an answer."""
        try:
            listed = when_loaded(self._list, patience)
        except ControlError as error:
            if self._server.problem(error):
                raise BackendError(self._nobody(error)) from error
            return _LookedUp(
                model, None, notes=(warning(f"it is not known whether the server has the model: {error}"),)
            )
        if not listed:
            return _LookedUp(model, None, notes=(warning("the server's list of models is empty"),))
        masked, found = self._server.control.masked, find_listed(model, listed)
        if not found:
            names = [masked(each.model_id) for each in listed]
            said = warning(f"the server's list of models does not have {clean(model)}, {nearest(model, names)}")
            return _LookedUp(model, False, listed, (said,))
        if len(found) > 1:
            several = some_names(masked(each.model_id) for each in found)
            said = warning(f"{clean(model)} matches several of the server's models: {several}; it was sent unchanged")
            return _LookedUp(model, False, listed, (said,))
        model_id = found[0].model_id
        named = f"the server lists {clean(model)} as {clean(masked(model_id))}; requests use that name"
        return _LookedUp(model_id, True, listed, (named,) if model_id != model else ())

    def _list(self) -> tuple[ListedModel, ...]:
        """Models listed at the URL, or at ``/v1`` behind it.

        Raises ControlError if the answer is no list.
        """
        try:
            return self._list_at(self._server.endpoint)
        except ControlError as error:
            if not _is_elsewhere(error):
                raise
            first = error
        for other in self._server.endpoint.alternatives:
            try:
                return self._list_at(other)
            except ControlError as error:
                is_other_part = self._server.endpoint.is_version_of(other)  # of the site, nearer to its root
                if error.status is not None and not _is_elsewhere(error) and not is_other_part:
                    raise  # this is the API: it needs a key, or is loading
        raise first

    def _list_at(self, endpoint: Endpoint) -> tuple[ListedModel, ...]:
        here = endpoint == self._server.endpoint
        control = self._server.control if here else self._server.control_at(endpoint)
        answer = control.get("models", as_sent=True)
        models = listed_models(answer)
        if models is None:
            shown = clean(control.masked(repr(answer)))
            said = f"GET {endpoint.base_url}/models did not answer with a list of models: {shown}"
            raise ControlError(said, 200, shown)
        return models

    def _nobody(self, error: ControlError) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return (
                f"{error}. Set ca_file to the certificate of the authority that signed the server's, or verify to false"
            )
        if error.status in (401, 403):
            return f"{error}. Does it need a key, or a different one (api_key_env, headers_env)?"
        return f"{error}. Is the server running, and is the URL right?" if error.status is None else str(error)

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint at the URL as given."""
        if model not in self._ready:
            raise BackendError(f"{model}: not ready, call ensure() first")
        return self._server.endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities: unknown for a server of any kind."""
        del model
        return Capabilities()

    def health(self) -> str:
        """Always empty: only a request shows whether the server is healthy."""
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """Processes that listen on the URL's port, on this machine."""
        del model
        return self._server.processes()

    def release(self, model: str) -> None:
        """Do nothing: no model was loaded."""
        self._ready.pop(model, None)

    def close(self) -> None:
        """Do nothing: no server was started."""


def _is_elsewhere(error: ControlError) -> bool:
    """Whether a path has no list, so that another may.

    Nothing there, a page, or something else.
    """
    if error.status is None:
        return False
    is_odd = 200 <= error.status < 400 or is_page(error.headers, error.body)
    return error.status in NO_SUCH_PATH or (is_odd and error.status not in (429, 503))


def _owner(text: str) -> str:
    """``owned_by`` of the first listed model; empty if missing."""
    try:
        owned = json.loads(text)["data"][0]["owned_by"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return owned if isinstance(owned, str) else ""
