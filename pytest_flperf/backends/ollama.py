"""Ollama backend: attaches to a running server.

Ollama's own API loads and unloads models; requests use its OpenAI-compatible API.

Written from its documentation (https://docs.ollama.com/api, https://docs.ollama.com/api/openai-compatibility) and its
source (``openai/openai.go``, ``envconfig/config.go``).  A load keeps the model for good (``keep_alive: -1``), and
requests over ``/v1``, which name no ``keep_alive``, leave that as it is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_flperf.backends.admin_api import ControlError
from pytest_flperf.backends.attached import (
    Attachment,
    api_of,
    as_int,
    entries,
    flag,
    nearest,
    root_of,
    seconds,
    text_of,
)
from pytest_flperf.backends.base import (
    About,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
)
from pytest_flperf.backends.on_demand_loading import LOAD_TIMEOUT_S, Found, Loaded, LoadingBackend
from pytest_flperf.foundry_host.logs import clean

__all__ = ["OllamaBackend", "ollama_url"]

_DEFAULT: Final = "http://127.0.0.1:11434"
_PORT: Final = 11434
_PULL_SILENCE_S: Final = 300.0
_MOST_LAYERS: Final = 1000
_ALL_IN_GPU: Final = 0.995
_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty", "max_tokens", "presence_penalty", "reasoning", "reasoning_effort", "response_format",
        "seed", "stop", "stream_options", "temperature", "tools", "top_p",
    }
)  # fmt: skip


class OllamaBackend(LoadingBackend):
    """Ollama backend for a running server."""

    name = "ollama"
    advice = "Is Ollama running (`ollama serve`), and is the URL right (base_url, or OLLAMA_HOST)?"

    def __init__(self, config: BackendConfig) -> None:
        """Check the URL and the options.

        Raises EndpointError for an invalid URL, BackendError for options without a use.
        """
        load_timeout_s = seconds(self.name, config.options, "load_timeout_s", LOAD_TIMEOUT_S)
        super().__init__(load_timeout_s, keep_loaded=config.keep_loaded)
        root = _root_of(config.base_url) if config.base_url is not None else ollama_url(os.environ.get("OLLAMA_HOST"))
        self._pulls = flag(self.name, config.options, "pull", default=False)
        self._attachment = Attachment(self.name, config, api_of(root), root)
        self._control = self._attachment.control

    def about(self) -> About:
        """Version of the server."""
        with self._asking():
            answer = self._control.get("api/version")
        version = text_of(answer.get("version")) if isinstance(answer, Mapping) else ""
        return About("Ollama", version, self._attachment.endpoint.base_url)

    def discover(self) -> tuple[ListedModel, ...]:
        """List pulled models, and which of them are loaded."""
        with self._asking():
            running = self._running()
            return tuple(_listed(name, tag, name in running or _is_remote(tag)) for name, tag in self._tags().items())

    def capabilities(self, model: str) -> Capabilities:
        """Parameters of Ollama's OpenAI-compatible API.

        It silently ignores others (``top_k``, ``min_p`` …).
        """
        del model
        return Capabilities(parameters=_PARAMETERS, usage=True)

    # ---- hooks of the base class

    def _server(self) -> Attachment:
        return self._attachment

    def _find(self, model: str, on_progress: OnProgress) -> Found:
        tags = self._tags()
        download_s = None
        if _known(model, tags) is None:
            if not self._pulls:
                raise _unknown(model, tags)
            download_s = self._pull(model, on_progress)
            tags = self._tags()
        name = _known(model, tags)
        if name is None:
            raise BackendError(f"{clean(model)}: Ollama reported it as pulled but does not list it")
        return self._found(name, tags[name], download_s)

    def _look_up(self, model: str) -> Found:
        tags = self._tags()
        name = _known(model, tags)
        if name is None:
            raise _unknown(model, tags)
        return self._found(name, tags[name])

    def _found(self, name: str, tag: Mapping[str, Any], download_s: float | None = None) -> Found:
        loaded = _is_remote(tag) or name in self._running()
        return Found(name, name, loaded, _listed(name, tag, loaded), download_s)

    def unload(self, model: str) -> str:
        """Unload a model, whoever loaded it; its id, empty if not loaded."""
        with self._asking():
            found = self._look_up(model)
        if found.listed is not None and found.listed.device == _CLOUD:
            raise BackendError(f"{found.name}: {_ELSEWHERE}: there is nothing to unload")
        return super().unload(model)

    def _is_loaded(self, model_id: str, patience_s: float | None = None) -> bool:
        ready = [each for each in self._ready.values() if each.model_id == model_id]
        if any(_ELSEWHERE in each.notes for each in ready):
            return True  # a cloud model is never in this machine's memory
        return model_id in self._running(patience_s)

    def _load(self, found: Found) -> Loaded:
        body = {"model": found.name, "keep_alive": -1, "stream": False}
        try:
            answer = self._control.post("api/generate", body, self._load_timeout_s)
        except ControlError as error:
            raise self._too_long(found, error) from error
        if found.name not in self._running():
            raise BackendError(
                f"{found.name}: Ollama reported the model as loaded but does not list it as running: "
                f"{clean(repr(answer))}"
            )
        own_ns = as_int(answer.get("load_duration")) if isinstance(answer, Mapping) else None
        return Loaded(found.name, found.name, own_ns / 1e9 if own_ns else None)

    def _unload(self, handle: str) -> None:
        self._control.post("api/generate", {"model": handle, "keep_alive": 0, "stream": False})

    def _details(self, found: Found, model_id: str) -> dict[str, Any]:
        shown = self._show(model_id)
        running = self._running().get(model_id, {})
        details = shown.get("details")
        details = details if isinstance(details, Mapping) else {}
        most = _context_of(shown)
        context = as_int(running.get("context_length")) or _num_ctx(shown) or most
        device, notes = _placed(running)
        if context and most and context < most:
            notes += (f"loaded with a context of {context} tokens; the model could take {most}",)
        if found.listed is not None and found.listed.device == _CLOUD:
            notes += (_ELSEWHERE,)
        words = (text_of(details.get("parameter_size")), text_of(details.get("quantization_level")))
        return {
            "variant": " ".join(word for word in words if word) or None,
            "device": device,
            "context_length": context,
            "size_mb": found.listed.size_mb if found.listed else None,
            "notes": notes,
        }

    # ---- Ollama's own API

    def _tags(self) -> dict[str, Mapping[str, Any]]:
        return _by_name(entries(self._control.get("api/tags"), "models", "GET api/tags"))

    def _running(self, patience_s: float | None = None) -> dict[str, Mapping[str, Any]]:
        return _by_name(entries(self._control.get("api/ps", patience_s), "models", "GET api/ps"))

    def _show(self, name: str) -> Mapping[str, Any]:
        try:
            answer = self._control.post("api/show", {"model": name})
        except ControlError:
            return {}  # no measurement depends on it
        return answer if isinstance(answer, Mapping) else {}

    def _pull(self, model: str, on_progress: OnProgress) -> float:
        """Download a model; returns the seconds it took.

        An interrupt closes the connection; the next download resumes.
        """
        what = f"downloading {_full(model)}"
        begun = time.monotonic()
        on_progress(what, None)
        said: Any = None
        layers: dict[Any, tuple[int, int]] = {}
        lines = self._control.lines("api/pull", {"model": _full(model)}, _PULL_SILENCE_S)
        with contextlib.closing(lines):
            for said in lines:
                if not isinstance(said, Mapping):
                    continue
                if said.get("error"):
                    raise BackendError(f"{clean(model)}: Ollama could not pull it: {clean(str(said['error']))}")
                total = as_int(said.get("total"))
                if total is not None and len(layers) < _MOST_LAYERS:
                    layers[str(said.get("digest"))] = (min(as_int(said.get("completed")) or 0, total), total)
                    done, whole = (sum(each) for each in zip(*layers.values(), strict=True))
                    on_progress(what, 100.0 * done / whole)
        if not isinstance(said, Mapping) or said.get("status") != "success":
            raise BackendError(f"{clean(model)}: the pull ended before it was complete: {clean(repr(said))}")
        return time.monotonic() - begun


_CLOUD: Final = "cloud"
_ELSEWHERE: Final = "the model runs in Ollama's cloud, not on this machine"


def _unknown(model: str, tags: Mapping[str, Any]) -> BackendError:
    return BackendError(
        f"{clean(model)}: Ollama has no such model, {nearest(model, tags)}; "
        f"`ollama pull {clean(model)}` downloads it, and so does the option pull: true"
    )


def _is_remote(tag: Mapping[str, Any]) -> bool:
    """Whether a model runs in Ollama's cloud."""
    return bool(tag.get("remote_host"))


def ollama_url(host: str | None) -> str:
    """Server URL from ``OLLAMA_HOST``, as Ollama's own client reads it.

    It may be a host, a port, both, or a URL.  Addresses that mean "every interface" are for listening; clients connect
    to this machine instead.
    """
    text = (host or "").strip().strip("\"'").strip().rstrip("/")
    if not text:
        return _DEFAULT
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    port = {"https": 443, "http": 80}.get(scheme.lower(), _PORT) if separator else _PORT
    if re.fullmatch(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*", rest):
        rest = f"[{rest}]"  # a bare IPv6 address
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        name, port = parts.hostname or "127.0.0.1", parts.port or port
    except ValueError:
        raise BackendError(
            f"OLLAMA_HOST: found {clean(ascii(text.rpartition('@')[2]), 80)}, expected host:port or a URL"
        ) from None
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return f"{scheme}://{name}:{port}{parts.path}"
    if address.is_unspecified:
        name = "127.0.0.1" if address.version == 4 else "::1"
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{parts.path}"


def _root_of(base_url: str) -> str:
    """Server root, also for a URL of Ollama's own API (``…/api/chat``)."""
    address, mark, query = root_of(base_url).partition("?")
    return re.sub(r"/api(?:/(?:chat|generate|tags|version|ps))?\Z", "", address) + mark + query


def _full(name: str) -> str:
    """Name with its tag; the default is ``latest``."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _known(name: str, tags: Mapping[str, Any]) -> str | None:
    """The model's name in Ollama's list; None if not listed."""
    full = _full(name)
    if full in tags:
        return full
    return next((each for each in tags if each.casefold() == full.casefold()), None)


def _by_name(models: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    names = ((text_of(each.get("name")) or text_of(each.get("model")), each) for each in models)
    return {_full(name): each for name, each in names if name}


def _listed(name: str, tag: Mapping[str, Any], loaded: bool) -> ListedModel:
    size = as_int(tag.get("size"))
    remote = _is_remote(tag)
    return ListedModel(
        alias=name.removesuffix(":latest"),
        model_id=name,
        source="server",
        device=_CLOUD if remote else "",
        size_mb=round(size / 2**20) if size and not remote else None,
        cached=not remote,
        loaded=loaded,
    )


def _context_of(shown: Mapping[str, Any]) -> int | None:
    """Maximum context length of the model."""
    info = shown.get("model_info")
    if not isinstance(info, Mapping):
        return None
    return next((as_int(value) for key, value in info.items() if str(key).endswith(".context_length")), None)


def _num_ctx(shown: Mapping[str, Any]) -> int | None:
    """Context length from the model's own parameters."""
    parameters = shown.get("parameters")
    found = re.search(r"^num_ctx\s+(\d{1,9})\s*$", parameters, re.MULTILINE) if isinstance(parameters, str) else None
    return int(found[1]) if found else None


def _placed(running: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Device of the model, by its share in GPU memory."""
    size, in_gpu = as_int(running.get("size")), running.get("size_vram")
    if size is None or not isinstance(in_gpu, int):
        return None, ()
    share = in_gpu / size
    if share <= 0:
        return "cpu", ()
    if share >= _ALL_IN_GPU:
        return "gpu", ()
    percent = math.floor(100 * share)
    return "gpu+cpu", (f"{percent} % of the model is in GPU memory, the rest is computed by the CPU",)
