"""What backends share that attach to a server which somebody else runs: how it is reached, and what is said of that."""

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

_NOT_CHECKED: Final = "TLS certificate not checked: whoever answers at the address was trusted"
_DIRECTLY: Final = "requests went to the server directly: the proxy that is set on this machine was not used"
_CONNECT_S: Final = 3.0
_NAMES_SHOWN: Final = 5
_TEXT: Final = 200
_WORDS: Final = {"true": True, "false": False}


class Attachment:
    """A server by its URL.  Making one connects to nothing."""

    def __init__(self, kind: str, config: BackendConfig, base_url: str, root_url: str | None = None) -> None:
        """Take the URL apart.

        Args:
            kind: Name of the backend, for messages.
            config: Key, headers and trust.
            base_url: Of the OpenAI-compatible API.
            root_url: What relative paths of control requests begin with; None: ``base_url``.

        Raises:
            EndpointError: The URL is none.
            BackendError: Certificates that can't be used, or a key or header that can't be sent.

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
        """Control requests to another place of the same server."""
        config = self._config
        return Control(endpoint, api_key=config.api_key, headers=config.headers, tls=config.tls)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said with everything that is measured over this way."""
        said = (_NOT_CHECKED,) if self.endpoint.tls and not self._config.tls.verify else ()
        return said + ((_DIRECTLY,) if _proxy_meant(self.endpoint) else ())

    def served(self, model: str, model_id: str, **more: Any) -> Served:
        """A model that is ready, with what requests to this server carry."""
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
        """Why nobody can be asked anything, after a control request failed; empty where the server does answer.

        A server that accepts a connection and is silent may be busy, or have no such path.
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
        """Whoever listens on the URL's port, where that is one of this machine; never raises."""
        try:
            addresses = [str(address[0]) for _family, address in resolve(self.endpoint)]
        except EndpointError as error:
            return ServerProcesses((), str(error))
        return self._listeners.find(addresses, self.endpoint.port)


def root_of(base_url: str) -> str:
    """The URL without ``/v1`` at its end: where a server's own paths begin, also behind a proxy's path."""
    address, mark, query = base_url.strip().partition("?")
    address = address.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return address.removesuffix("/v1").rstrip("/") + mark + query


def api_of(root_url: str) -> str:
    """The OpenAI-compatible API of a server by its root: ``/v1`` behind the path."""
    address, mark, query = root_url.partition("?")
    return f"{address}/v1{mark}{query}"


def nearest(name: str, names: Iterable[str]) -> str:
    """``nearest: …`` or a few of the names, for the end of a message that says that a name is not there."""
    known = list(dict.fromkeys(names))
    if not known:
        return "it has none"
    close = [each for each in known if each.startswith(name)][:1] or difflib.get_close_matches(name, known, 1)
    if close:
        return f"nearest: {clean(close[0])}"
    shown = ", ".join(clean(each) for each in known[:_NAMES_SHOWN])
    return f"it has {shown}" + (f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else "")


def flag(kind: str, options: Mapping[str, Any], name: str, default: bool) -> bool:
    """An option that is true or false; raises BackendError for anything else."""
    value = options.get(name, default)
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise BackendError(f"{kind}: option {name}: found {clean(repr(value), 60)}, expected true or false")
    return value


def seconds(kind: str, options: Mapping[str, Any], name: str, default: float) -> float:
    """An option in seconds, above 0 and up to a day; raises BackendError for anything else."""
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
    """The objects of a list in an answer; raises BackendError where there is no such list."""
    found = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise BackendError(f"{where} answered something that is no list of models: {clean(repr(answer))}")
    return [each for each in found if isinstance(each, Mapping)]


def text_of(value: Any) -> str:
    """Text of a server's answer, harmless and short; empty where there is none."""
    return clean(value, _TEXT) if isinstance(value, str) else ""


def as_int(value: Any) -> int | None:
    """A whole number of a server's answer, above 0; None where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _proxy_meant(endpoint: Endpoint) -> bool:
    """Whether other clients on this machine would reach the server through a proxy."""
    import urllib.request

    if endpoint.loopback:
        return False
    set_for = urllib.request.getproxies().keys()
    if not set_for & {"https" if endpoint.tls else "http", "all"}:
        return False
    return not urllib.request.proxy_bypass(f"{endpoint.host}:{endpoint.port}")
