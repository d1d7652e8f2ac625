"""Model variants: which one an id, name or alias means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pytest_flperf.foundry_host.protocol import ModelInfo

__all__ = ["devices_of", "nearest_names", "pick"]


def devices_of(name: str, models: Sequence[ModelInfo]) -> tuple[str, ...]:
    """Devices of a model's variants, in lower case."""
    asked = name.casefold()
    mine = [model for model in models if asked in {each.casefold() for each in (model.id, model.alias, model.name)}]
    return tuple(sorted({model.device.casefold() or "unknown" for model in mine}))


def pick(name: str, models: Sequence[ModelInfo], device: str = "auto") -> ModelInfo | None:
    """Variant for a device that a name means; None without one.

    The name is an id, a name without version, or an alias.  Of an alias: a loaded variant before a cached one, a cached
    one before the runtime's own choice.  Of a name without version: the newest.  Case matters only where it decides.
    """
    if device != "auto":
        models = [model for model in models if model.device.casefold() == device]
    for spell in (str, str.casefold):
        asked = spell(name)
        by_id = [model for model in models if spell(model.id) == asked]
        if by_id:
            return by_id[0]
        by_alias = [model for model in models if spell(model.alias) == asked]
        if by_alias:
            return max(by_alias, key=lambda model: (model.loaded, model.cached, model.default))
        by_name = [model for model in models if spell(model.name) == asked]
        if by_name:
            return max(by_name, key=_version)
    return None


def nearest_names(name: str, known: Iterable[str], count: int = 5) -> tuple[str, ...]:
    """The known names most like ``name``, the most alike first."""
    spellings = {each.casefold(): each for each in known}
    asked = name.casefold()[:200]
    close = difflib.get_close_matches(asked, spellings, n=count, cutoff=0.4)
    # "qwen" is far from "qwen2.5-0.5b" by edit distance, and still means it.
    within = sorted(each for each in spellings if len(asked) > 2 and asked in each and each not in close)
    return tuple(spellings[each] for each in [*close, *within][:count])


def _version(model: ModelInfo) -> int:
    version = model.id.rpartition(":")[2]
    return int(version) if version.isdecimal() and version.isascii() else 0
