"""Local server discovery: probe the usual addresses on this machine.

A server is identified by its own paths, not by its port.  Nothing is loaded, no key is sent, no redirect followed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.attached import root_of, text_of
from pytest_flperf.backends.base import BackendConfig, BackendError, ListedModel
from pytest_flperf.backends.foundry.command import service_url
from pytest_flperf.backends.ollama import ollama_url
from pytest_flperf.backends.registry import BackendType
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.wire.endpoint import Endpoint, EndpointError

__all__ = ["FoundServer", "find_servers"]

_WELL_KNOWN: Final = (
    ("llama.cpp, LocalAI", 8080),
    ("Ollama", 11434),
    ("LM Studio", 1234),
    ("vLLM", 8000),
    ("LiteLLM", 4000),
    ("Jan", 1337),
    ("KoboldCpp", 5001),
    ("SGLang", 30000),
    ("Foundry Local, according to its documentation", 5272),
    ("Foundry Local, according to its documentation", 5273),
)
_CONNECT_S: Final = 0.5
_ASK_S: Final = 2.0
_ALL_S: Final = 8.0
_NOTHING: Final = "nothing listens there"
"""Limit for everything together: the command, connections and probes run in parallel."""
_MOST_MODELS: Final = 500
_OWNERS: Final = {"vllm": "vLLM", "llamacpp": "llama.cpp", "sglang": "SGLang"}


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server that was found on this machine."""

    kind: str
    """Name of the backend that measures it; empty where none does."""
    runtime: str
    """The runtime, as the server reports it; empty if unknown."""
    url: str
    """Value for ``base_url``."""
    version: str = ""
    models: tuple[ListedModel, ...] = ()
    problem: str = ""
    """Why its models can't be listed; empty where they are."""


def find_servers(known: Mapping[str, BackendType], ports: Iterable[int] = ()) -> tuple[FoundServer, ...]:
    """Probe the usual addresses in parallel.

    Takes eight seconds at most, and much less if nothing answers.

    Args:
        known: Kinds of backends by name; their ``local_urls`` are probed, too.
        ports: Ports of this machine to probe besides; one on which nothing listens is found with that problem.

    """
    asked = tuple(f"http://127.0.0.1:{port}" for port in dict.fromkeys(ports))
    roots = tuple(dict.fromkeys((*asked, *_usual(known))))
    answers: queue.SimpleQueue[tuple[int, FoundServer | None]] = queue.SimpleQueue()

    def ask(place: int, look: Callable[[], FoundServer | None]) -> None:
        try:
            server = look()
        except Exception as error:  # noqa: BLE001 - backends of others may raise anything, and somebody waits
            server = FoundServer("", "", f"{roots[place]}/v1", problem=clean(str(error) or type(error).__name__))
        answers.put((place, server))

    def look_at(root: str) -> FoundServer | None:
        found = _server_at(root, known)
        return FoundServer("", "", f"{root}/v1", problem=_NOTHING) if found is None and root in asked else found

    looks = [functools.partial(look_at, root) for root in roots]
    for place, look in enumerate((*looks, functools.partial(_foundry, known))):
        # Daemon threads: a stuck one delays neither us nor the end of the program.
        threading.Thread(target=ask, args=(place, look), name=f"flperf-find-{place}", daemon=True).start()
    return _collected(answers, roots, len(looks) + 1)


def _foundry(known: Mapping[str, BackendType]) -> FoundServer | None:
    """Service from the ``foundry`` command; None if there is none."""
    try:
        root = root_of(service_url())
    except BackendError:
        return None
    found = _server_at(root, known)
    if found is not None:
        return found
    problem = "the foundry command says that it is up, but nothing accepts a connection there: restart the service"
    return FoundServer("foundry-service", "Foundry Local service", f"{root}/v1", problem=problem)


def _collected(
    answers: queue.SimpleQueue[tuple[int, FoundServer | None]], roots: tuple[str, ...], wanted: int
) -> tuple[FoundServer, ...]:
    deadline = time.monotonic() + _ALL_S
    found: dict[int, FoundServer | None] = {}
    while len(found) < wanted:
        try:
            place, server = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[place] = server
    for place, root in enumerate(roots):
        if place not in found:
            found[place] = FoundServer("", "", f"{root}/v1", problem=f"did not answer within {_ALL_S:g} s")
    by_url: dict[str, FoundServer] = {}
    for _, server in sorted(found.items(), key=lambda each: each[0]):
        if server is not None:
            by_url.setdefault(server.url, server)
    return tuple(by_url.values())


def _usual(known: Mapping[str, BackendType]) -> tuple[str, ...]:
    """Roots of the usual loopback URLs, without duplicates."""
    urls = [url for each in known.values() for url in each.local_urls]
    urls += [f"http://127.0.0.1:{port}" for _, port in _WELL_KNOWN]
    if os.environ.get("OLLAMA_HOST"):
        with contextlib.suppress(BackendError):  # raised where the Ollama backend is used
            urls.append(ollama_url(os.environ["OLLAMA_HOST"]))
    roots: dict[tuple[str, int], str] = {}
    for url in urls:
        try:
            endpoint = Endpoint.parse(root_of(url))
        except EndpointError:
            continue
        if endpoint.loopback:
            roots.setdefault((endpoint.host.replace("localhost", "127.0.0.1"), endpoint.port), endpoint.base_url)
    return tuple(roots.values())


def _server_at(root: str, known: Mapping[str, BackendType]) -> FoundServer | None:
    """Server at an address; None if nothing listens there."""
    root = root_of(root)
    endpoint = Endpoint.parse(root)
    try:
        socket.create_connection((endpoint.host, endpoint.port), _CONNECT_S).close()
    except OSError:
        return None
    url = f"{root}/v1"
    asker = _Asker(Control(endpoint, patience_s=_ASK_S))
    kind, runtime, version = _told(asker, root, known)
    if asker.silent:
        return FoundServer("", "", url, problem=asker.silent)
    if kind not in known:
        kind = "openai" if "openai" in known else ""
    backend = known[kind].make(BackendConfig(base_url=url)) if kind else None
    if backend is None:
        return FoundServer("", runtime, url, version, problem="no backend measures it")
    try:
        models = backend.discover()[:_MOST_MODELS]
    except BackendError as error:
        status = error.status if isinstance(error, ControlError) else _status_behind(error)
        if runtime:
            why = "it needs a key to list its models" if status in (401, 403) else clean(str(error))
            return FoundServer(kind, runtime, url, version, problem=why)
        if status == 503:
            return FoundServer(kind, "", url, problem=f"is not ready yet: {clean(str(error))}")
        return FoundServer("", "", url, problem=f"answers, but not as a model server does: {clean(str(error))}")
    finally:
        backend.close()
    return FoundServer(kind, runtime or "OpenAI-compatible server", url, version, models)


def _status_behind(error: BackendError) -> int | None:
    cause = error.__cause__
    return cause.status if isinstance(cause, ControlError) else None


class _Asker:
    """Probes paths of a server; gives up if it is silent."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.silent = ""
        """Why the probes stopped; empty if they didn't."""

    def get(self, path: str) -> Any:
        """JSON at a path, else its text, else None."""
        if self.silent:
            return None
        try:
            return self._control.get(path)
        except ControlError as error:
            if error.status is None:
                self.silent = clean(str(error))
            return error.body if error.status == 200 else None

    def field(self, path: str, name: str) -> str:
        """Text in the JSON object at a path; empty if missing."""
        answer = self.get(path)
        return text_of(answer.get(name)) if isinstance(answer, Mapping) else ""


def _told(asker: _Asker, root: str, known: Mapping[str, BackendType]) -> tuple[str, str, str]:
    """Kind, runtime and version, by paths unique to each server.

    Empty if no path matches.  KoboldCpp also imitates Ollama, LM Studio and others, so it is checked first.
    """
    if asker.field("api/extra/version", "result") == "KoboldCpp":
        return "openai", "KoboldCpp", asker.field("api/extra/version", "version")
    if _has_list(asker.get("api/tags"), "models"):
        return "ollama", "Ollama", asker.field("api/version", "version")
    if _has_list(asker.get("api/v1/models"), "models") or _has_list(asker.get("api/v0/models"), "data"):
        return "lmstudio", "LM Studio", ""
    for path in ("models/loaded", "openai/loadedmodels"):
        if isinstance(asker.get(path), list):
            return "foundry-service", "Foundry Local service", ""
    props = asker.get("props")
    if isinstance(props, Mapping) and ("default_generation_settings" in props or props.get("role") == "router"):
        return "llamacpp", "llama.cpp", text_of(props.get("build_info"))
    if "alive" in str(asker.get("health/liveliness") or ""):
        return "openai", "LiteLLM", ""
    return _by_owner(asker, root, known)


def _by_owner(asker: _Asker, root: str, known: Mapping[str, BackendType]) -> tuple[str, str, str]:
    listed = asker.get("v1/models")
    data = listed.get("data") if isinstance(listed, Mapping) else None
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], Mapping) else {}
    runtime = _OWNERS.get(text_of(first.get("owned_by")), "")
    version = asker.field("version", "version") if data is not None else ""
    if runtime:
        return "openai", runtime, version
    for each in known.values():  # kinds from other packages detect their servers themselves
        if each.name not in _OURS and root in map(root_of, each.local_urls) and not asker.silent:
            backend = each.make(BackendConfig(base_url=f"{root}/v1"))
            try:
                about = backend.about()
            except BackendError:
                continue
            finally:
                backend.close()
            return each.name, about.runtime, about.version
    return "openai" if data is not None else "", "", version


_OURS: Final = ("foundry", "foundry-service", "openai", "ollama", "lmstudio", "llamacpp", "litellm")


def _has_list(answer: Any, key: str) -> bool:
    return isinstance(answer, Mapping) and isinstance(answer.get(key), list)
