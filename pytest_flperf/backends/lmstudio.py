"""LM Studio backend: attaches to a running server.

From its documentation (https://lmstudio.ai/docs/developer/rest): from 0.4 on its API v1 lists, loads and unloads
(``/api/v1/models``, ``…/load``, ``…/unload``).  Before, API v0 only lists (``/api/v0/models``), a first request loads a
model, and nothing but LM Studio itself unloads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_flperf.backends.admin_api import ControlError
from pytest_flperf.backends.attached import Attachment, api_of, as_int, entries, nearest, root_of, seconds, text_of
from pytest_flperf.backends.base import About, BackendConfig, BackendError, Capabilities, ListedModel, OnProgress
from pytest_flperf.backends.on_demand_loading import LOAD_TIMEOUT_S, Found, Loaded, LoadingBackend
from pytest_flperf.foundry_host.logs import clean

__all__ = ["LmStudioBackend"]

_DEFAULT: Final = "http://127.0.0.1:1234"
_EMBEDDING: Final = ("embedding", "embeddings")
_BY_REQUEST: Final = "loaded by a first request: LM Studio before 0.4 can neither load nor unload over HTTP"


class LmStudioBackend(LoadingBackend):
    """LM Studio backend for a running server."""

    name = "lmstudio"
    advice = "Is LM Studio's server on (its Developer page, or `lms server start`), and is the URL right?"

    def __init__(self, config: BackendConfig) -> None:
        """Check the URL and the options.

        Raises EndpointError for an invalid URL, BackendError for options without a use.
        """
        load_timeout_s = seconds(self.name, config.options, "load_timeout_s", LOAD_TIMEOUT_S)
        super().__init__(load_timeout_s, keep_loaded=config.keep_loaded)
        root = root_of(config.base_url or _DEFAULT)
        self._attachment = Attachment(self.name, config, api_of(root), root)
        self._control = self._attachment.control
        self._api = ""
        """``v1`` or ``v0``; empty: not known yet."""

    def about(self) -> About:
        """API generation of the server; it reports no version."""
        with self._asking():
            self._entries()
        return About(f"LM Studio (API {self._api})", "", self._attachment.endpoint.base_url)

    def discover(self) -> tuple[ListedModel, ...]:
        """List downloaded models, and which of them are loaded."""
        with self._asking():
            return tuple(_listed(each) for each in self._entries())

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities: accepted parameters are not known for sure."""
        del model
        return Capabilities()

    # ---- hooks of the base class

    def _server(self) -> Attachment:
        return self._attachment

    def unload(self, model: str) -> str:
        """Unload all instances of a model, or the one that is named; their ids, empty if not loaded."""
        with self._asking():
            entry = self._entry(model)
            found = _instances(entry)
            instances = [model] if model in found and model != _key(entry) else found
            if instances and self._api == "v0":
                raise BackendError(
                    f"{clean(model)}: this LM Studio can't unload models over HTTP; `lms unload` can, and so "
                    "can LM Studio's API v1 (from 0.4 on)"
                )
            for each in instances:
                self._unload_whoever(Found(each, each, loaded=True))
        return ", ".join(instances)

    def _entry(self, model: str) -> Mapping[str, Any]:
        """The list's entry of a model, or of one of its instances."""
        models = {_key(each): each for each in self._entries()}
        entry = models.get(model)
        if entry is None:
            entry = next((each for each in models.values() if model in _instances(each)), None)
        if entry is None:
            said = f"LM Studio has no such model, {nearest(model, models)}; `lms get {clean(model)}` downloads it"
            raise BackendError(f"{clean(model)}: {said}")
        return entry

    def _find(self, model: str, on_progress: OnProgress) -> Found:
        del on_progress
        entry = self._entry(model)
        loaded = _instances(entry)
        model_id = model if model in loaded else loaded[0] if loaded else _key(entry)
        return Found(_key(entry), model_id, bool(loaded), _listed(entry))

    def _is_loaded(self, model_id: str, patience_s: float | None = None) -> bool:
        return any(model_id in _instances(each) for each in self._entries(patience_s))

    def _load(self, found: Found) -> Loaded:
        try:
            if self._api == "v1":
                answer = self._control.post("api/v1/models/load", {"model": found.name}, self._load_timeout_s)
            else:
                body = {"model": found.name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
                answer = self._control.post("v1/chat/completions", body, self._load_timeout_s)
        except ControlError as error:
            raise self._too_long(found, error) from error
        if self._api != "v1":
            model_id, handle, own_s = found.name, "", None
        else:
            said = answer if isinstance(answer, Mapping) else {}
            model_id = text_of(said.get("instance_id")) or text_of(said.get("model_instance_id")) or found.name
            took = said.get("load_time_seconds")
            handle, own_s = model_id, float(took) if isinstance(took, int | float) else None
        if not self._is_loaded(model_id):
            raise BackendError(f"{found.name}: LM Studio answered the load but does not list the model as loaded")
        return Loaded(model_id, handle, own_s)

    def _unload(self, handle: str) -> None:
        if self._api == "v1":
            self._control.post("api/v1/models/unload", {"instance_id": handle})

    def _details(self, found: Found, model_id: str) -> dict[str, Any]:
        entry = next((each for each in self._entries() if model_id in _instances(each)), {})
        quantization = entry.get("quantization")
        if isinstance(quantization, Mapping):
            quantization = quantization.get("name")
        return {
            "variant": text_of(quantization) or None,
            "context_length": _context(entry, model_id),
            "size_mb": found.listed.size_mb if found.listed else None,
            "notes": (_BY_REQUEST,) if self._api == "v0" and not found.loaded else (),
        }

    def _entries(self, patience_s: float | None = None) -> list[Mapping[str, Any]]:
        """Chat models, from the newest available API."""
        if self._api != "v0":
            try:
                found = entries(self._control.get("api/v1/models", patience_s), "models", "GET api/v1/models")
            except ControlError as error:
                if error.status is None or self._api:
                    raise
            else:
                self._api = "v1"
                return _chatting(found)
        found = entries(self._control.get("api/v0/models", patience_s), "data", "GET api/v0/models")
        self._api = "v0"
        return _chatting(found)


def _chatting(found: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for each in found if each.get("type") not in _EMBEDDING and _key(each)]


def _key(entry: Mapping[str, Any]) -> str:
    return text_of(entry.get("key")) or text_of(entry.get("id"))


def _instances(entry: Mapping[str, Any]) -> list[str]:
    """Ids of the loaded instances, as requests name them."""
    if entry.get("state") == "loaded":  # API v0
        return [_key(entry)]
    loaded = entry.get("loaded_instances")
    found = loaded if isinstance(loaded, list) else []
    return [name for each in found if isinstance(each, Mapping) and (name := text_of(each.get("id")))]


def _context(entry: Mapping[str, Any], model_id: str) -> int | None:
    """Context length of the loaded model, else its maximum."""
    loaded = entry.get("loaded_instances")
    for each in loaded if isinstance(loaded, list) else []:
        config = each.get("config") if isinstance(each, Mapping) and each.get("id") == model_id else None
        if isinstance(config, Mapping) and (context := as_int(config.get("context_length"))):
            return context
    return as_int(entry.get("loaded_context_length")) or as_int(entry.get("max_context_length"))


def _listed(entry: Mapping[str, Any]) -> ListedModel:
    size = as_int(entry.get("size_bytes"))
    return ListedModel(
        alias=_key(entry),
        model_id=_key(entry),
        source="server",
        size_mb=round(size / 2**20) if size else None,
        context_length=as_int(entry.get("max_context_length")),
        cached=True,
        loaded=bool(_instances(entry)),
    )
