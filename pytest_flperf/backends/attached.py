"""Attachment to a running server: URL, control requests, notes, options."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.base import BackendConfig, BackendError, Served
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.telemetry.ports import ListenerFinder
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve
from pytest_flperf.wire.tls import tls_problem

__all__ = ["Attachment", "api_of", "as_int", "entries", "flag", "nearest", "root_of", "seconds", "text_of"]

_NOT_CHECKED: Final = "TLS certificate not checked: any server at the address was trusted"
_DIRECTLY: Final = "requests went to the server directly: the proxy that is set on this machine was not used"
_CONNECT_S: Final = 3.0
_NAMES_SHOWN: Final = 5
_TEXT: Final = 200
_WORDS: Final = {"true": True, "false": False}


class Attachment:
    """Attachment: connection settings of a running server.

    Creating one opens no connection.
    """

    def __init__(self, kind: str, config: BackendConfig, base_url: str, root_url: str | None = None) -> None:
        """Parse the URL.

        Args:
            kind: Name of the backend, for messages.
            config: API key, headers and TLS settings.
            base_url: URL of the OpenAI-compatible API.
            root_url: Base of relative paths in control requests; None: ``base_url``.

        Raises:
            EndpointError: The URL is invalid.
            BackendError: The certificates can't be used, or a key or header can't be sent.

        """
        self._kind = kind
        self._config = config
        self.endpoint = Endpoint.parse(base_url)
        if self.endpoint.tls:
            try:
                config.tls.context()
            except (OSError, ValueError) as error:
                raise BackendError(f"{kind}: {tls_problem(config.tls, error)}") from error
        root = self.endpoint if root_url is None else Endpoint.parse(root_url)
        try:
            self.control = self.control_at(root)
        except ValueError as error:
            raise BackendError(f"{kind}: {error}") from None
        self._listeners = ListenerFinder()

    def control_at(self, endpoint: Endpoint) -> Control:
        """Control client for another endpoint of the same server."""
        config = self._config
        return Control(endpoint, api_key=config.api_key, headers=config.headers, tls=config.tls)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for every result that is measured over this connection."""
        said = (_NOT_CHECKED,) if self.endpoint.tls and not self._config.tls.verify else ()
        return said + ((_DIRECTLY,) if _proxy_meant(self.endpoint) else ())

    def served(self, model: str, model_id: str, **more: Any) -> Served:
        """A ready model, with this server's endpoint, key, headers and TLS."""
        config = self._config
        return Served(
            backend=self._kind,
            model=model,
            model_id=model_id,
            endpoint=self.endpoint,
            api_key=config.api_key,
            headers=config.headers,
            tls=config.tls,
            **more,
        )

    def problem(self, error: ControlError) -> str:
        """Why the server is unreachable; empty where it does answer.

        Called after a control request failed.  A server that accepts a connection and stays silent may be busy, or have
        no such path.
        """
        if error.status is not None:
            return ""
        try:
            found = resolve(self.endpoint)
        except EndpointError as problem:
            return str(problem)
        for family, address in found:
            try:
                with socket.socket(family, socket.SOCK_STREAM) as connection:
                    connection.settimeout(_CONNECT_S)
                    connection.connect(address)
            except OSError:
                continue
            return str(error) if self.endpoint.tls and "SSL" in str(error) else ""
        return str(error)

    def processes(self) -> ServerProcesses:
        """Processes that listen on the URL's port; never raises.

        Only for a URL of this machine.
        """
        try:
            addresses = [str(address[0]) for _family, address in resolve(self.endpoint)]
        except EndpointError as error:
            return ServerProcesses((), str(error))
        return self._listeners.find(addresses, self.endpoint.port)


def root_of(base_url: str) -> str:
    """Server root: the URL without ``/v1`` at its end.

    A server's own paths start there, also behind a proxy's path.
    """
    address, mark, query = base_url.strip().partition("?")
    address = address.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return address.removesuffix("/v1").rstrip("/") + mark + query


def api_of(root_url: str) -> str:
    """OpenAI-compatible API of a server: its root plus ``/v1``."""
    address, mark, query = root_url.partition("?")
    return f"{address}/v1{mark}{query}"


def nearest(name: str, names: Iterable[str]) -> str:
    """Nearest name (``nearest: …``) or some names, for a not-found message."""
    known = list(dict.fromkeys(names))
    if not known:
        return "it has none"
    close = [each for each in known if each.startswith(name)][:1] or difflib.get_close_matches(name, known, 1)
    if close:
        return f"nearest: {clean(close[0])}"
    shown = ", ".join(clean(each) for each in known[:_NAMES_SHOWN])
    return f"it has {shown}" + (f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else "")


def flag(kind: str, options: Mapping[str, Any], name: str, default: bool) -> bool:
    """Boolean option; raises BackendError for anything else."""
    value = options.get(name, default)
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise BackendError(f"{kind}: option {name}: found {clean(repr(value), 60)}, expected true or false")
    return value


def seconds(kind: str, options: Mapping[str, Any], name: str, default: float) -> float:
    """Option in seconds; raises BackendError for an invalid value.

    Valid: above 0 and up to a day.
    """
    value = options.get(name, default)
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number <= 86_400:
        raise BackendError(
            f"{kind}: option {name}: found {clean(repr(value), 60)}, expected seconds, above 0 and at most 86400"
        )
    return number


def entries(answer: Any, key: str, where: str) -> list[Mapping[str, Any]]:
    """Objects of a list in an answer; raises BackendError without one."""
    found = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise BackendError(f"{where} did not answer with a list of models: {clean(repr(answer))}")
    return [each for each in found if isinstance(each, Mapping)]


def text_of(value: Any) -> str:
    """Text from a server's answer, cleaned and shortened; empty if missing."""
    return clean(value, _TEXT) if isinstance(value, str) else ""


def as_int(value: Any) -> int | None:
    """Positive integer from a server's answer; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _proxy_meant(endpoint: Endpoint) -> bool:
    """Whether other clients here would reach the server through a proxy."""
    import urllib.request

    if endpoint.loopback:
        return False
    set_for = urllib.request.getproxies().keys()
    if not set_for & {"https" if endpoint.tls else "http", "all"}:
        return False
    return not urllib.request.proxy_bypass(f"{endpoint.host}:{endpoint.port}")
