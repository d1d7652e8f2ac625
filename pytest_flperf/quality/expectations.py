"""Expectations: scores of answers from 0 to 1.

Expectations come from suites and answers from models, and neither is trusted: external references are not followed, and
work that may take long or much memory runs in a process that can be ended, see :mod:`pytest_flperf.quality.scoring`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from pytest_flperf.bounded.worker import ImpossibleError

__all__ = ["EXPECTATIONS", "PLAIN", "problem_of", "score_by"]

EXPECTATIONS: Final = ("contains", "regex", "equals", "json", "json_schema")
PLAIN: Final = frozenset({"contains", "equals"})
"""Expectations that only search for texts, in time linear in their length and the answer's."""
_PROBE: Final = "{}"
_SHOWN: Final = 200
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_PAIRS: Final = {"]": "[", "}": "{"}
_Score: TypeAlias = Callable[[str], float]


def score_by(expected: Mapping[str, Any]) -> Callable[[str], float]:
    """A scorer for one expectation, such as ``{"contains": ["Paris"]}``.

    If an answer shall contain more than one text, the score is the share that it does.  Raises ValueError for an
    unknown expectation, and the library's error for an invalid pattern or schema.  The scorer raises where an answer
    can't be scored.
    """
    ((kind, value),) = expected.items()
    makers: dict[str, Callable[[Any], _Score]] = {
        "contains": _contains,
        "regex": _regex,
        "equals": _equals,
        "json": _json,
        "json_schema": _json_schema,
    }
    if kind not in makers:
        raise ValueError(f"unknown expectation {kind!r}")
    return makers[kind](value)


def problem_of(expected: Mapping[str, Any]) -> str:
    """Problem of a pattern or schema; empty if none.

    The words follow ``which``.
    """
    try:
        return _problem_of_pattern(expected["regex"]) if "regex" in expected else _problem_of_schema(expected)
    except RecursionError:
        return "is nested too deep, or refers to itself without end"


def _problem_of_pattern(pattern: str) -> str:
    import regex

    try:
        regex.compile(pattern)
    except regex.error as error:
        return f"is no regular expression: {error}"
    return ""


def _problem_of_schema(expected: Mapping[str, Any]) -> str:
    from jsonschema.exceptions import SchemaError

    try:
        score_by(expected)(_PROBE)
    except SchemaError as error:
        return f"is no JSON Schema: {error.message[:_SHOWN]}"
    except ImpossibleError as error:
        return f"has {error}"
    return ""


def _contains(value: Any) -> _Score:
    wanted = [value] if isinstance(value, str) else list(value)
    return lambda text: sum(each in text for each in wanted) / len(wanted)


def _equals(value: Any) -> _Score:
    wanted = str(value).strip()
    return lambda text: float(text.strip() == wanted)


def _regex(value: Any) -> _Score:
    import regex

    pattern = regex.compile(str(value))
    return lambda text: float(pattern.search(text) is not None)


def _json(value: Any) -> _Score:
    del value
    return lambda text: float(_document(text) is not _NONE)


def _json_schema(value: Any) -> _Score:
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
            raise ImpossibleError(f"a reference that leads nowhere: {str(error)[:_SHOWN]}") from error

    return score


_NONE: Final = object()


def _document(text: str) -> Any:
    """Parsed JSON, or :data:`_NONE` for text that is not JSON.

    Raises RecursionError where it is nested too deep to tell.
    """
    try:
        return _DECODE(text)
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


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_DECODE: Final = json.JSONDecoder(parse_constant=_refuse).decode
"""Created once: json.loads creates a decoder for every text."""
