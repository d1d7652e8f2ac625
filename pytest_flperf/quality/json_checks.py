"""JSON checks: JSON, JSON Schema, values at paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_flperf.bounded.worker import ImpossibleError
from pytest_flperf.quality.options import CheckOptions, Score
from pytest_flperf.quality.strict_json import decode

__all__ = ["json_paths", "json_schema", "parse_path", "remote_reference", "valid_json"]

_SHOWN: Final = 200
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_PAIRS: Final = {"]": "[", "}": "{"}
_STEP: Final = re.compile(r"""\.?([^\W\d][\w-]*+)|\[(\d{1,9})\]|\[(?:'([^']*+)'|"([^"]*+)")\]""")
_DATA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords of a schema whose values are data, in which a ``$ref`` means nothing."""
_NONE: Final = object()


def valid_json(value: Any, options: CheckOptions) -> Score:
    """Scorer of answers that must be JSON."""
    del value, options
    return lambda text: float(_document(text) is not _NONE)


def json_schema(value: Any, options: CheckOptions) -> Score:
    """Scorer of answers that must satisfy a JSON Schema.

    Raises the library's error for an invalid schema.
    """
    del options
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    Draft202012Validator.check_schema(value)
    # An empty registry: the default one would fetch what a reference names.
    validator = Draft202012Validator(value, registry=Registry())

    def score(text: str) -> float:
        document = _document(text)
        if document is _NONE:
            return 0.0
        try:
            return float(validator.is_valid(document))
        except Unresolvable as error:
            raise ImpossibleError(f"an unresolvable reference: {str(error)[:_SHOWN]}") from error

    return score


def json_paths(value: Any, options: CheckOptions) -> Score:
    """Scorer of JSON answers with values at paths: the share that is right.

    Raises ValueError for a path that can't be read.
    """
    wanted = [(parse_path(path), expected) for path, expected in value.items()]
    same = partial(_same, options=options)

    def score(text: str) -> float:
        document = _document(text)
        if document is _NONE:
            return 0.0
        return sum(same(_at(document, steps), expected) for steps, expected in wanted) / len(wanted)

    return score


def parse_path(path: str) -> tuple[str | int, ...]:
    """Read a path such as ``$.items[0].name`` or ``items[0]['a key']``.

    Raises ValueError for any other text: wildcards, filters and slices are not known.
    """
    at = 1 if path.startswith("$") else 0
    steps: list[str | int] = []
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(f"character {at + 1}")
        name, index, single, double = step.groups()
        steps.append(
            int(index) if index is not None else next(each for each in (name, single, double) if each is not None)
        )
        at = step.end()
    return tuple(steps)


def _at(document: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return _NONE
        elif not isinstance(document, dict) or step not in document:
            return _NONE
        document = document[step]
    return document


def _same(found: Any, expected: Any, options: CheckOptions) -> bool:
    if isinstance(expected, str) and isinstance(found, str):
        strip = str.strip if options.strip else str
        return options.folded(strip(found)) == options.folded(strip(expected))
    if _is_number(expected) and _is_number(found):
        return options.tolerance.holds(float(found), float(expected))
    if isinstance(expected, bool) is not isinstance(found, bool):  # true is no 1 in JSON
        return False
    return bool(found == expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def remote_reference(schema: Any) -> str:
    """The first reference of a schema to another document; empty without any.

    Such references are never followed.
    """
    known = {each for key, each in _keywords(schema) if key == "$id"}
    for key, each in _keywords(schema):
        if key in {"$ref", "$dynamicRef"}:
            parts = urlsplit(each)
            if (parts.scheme or parts.netloc) and each.partition("#")[0] not in known:
                return each
    return ""


def _keywords(schema: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts of a schema's keywords, of all subschemas."""
    left = [schema]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            for key, value in one.items():
                if isinstance(value, str):
                    yield str(key), value
                elif key not in _DATA:
                    left.append(value)
        elif isinstance(one, list):
            left += one


def _document(text: str) -> Any:
    """Parsed JSON, or :data:`_NONE` for text that is not JSON.

    Raises RecursionError where it is nested too deep to tell.
    """
    try:
        return decode(text)
    except ValueError:
        return _NONE
    except RecursionError:
        if _is_balanced(text):
            raise
        return _NONE


def _is_balanced(text: str) -> bool:
    """Whether all brackets outside of strings are balanced."""
    opened: list[str] = []
    for character in _JSON_TEXT.sub("", text):
        if character in "[{":
            opened.append(character)
        elif character in _PAIRS and (not opened or opened.pop() != _PAIRS[character]):
            return False
    return not opened
