"""The llama-servers of a backend: the one it attaches to, or those that it starts and ends."""

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
"""From the end of a server's sockets to the news of its own."""


@dataclass(slots=True)
class Site:
    """A server, ours or not."""

    control: LlamaControl
    endpoint: Endpoint
    server: LlamaServer | None = None
    """None: it was there before us."""
    healthy: bool = False
    """Whether one of ours has come up."""
    router: bool = False

    @property
    def ours(self) -> bool:
        """Whether we started it."""
        return self.server is not None

    @property
    def lives(self) -> bool:
        """Whether it runs, as far as we know."""
        return self.server is None or self.server.alive


class Sites:
    """Starts servers when they are needed, replaces those that ended, ends all in the end."""

    def __init__(self, config: BackendConfig, options: LlamaOptions) -> None:
        """Start and ask nothing; raises EndpointError for a URL that is none."""
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
        """Those there are, dead ones among them."""
        found = (self.attached, self.own_router, *self._alone.values())
        return tuple(site for site in found if site is not None)

    def main(self) -> Site:
        """The one to attach to; else our own router, started where there is none."""
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
        """A new server for a file, in place of the one that it had."""
        self.end_alone(model)
        alias = alias_of(path)
        site = self._alone[model] = self._start(alias, ["--model", str(path), "--alias", alias])
        return site

    def end_alone(self, model: str) -> None:
        """End the server of a file; nothing where there is none."""
        site = self._alone.pop(model, None)
        if site is not None and site.server is not None:
            site.server.end()

    def drop(self, site: Site) -> None:
        """End one of ours; who needs it next starts another."""
        for model in [model for model, each in self._alone.items() if each is site]:
            self.end_alone(model)
        if self.own_router is site:
            self._forget_router()

    def close(self) -> None:
        """End all that are ours."""
        for model in tuple(self._alone):
            self.end_alone(model)
        self._forget_router()

    def wait(self, site: Site, on_loading: Callable[[], None] = lambda: None) -> None:
        """Until a server answers that all is well; ``on_loading`` is called where it loads its model before that."""
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
        # One that is not ours may be started anew, as another kind, at any time.
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
        """Errors with what a person needs to know of the model's server; one of ours that never came up is ended."""
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
        """What to say of one that doesn't answer; one of ours that hangs is ended."""
        if site.server is None:
            return problem
        if site.server.has_ended(_NEWS_S):
            return site.server.obituary()
        words = site.server.last_words()
        self.drop(site)
        return f"{problem}; it was ended{words}"

    def device_of(self, site: Site) -> str | None:
        """Where one of ours computes, as far as it says: nothing is said where a GPU could be used."""
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
        """Its process; children belong to it."""
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
        """The router's child on a port, where it can be seen; else the router."""
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
