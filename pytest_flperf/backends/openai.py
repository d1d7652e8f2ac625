"""Any OpenAI-compatible server by its URL: nothing is started, loaded or unloaded."""

from __future__ import annotations

from typing import Any, Self

from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.backends.control import Control
from pytest_flperf.telemetry.ports import ListenerFinder
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve

__all__ = ["OpenAiBackend"]


class OpenAiBackend:
    """A server that somebody else runs."""

    name = "openai"

    def __init__(self, config: BackendConfig) -> None:
        """Take the URL apart; raises EndpointError for one that is none, BackendError where there is none."""
        if config.base_url is None:
            raise BackendError("openai: no base_url, expected the server's, such as http://127.0.0.1:8080/v1")
        self._config = config
        self._endpoint = Endpoint.parse(config.base_url)
        self._control = Control(self._endpoint, api_key=config.api_key, headers=config.headers, tls=config.tls)
        self._listeners = ListenerFinder()
        self._ready: set[str] = set()

    @classmethod
    def at(cls, base_url: str, api_key: str | None = None) -> Self:
        """The server at a URL, with nothing else to say."""
        return cls(BackendConfig(base_url=base_url, api_key=api_key))

    def prepare(self, models: tuple[str, ...]) -> None:
        """Nothing to prepare: the server runs."""

    def about(self) -> About:
        """An OpenAI-compatible server tells nothing of itself; that it lists models is a sign of life."""
        self.discover()
        return About("OpenAI-compatible server", address=self._endpoint.base_url)

    def discover(self) -> tuple[ListedModel, ...]:
        """What ``GET …/models`` lists."""
        where = f"GET {self._endpoint.base_url}/models"
        try:
            answer = self._control.get("models")
        except BackendError as error:
            raise BackendError(f"{error}. Is the server running, and is the URL right?") from error
        return _listed(answer, where)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """The model as it is: the server must have it."""
        del on_progress
        self._ready.add(model)
        return Served(
            backend=self.name,
            model=model,
            model_id=model,
            endpoint=self._endpoint,
            api_key=self._config.api_key,
            headers=self._config.headers,
            tls=self._config.tls,
        )

    def endpoint(self, model: str) -> Endpoint:
        """The URL as it was given."""
        if model not in self._ready:
            raise BackendError(f"{model}: not ready, ensure() it first")
        return self._endpoint

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
        try:
            addresses = [str(address[0]) for _family, address in resolve(self._endpoint)]
        except EndpointError as error:
            return ServerProcesses((), str(error))
        return self._listeners.find(addresses, self._endpoint.port)

    def release(self, model: str) -> None:
        """Nothing was loaded."""
        self._ready.discard(model)

    def close(self) -> None:
        """Nothing was started."""


def _listed(answer: Any, where: str) -> tuple[ListedModel, ...]:
    try:
        names = [str(entry["id"]) for entry in answer["data"]]
    except (KeyError, TypeError) as error:
        raise BackendError(f"{where} answered something that is no list of models: {str(answer)[:200]!r}") from error
    return tuple(ListedModel(alias=name, model_id=name, source="server") for name in names)
