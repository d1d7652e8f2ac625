"""Any OpenAI-compatible server by its URL: nothing is started, loaded or unloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from pytest_flperf.backends.attached import Attachment, entries, nearest, text_of
from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.backends.control import ControlError
from pytest_flperf.runtime.logs import clean
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["OpenAiBackend"]

_RUNTIMES: Final = {"vllm": "vLLM", "llamacpp": "llama.cpp", "sglang": "SGLang"}
"""By the ``owned_by`` of listed models."""
_NO_SUCH_PATH: Final = (404, 405, 501)


class OpenAiBackend:
    """A server that somebody else runs."""

    name = "openai"

    def __init__(self, config: BackendConfig) -> None:
        """Take the URL apart; raises EndpointError for one that is none, BackendError for what can't be used."""
        if config.base_url is None:
            raise BackendError("openai: no base_url, expected the server's, such as http://127.0.0.1:8080/v1")
        self._server = Attachment(self.name, config, config.base_url)
        self._ready: dict[str, Served] = {}

    @classmethod
    def at(cls, base_url: str, api_key: str | None = None) -> Self:
        """The server at a URL, with nothing else to say."""
        return cls(BackendConfig(base_url=base_url, api_key=api_key))

    def prepare(self, models: tuple[str, ...]) -> None:
        """Nothing to prepare: the server runs."""

    def about(self) -> About:
        """What tells of itself: vLLM by its ``/version``, others by a ``Server`` header, if at all."""
        control, address = self._server.control, self._server.endpoint.base_url
        try:
            status, text, headers = control.exchange("GET", "models")
        except ControlError as error:
            raise BackendError(self._nobody(error)) from error
        runtime = "OpenAI-compatible server"
        if status == 200:
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
        """What ``GET …/models`` lists."""
        try:
            answer = self._server.control.get("models")
        except ControlError as error:
            raise BackendError(self._nobody(error)) from error
        return _listed(answer, f"GET {self._server.endpoint.base_url}/models")

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """The model as it is: the server must have it.

        A list without it is no error, for lists lie, and some servers serve what they don't list; nor is no list.
        """
        del on_progress
        ready = self._ready.get(model)
        if ready is None:
            listed, doubts = self._doubts(model)
            notes = self._server.notes + doubts
            ready = self._ready[model] = self._server.served(model, model, listed=listed, notes=notes)
        return ready

    def _doubts(self, model: str) -> tuple[bool | None, tuple[str, ...]]:
        """Whether the server lists a model, and what is to be said of it."""
        try:
            listed = _listed(self._server.control.get("models"), "GET models")
        except ControlError as error:
            problem = self._server.problem(error)
            if problem:
                raise BackendError(self._nobody(error)) from error
            if error.status in _NO_SUCH_PATH:
                return None, ()
            return None, (f"whether the server has the model is not known: {error}",)
        except BackendError:
            return None, ()
        names = [each.model_id for each in listed]
        if not names or model in names:
            return True if names else None, ()
        return False, (f"the server's list of models does not have {clean(model)}, {nearest(model, names)}",)

    def _nobody(self, error: ControlError) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"{error}. Name the certificate of whoever signed the server's as ca_file, or set verify to false"
        return f"{error}. Is the server running, and is the URL right?"

    def endpoint(self, model: str) -> Endpoint:
        """The URL as it was given."""
        if model not in self._ready:
            raise BackendError(f"{model}: not ready, ensure() it first")
        return self._server.endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Nothing is known of it."""
        del model
        return Capabilities()

    def health(self) -> str:
        """Not known from outside; a request tells."""
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """Whoever listens on the URL's port, where that is one of this machine."""
        del model
        return self._server.processes()

    def release(self, model: str) -> None:
        """Nothing was loaded."""
        self._ready.pop(model, None)

    def close(self) -> None:
        """Nothing was started."""


def _listed(answer: Any, where: str) -> tuple[ListedModel, ...]:
    names = [text_of(each.get("id")) for each in entries(answer, "data", where)]
    return tuple(ListedModel(alias=name, model_id=name, source="server") for name in names if name)


def _owner(text: str) -> str:
    """Who owns the first of the listed models, as a server's JSON says it; empty where it doesn't."""
    import json

    try:
        owned = json.loads(text)["data"][0]["owned_by"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return owned if isinstance(owned, str) else ""
