"""Any OpenAI-compatible server by its URL: nothing is started, loaded or unloaded."""

from __future__ import annotations

import http.client
import json
import ssl

from pytest_flperf.backends.base import BackendError, ListedModel, OnProgress, Served
from pytest_flperf.telemetry.ports import ListenerFinder
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve

__all__ = ["UrlBackend"]

_PATIENCE_S = 10.0
_LIST_LIMIT_BYTES = 4 << 20


class UrlBackend:
    """A server that somebody else runs."""

    name = "openai"

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        """Take the URL apart; raises EndpointError for one that is none."""
        self._endpoint = Endpoint.parse(base_url)
        self._api_key = api_key
        self._listeners = ListenerFinder()

    def prepare(self, models: tuple[str, ...]) -> None:
        """Nothing to prepare: the server runs."""

    def discover(self) -> tuple[ListedModel, ...]:
        """What ``GET …/models`` lists."""
        path = "/" + self._endpoint.base_url.split("://", 1)[1].partition("/")[2].rstrip("/") + "/models"
        kind = http.client.HTTPSConnection if self._endpoint.tls else http.client.HTTPConnection
        connection = kind(self._endpoint.host, self._endpoint.port, timeout=_PATIENCE_S)
        headers = {"Accept": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        where = f"GET {self._endpoint.base_url}/models"
        try:
            connection.request("GET", path.replace("//", "/"), headers=headers)
            answer = connection.getresponse()
            body = answer.read(_LIST_LIMIT_BYTES)
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            raise BackendError(f"{where} failed: {error}. Is the server running, and is the URL right?") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise BackendError(f"{where} answered {answer.status} {answer.reason}: {body[:200]!r}")
        return _listed(body, where)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """The model as it is: the server must have it."""
        del on_progress
        return Served(backend=self.name, model=model, model_id=model, endpoint=self._endpoint, api_key=self._api_key)

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

    def close(self) -> None:
        """Nothing was started."""


def _listed(body: bytes, where: str) -> tuple[ListedModel, ...]:
    try:
        entries = json.loads(body)["data"]
        names = [str(entry["id"]) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackendError(f"{where} answered something that is no list of models: {body[:200]!r}") from error
    return tuple(ListedModel(alias=name, model_id=name, source="server") for name in names)
