"""llama-server pool: the attached server, or those we start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_flperf.backends.admin_api import ControlError
from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.backends.llamacpp.admin_api import LlamaControl, NotReadyError, wait_healthy
from pytest_flperf.backends.llamacpp.models import alias_of
from pytest_flperf.backends.llamacpp.options import LlamaOptions
from pytest_flperf.backends.llamacpp.server import LlamaServer, find_binary, has_devices
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.telemetry.ports import ListenerFinder
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve

__all__ = ["Site", "Sites"]

_NEWS_S: Final = 1.0
"""Longest delay between the end of a server's sockets and the report of its exit."""


@dataclass(slots=True)
class Site:
    """A llama-server, started by us or attached."""

    control: LlamaControl
    endpoint: Endpoint
    server: LlamaServer | None = None
    """None: it was running before."""
    healthy: bool = False
    """Whether a server of ours has become healthy."""
    router: bool = False

    @property
    def ours(self) -> bool:
        """Whether we started it."""
        return self.server is not None

    @property
    def lives(self) -> bool:
        """Whether the server runs, as far as known."""
        return self.server is None or self.server.alive


class Sites:
    """llama-servers of a backend: started on demand, replaced after exits.

    All of ours are ended by :meth:`close`.
    """

    def __init__(self, config: BackendConfig, options: LlamaOptions) -> None:
        """Start nothing and send nothing; raises EndpointError for invalid URLs."""
        self._config = config
        self._options = options
        self.attached: Site | None = None
        if config.base_url is not None:
            endpoint = Endpoint.parse(config.base_url)
            self.attached = Site(LlamaControl(endpoint, config), endpoint)
        self.own_router: Site | None = None
        self._alone: dict[str, Site] = {}
        self._listeners = ListenerFinder()
        self._asked_for_devices = False
        self._has_devices: bool | None = None

    def all(self) -> tuple[Site, ...]:
        """All servers, dead ones included."""
        found = (self.attached, self.own_router, *self._alone.values())
        return tuple(site for site in found if site is not None)

    def main(self) -> Site:
        """The attached server, or our own router, started if needed."""
        if self.attached is not None:
            return self.attached
        site = self.own_router
        if site is None or not site.lives:
            self._forget_router()
            folder = self._options.models_dir
            arguments = [] if folder is None else ["--models-dir", str(folder)]
            site = self._start("router", [*arguments, "--models-max", str(self._options.models_max)])
            self.own_router = site
        return site

    def alone(self, model: str) -> Site | None:
        """The live server of a file."""
        site = self._alone.get(model)
        return site if site is not None and site.lives else None

    def start_alone(self, model: str, path: Path) -> Site:
        """Start a new server for a file, replacing its old one."""
        self.end_alone(model)
        alias = alias_of(path)
        site = self._alone[model] = self._start(alias, ["--model", str(path), "--alias", alias])
        return site

    def end_alone(self, model: str) -> None:
        """End the server of a file, if there is one."""
        site = self._alone.pop(model, None)
        if site is not None and site.server is not None:
            site.server.end()

    def drop(self, site: Site) -> None:
        """End a server of ours; the next use starts another."""
        for model in [model for model, each in self._alone.items() if each is site]:
            self.end_alone(model)
        if self.own_router is site:
            self._forget_router()

    def close(self) -> None:
        """End all servers of ours."""
        for model in tuple(self._alone):
            self.end_alone(model)
        self._forget_router()

    def wait(self, site: Site, on_loading: Callable[[], None] = lambda: None) -> None:
        """Wait until a server is healthy.

        ``on_loading`` is called if it loads its model before that.
        """
        if site.healthy:
            return
        try:
            self._wait_once(site, on_loading)
        except BackendError:
            other = None if site.server is None else site.server.once_more()
            if other is None:
                raise
            site.server, site.endpoint = other, other.endpoint
            site.control = LlamaControl(other.endpoint, self._config)
            self._wait_once(site, on_loading)
        site.router = site.control.props().get("role") == "router"
        # A server that is not ours may be restarted, as another kind, at any time.
        site.healthy = site.ours

    def _wait_once(self, site: Site, on_loading: Callable[[], None]) -> None:
        server = site.server

        def check() -> None:
            if server is not None and not server.alive:
                raise BackendError(server.obituary())

        if server is not None:
            server.wait_started()
        start_s = 0.0 if server is None else self._options.start_s
        wait_healthy(site.control, check, start_s, self._options.load_s, on_loading)

    @contextlib.contextmanager
    def explained(self, site: Site, model: str = "") -> Iterator[None]:
        """Add the server's state and log to errors.

        A server of ours that never became healthy is ended.
        """
        try:
            yield
        except BackendError as error:
            server = site.server
            if server is None:
                if isinstance(error, ControlError) and error.status is None:
                    raise BackendError(f"{error}. Is llama-server running, and is the URL right?") from None
                raise
            text = str(error)
            if server.has_ended(_NEWS_S if isinstance(error, ControlError) else 0.0):
                text = f"{clean(model)}: {server.obituary()}" if model else server.obituary()
            elif isinstance(error, NotReadyError):
                text += server.last_words()
            if not site.healthy:
                self.drop(site)
            raise BackendError(text) from None

    def lament(self, site: Site, problem: str) -> str:
        """Message for a server that doesn't answer; ends a hung one.

        Only a server of ours is ended.
        """
        if site.server is None:
            return problem
        if site.server.has_ended(_NEWS_S):
            return site.server.obituary()
        words = site.server.last_words()
        self.drop(site)
        return f"{problem}; it was ended{words}"

    def device_of(self, site: Site) -> str | None:
        """Device of a server of ours; None if unknown.

        Where a GPU could be in use and the log doesn't say, the device is unknown.
        """
        if site.server is None:
            return None
        found = site.server.offloaded
        if found is None:
            if not self._asked_for_devices:
                self._asked_for_devices = True
                self._has_devices = has_devices(find_binary(self._options.server))
            found = "cpu" if self._has_devices is False else None
        return found

    def owner(self, site: Site) -> ServerProcesses:
        """Process of a server; its children belong to it."""
        if site.server is not None:
            if not site.server.alive:
                return ServerProcesses((), "llama-server has ended")
            return ServerProcesses((site.server.wait_started(),))
        try:
            addresses = [str(address[0]) for _family, address in resolve(site.endpoint)]
        except EndpointError as error:
            return ServerProcesses((), str(error))
        return self._listeners.find(addresses, site.endpoint.port)

    def owner_of_child(self, site: Site, port: int | None) -> ServerProcesses:
        """Process of the router's child on a port, else the router."""
        router = self.owner(site)
        if not router.pids or port is None:
            return router
        child = self._listeners.find(("127.0.0.1",), port)
        return child if child.pids else router

    def _start(self, name: str, arguments: list[str]) -> Site:
        binary = find_binary(self._options.server)
        server = LlamaServer(binary, [*arguments, *self._options.arguments()], name, self._config.logs_dir)
        return Site(LlamaControl(server.endpoint, self._config), server.endpoint, server)

    def _forget_router(self) -> None:
        site, self.own_router = self.own_router, None
        if site is not None and site.server is not None:
            site.server.end()
