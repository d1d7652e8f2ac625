"""Model lists of servers: parse them, and match names to models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_flperf.backends.attached import text_of
from pytest_flperf.backends.base import ListedModel
from pytest_flperf.foundry_host.logs import clean

__all__ = ["find_listed", "is_another", "listed_models", "short_name", "some_names"]

_WRAPPERS: Final = ("data", "models", "result", "results", "items", "value", "model_list", "list", "response", "body")
"""Keys under which a list was seen; the OpenAI API's own first."""
_IDS: Final = ("id", "model_id", "modelId", "key", "model", "model_name", "modelName", "name", "slug")
"""Keys of an entry that requests can name it by, the surest first."""
_ALIASES: Final = ("alias", "name", "model", "model_name", "modelName")
_OF_A_MODEL: Final = frozenset({*_IDS, "object", "owned_by", "created", "root", "context_length", "max_model_len"})
_PLAIN: Final = frozenset({"object", "type", "has_more", "first_id", "last_id", "total", "success", "created"})
_DEEPEST: Final = 3
_MOST: Final = 10_000
_NAMES_SHOWN: Final = 10
_FILE: Final = re.compile(
    r"\.(?:gguf|ggml|ggjt|bin|safetensors|onnx|pt|pth|llamafile|mlx|task|litertlm|engine)\Z", re.IGNORECASE
)
_VERSION: Final = re.compile(r"[-:@](?:latest|[0-9]{3,4}|20[0-9]{6}|20[0-9]{2}-[0-9]{2}-[0-9]{2})")
"""Version at the end of a model's name.  One or two digits make another name: ``phi`` and ``phi-4``."""
_PART: Final = re.compile(r"-[0-9]{5}-of-[0-9]{5}\Z")
_NUMBERED: Final = re.compile(r"-[0-9]{5}(-of-[0-9]{5}(?:\.\w{1,20})?)\Z")
_PATH: Final = re.compile(r"(?:[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[\\/]|file:)")


def listed_models(answer: Any) -> tuple[ListedModel, ...] | None:
    """Models of a list, without duplicates; None for anything else.

    Known: ``{"data": […]}``, ``{"models": […]}``, a bare list, one inside another of these, ``null`` for none; entries
    that are texts or objects with an id under one of several keys; objects by id.
    """
    entries = _entries(answer, _DEEPEST)
    if entries is None:
        return None
    found: dict[str, ListedModel] = {}
    for entry in entries:
        model = _model(*entry)
        if model is not None:
            found.setdefault(model.model_id, model)
        if len(found) >= _MOST:
            break
    return tuple(found.values())


def _entries(answer: Any, depth: int) -> Sequence[tuple[str, Any]] | None:
    """Possible models with their keys; None if there is no list."""
    if isinstance(answer, list):
        return [("", each) for each in answer]
    if not isinstance(answer, Mapping) or not depth:
        return None
    for key in _WRAPPERS:
        inside = answer.get(key)
        found = _entries(inside, depth - 1) if inside is not None else None
        if found is not None:
            return found
    by_id = [(str(key), each) for key, each in answer.items() if key not in _PLAIN]
    if by_id and all(isinstance(each, Mapping) and not _OF_A_MODEL.isdisjoint(each) for _, each in by_id):
        return by_id if "error" not in answer else None
    none = depth < _DEEPEST and not answer
    return [] if none or any(key in answer and answer[key] is None for key in _WRAPPERS) else None


def _model(key: str, entry: Any) -> ListedModel | None:
    if isinstance(entry, str):
        name = text_of(entry)
        return ListedModel(alias=name, model_id=name, source="server") if name else None
    if not isinstance(entry, Mapping):
        return None
    model_id = next(filter(None, (text_of(entry.get(name)) for name in _IDS)), "") or clean(key, 200)
    if not model_id:
        return None
    names = (text_of(entry.get(name)) for name in _ALIASES)
    alias = next((each for each in names if each and " " not in each), model_id)  # with spaces, it is a title
    return ListedModel(alias=alias, model_id=model_id, source="server", root=text_of(entry.get("root")))


def find_listed(name: str, listed: Sequence[ListedModel]) -> tuple[ListedModel, ...]:
    """Listed models that a name may mean: id, alias, file name.

    Most often one or none.

    ``model.gguf`` and ``model`` mean ``/models/model.gguf``, and ``models/model.gguf`` means ``model``.  The parts of a
    split file are one model, named by its first part.
    """
    for same in (_by_id, _by_alias, _by_file):
        found: dict[str, ListedModel] = {}
        for each in same(name, listed):
            whole = _NUMBERED.sub(r"\1", each.model_id)
            found[whole] = min(each, found.get(whole, each), key=lambda model: model.model_id)
        if found:
            return tuple(found.values())
    return ()


def short_name(model_id: str) -> str:
    """Name of a listed model without the folder and ending of its file; other ids as they are.

    Among one model alone :func:`find_listed` finds it by this name.
    """
    return (_stem(model_id) or model_id) if _is_file(model_id) else model_id


def _by_id(name: str, listed: Iterable[ListedModel]) -> Iterator[ListedModel]:
    return (each for each in listed if each.model_id == name)


def _by_alias(name: str, listed: Iterable[ListedModel]) -> Iterator[ListedModel]:
    return (each for each in listed if each.alias == name)


def _by_file(name: str, listed: Sequence[ListedModel]) -> Iterable[ListedModel]:
    """Match file names, with or without folder, extension and part number."""
    asked = _stem(name)
    found = [each for each in listed if _stem(each.model_id) == asked and (_is_file(name) or _is_file(each.model_id))]
    if len(found) < 2:
        return found
    # A longer path matches fewer models.
    path, last = "/" + _slashed(name).removeprefix("./"), _last(name)
    same_path = [each for each in found if ("/" + _slashed(each.model_id)).endswith(path)] if "/" in path[1:] else []
    return same_path or [each for each in found if _last(each.model_id) == last] or found


def _is_file(name: str) -> bool:
    return _PATH.match(name) is not None or _FILE.search(name) is not None or "\\" in name


def _slashed(name: str) -> str:
    return name.replace("\\", "/").strip("/")


def _last(name: str) -> str:
    return _slashed(name).rpartition("/")[2]


def _stem(name: str) -> str:
    return _PART.sub("", _FILE.sub("", _last(name)))


def some_names(names: Iterable[str]) -> str:
    """First few names, for a message."""
    known = list(names)
    shown = ", ".join(clean(each, 120) for each in known[:_NAMES_SHOWN])
    return shown + (f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else "")


def is_another(echo: str, asked: str, listed: Sequence[ListedModel]) -> bool:
    """Whether an answer names another listed model than the request.

    A date or ``latest`` after a name means the same model, and so does a folder or provider before it.  Two listed
    names with different ones are different models.

    Args:
        echo: As the answer names it.
        asked: As the request named it.
        listed: All that the server lists.

    """
    roots = {each.model_id: each.root for each in reversed(listed)}
    if asked in roots:  # other names in the list for it are not ids
        if echo not in roots or (roots[asked] and roots[echo] == roots[asked]):
            return False
        return not _same_model(echo, asked) or _apart(_folder(echo), _folder(asked))
    if _same_model(echo, asked):
        return False
    return any(echo in (each.model_id, each.alias) for each in listed) or any(
        _is_file(each.model_id) and _stem(echo) == _stem(each.model_id) for each in listed
    )


def _folder(name: str) -> str:
    return _slashed(name).rpartition("/")[0]


def _apart(one: str, other: str) -> bool:
    """Whether two folders differ; a path's end counts as the same."""
    shorter, longer = sorted((one.casefold(), other.casefold()), key=len)
    return bool(shorter) and not f"/{longer}".endswith(f"/{shorter}")


def _same_model(echo: str, asked: str) -> bool:
    one, other = _stem(echo).casefold(), _stem(asked).casefold()
    shorter, longer = sorted((one, other), key=len)
    return one == other or bool(longer.startswith(shorter) and _VERSION.fullmatch(longer[len(shorter) :]))
