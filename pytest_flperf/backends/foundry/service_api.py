"""APIs of a Foundry Local service: lists, loads and unloads of both generations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.attached import as_int, nearest, text_of
from pytest_flperf.backends.base import BackendError, ListedModel
from pytest_flperf.backends.on_demand_loading import Found, Loaded
from pytest_flperf.foundry_host.logs import clean

__all__ = ["DEVICES", "NewerApi", "OlderApi", "device_in"]

_CATALOG_S: Final = 30.0
_KEPT_S: Final = 3600
"""Time to live of a load on the older service, in seconds: long enough for a pause, and no permanent leak."""
_GONE_S: Final = 10.0
_POLL_S: Final = 0.05
DEVICES: Final = ("auto", "cpu", "gpu", "npu")


class NewerApi:
    """The web service of the 2.x runtime."""

    words: Final = "2.x web service"

    def __init__(self, control: Control, device: str) -> None:
        self._control = control
        self._device = device

    def loaded(self, patience_s: float | None = None) -> tuple[str, ...]:
        """Ids of the loaded models."""
        return _names(self._control.get("models/loaded", patience_s))

    def models(self) -> tuple[ListedModel, ...]:
        """All models, and which are loaded."""
        loaded = self.loaded()
        return tuple(
            ListedModel(_without_version(each), each, "server", device_in(each), loaded=each in loaded)
            for each in dict.fromkeys((*self._ids(), *loaded))
        )

    def find(self, model: str) -> Found:
        """Find by id, id without version, or alias.

        Which variant an alias means is known only after the load.
        """
        ids, loaded = self._ids(), self.loaded()
        known = _by_id(model, ids)
        if known in loaded:
            return Found(model, known, loaded=True)
        return Found(model, known or model, loaded=False)

    def load(self, found: Found, patience_s: float) -> Loaded:
        """Load by the given name, else by id.

        The id is tried with and without its version.
        """
        before = self.loaded()
        names = dict.fromkeys((found.name, found.model_id, _without_version(found.model_id)))
        for name in names:
            try:
                self._control.get(f"models/load/{quote(name, safe='')}", patience_s)
            except ControlError as error:
                if error.status == 404:
                    continue
                raise _explained(found, error) from error
            return self._what_came(found, name, before)
        listed = self._ids()
        if found.model_id in listed:
            raise BackendError(
                f"{found.name}: the service lists {found.model_id} but loads models only by alias: give the alias "
                "that `foundry model list` shows"
            )
        raise BackendError(
            f"{clean(found.name)}: the service has no such model, "
            f"{nearest(found.name, [*map(_without_version, listed), *listed])}"
        )

    def _what_came(self, found: Found, name: str, before: tuple[str, ...]) -> Loaded:
        loaded = self.loaded()
        new = [each for each in loaded if each not in before]
        wanted = found.model_id if found.model_id in self._ids() else ""
        model_id = wanted if wanted in loaded else "" if wanted else _only(new or list(loaded), name)
        if model_id and self._device in ("auto", device_in(model_id) or "auto"):
            return Loaded(model_id, name if model_id in new else "")
        if new:
            self.unload(name)
        came = ", ".join(map(clean, new)) or "nothing new"
        asked = f" for device {self._device}" if self._device != "auto" else ""
        raise BackendError(
            f"{clean(found.name)}{asked}: the service reported it as loaded, but {came} appeared in its list of "
            f"loaded models, which has {', '.join(map(clean, loaded)) or 'nothing'}; it chooses the variant of an "
            "alias itself"
        )

    def unload(self, handle: str) -> None:
        """Unload a model."""
        self._control.get(f"models/unload/{quote(handle, safe='')}")

    def loaded_by_name(self, model: str) -> str:
        """Id of the loaded model that a name means; empty without one.

        An alias is how its variants' ids begin: the service lists no aliases.
        """
        loaded = self.loaded()
        known = _by_id(model, loaded)
        name = model.casefold()
        return known or next((each for each in loaded if each.casefold().startswith(f"{name}-")), "")

    def unload_by_name(self, model: str) -> str:
        """Unload what a name means; its id, empty if not loaded.

        Which variant an alias means is seen by what is gone afterwards.
        """
        before = self.loaded()
        for name in dict.fromkeys((model, _without_version(model))):
            try:
                answer = self._control.get(f"models/unload/{quote(name, safe='')}")
            except ControlError as error:
                if error.status == 404:
                    continue
                raise
            if isinstance(answer, Mapping) and answer.get("status") == "not_loaded":
                return ""
            return self._what_went(model, before)
        listed = self._ids()
        if model in before:
            raise BackendError(
                f"{clean(model)}: the service has it loaded but unloads models only by alias: give the alias that "
                "`foundry model list` shows"
            )
        names = [*map(_without_version, listed), *listed]
        raise BackendError(f"{clean(model)}: the service has no such model, {nearest(model, names)}")

    def _what_went(self, model: str, before: tuple[str, ...]) -> str:
        deadline = time.monotonic() + _GONE_S
        while True:
            loaded = self.loaded()
            gone = [each for each in before if each not in loaded]
            if gone:
                return gone[0]
            if time.monotonic() > deadline:
                have = ", ".join(map(clean, loaded)) or "nothing"
                raise BackendError(f"{clean(model)}: the service was told to unload it but still has {have} loaded")
            time.sleep(_POLL_S)

    def _ids(self) -> tuple[str, ...]:
        answer = self._control.get("v1/models", _CATALOG_S)
        data = answer.get("data") if isinstance(answer, Mapping) else None
        if not isinstance(data, list):
            raise BackendError(f"GET v1/models did not answer with a list of models: {clean(repr(answer))}")
        names = (text_of(each.get("id")) for each in data if isinstance(each, Mapping))
        return tuple(name for name in names if name)


class OlderApi:
    """The service of the command line before 0.10."""

    words: Final = "service of the command line before 0.10"

    def __init__(self, control: Control, device: str) -> None:
        self._control = control
        self._device = device

    def loaded(self, patience_s: float | None = None) -> tuple[str, ...]:
        """Ids of the loaded models."""
        return _names(self._control.get("openai/loadedmodels", patience_s))

    def models(self) -> tuple[ListedModel, ...]:
        """The catalog, and local models that are not in it."""
        cached, loaded = _names(self._control.get("openai/models")), self.loaded()
        found = [_from_catalog(each, cached, loaded) for each in self._catalog()]
        known = {each.model_id for each in found}
        others = [each for each in dict.fromkeys((*cached, *loaded)) if not any(_same(each, one) for one in known)]
        found += [
            ListedModel(_without_version(each), each, "server", cached=True, loaded=each in loaded) for each in others
        ]
        return tuple(each for each in found if each.model_id)

    def find(self, model: str) -> Found:
        """Find by id, id without version, or alias.

        Of an alias's variants, the first on this machine.
        """
        models = self.models()
        known = _by_id(model, [each.model_id for each in models])
        fitting = [each for each in models if each.model_id == known] or [
            each
            for each in models
            if each.alias.casefold() == model.casefold() and self._device in ("auto", each.device.lower())
        ]
        if not fitting:
            names = [name for each in models for name in (each.alias, each.model_id)]
            device = "" if self._device == "auto" else f" for device {self._device}"
            raise BackendError(f"{clean(model)}: the service has no such model{device}, {nearest(model, names)}")
        best = next((each for each in fitting if each.loaded), None) or next(
            (each for each in fitting if each.cached), fitting[0]
        )
        if not (best.cached or best.loaded):
            raise BackendError(
                f"{clean(model)}: {best.model_id} is not on this machine; download it: "
                f"`foundry model download {clean(model)}`"
            )
        return Found(best.model_id, best.model_id, bool(best.loaded), best)

    def load(self, found: Found, patience_s: float) -> Loaded:
        """Load a model and wait for it."""
        try:
            self._control.get(f"openai/load/{quote(found.model_id, safe=':')}?ttl={_KEPT_S}", patience_s)
        except ControlError as error:
            raise _explained(found, error) from error
        loaded = self.loaded()
        for each in loaded:
            if _same(each, found.model_id):
                return Loaded(each, each)
        raise BackendError(
            f"{found.model_id}: the service reported it as loaded, but its list of loaded models has "
            f"{', '.join(map(clean, loaded)) or 'nothing'}"
        )

    def unload(self, handle: str) -> None:
        """Unload a model."""
        self._control.get(f"openai/unload/{quote(handle, safe=':')}?force=true")

    def _catalog(self) -> list[Mapping[str, Any]]:
        answer = self._control.get("foundry/list", _CATALOG_S)
        if isinstance(answer, Mapping):  # as documented; its SDK reads a bare list
            answer = answer.get("models")
        if not isinstance(answer, list):
            raise BackendError("GET foundry/list did not answer with a list of models")
        return [each for each in answer if isinstance(each, Mapping)]


def _explained(found: Found, error: ControlError) -> ControlError:
    if "not cached" in error.body or "No OpenAIService provider found" in error.body:
        text = f"{clean(found.name)} is not on this machine; download it: `foundry model download {clean(found.name)}`"
        return ControlError(text, error.status, error.body)
    return error


def _from_catalog(entry: Mapping[str, Any], cached: tuple[str, ...], loaded: tuple[str, ...]) -> ListedModel:
    runtime = entry.get("runtime")
    runtime = runtime if isinstance(runtime, Mapping) else {}
    name = text_of(entry.get("name"))
    return ListedModel(
        alias=text_of(entry.get("alias")) or _without_version(name),
        # As the service itself names it where it is on this machine: with or without a version.
        model_id=next((each for each in (*loaded, *cached) if _same(each, name)), name),
        source="server",
        device=text_of(runtime.get("deviceType")).lower(),
        execution_provider=text_of(runtime.get("executionProvider")),
        size_mb=as_int(entry.get("fileSizeMb")),
        cached=any(_same(each, name) for each in cached),
        loaded=any(_same(each, name) for each in loaded),
    )


def _names(answer: Any) -> tuple[str, ...]:
    """Names of models out of a JSON list."""
    if not isinstance(answer, list):
        raise BackendError(f"found {clean(repr(answer))}, expected a list of models")
    return tuple(name for each in answer if (name := text_of(each)))


def _by_id(model: str, ids: tuple[str, ...] | list[str]) -> str:
    """The listed id that a name means; empty if there is none.

    Either the name itself, or its newest version.
    """
    if model in ids:
        return model
    versions = [each for each in ids if _without_version(each).casefold() == model.casefold()]
    return max(versions, key=_version, default="")


def _only(names: list[str], name: str) -> str:
    """The only listed name, else the only one starting with ``name``.

    Empty if that is ambiguous.
    """
    some = names if len(names) == 1 else [each for each in names if each.startswith(name)]
    return some[0] if len(some) == 1 else ""


def device_in(model_id: str) -> str:
    """Device at the end of a variant's name; empty if missing.

    ``phi-4-mini-instruct-generic-gpu:5``: ``gpu``.
    """
    ending = _without_version(model_id).rpartition("-")[2].lower()
    return ending if ending in DEVICES[1:] else ""


def _same(one: str, other: str) -> bool:
    """Whether two ids are of one model; lists leave versions out."""
    if one == other:
        return True
    return _without_version(one) == _without_version(other) and (":" in one) != (":" in other)


def _without_version(model_id: str) -> str:
    name, _, version = model_id.rpartition(":")
    return name if name and version.isdigit() else model_id


def _version(model_id: str) -> int:
    version = model_id.rpartition(":")[2]
    return int(version) if version.isdecimal() and len(version) < 10 else -1
