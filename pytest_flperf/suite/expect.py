"""How well an answer is what the suite expects: a score from 0 to 1.

Expectations come from suites and answers from models, and neither is trusted: matching has a time limit (which Python's
own ``re`` has not), references to elsewhere are not followed, and nothing that goes wrong raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

__all__ = ["PATTERN_TIMEOUT_S", "Scorer", "problem_of"]

PATTERN_TIMEOUT_S: Final = 0.5
"""For one pattern on one answer."""
_PROBE: Final = "{}"
_Score: TypeAlias = Callable[[str], float]


class Scorer:
    """Scores answers by one expectation, such as ``{"contains": ["Paris"]}``."""

    def __init__(self, expected: Mapping[str, Any]) -> None:
        """``expected``: what a scenario's ``expect`` holds, one of its keys; raises ValueError for anything else."""
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
        self._score = makers[kind](value)
        self.too_slow = 0
        """Answers on which the pattern ran into its time limit; they score 0."""

    def score(self, text: str) -> float:
        """0 to 1; of several texts that an answer shall contain, the share that it does."""
        try:
            return self._score(text)
        except TimeoutError:
            self.too_slow += 1
        except (ValueError, RecursionError):
            pass
        return 0.0


def problem_of(expected: Mapping[str, Any]) -> str:
    """What is wrong with the pattern or the schema of an expectation, in words; empty where nothing is."""
    import jsonschema
    import regex

    try:
        Scorer(expected)._score(_PROBE)
    except regex.error as error:
        return f"no regular expression: {error}"
    except jsonschema.exceptions.SchemaError as error:
        return f"no JSON Schema: {error.message[:200]}"
    except _NowhereError as error:
        return str(error)
    except (TimeoutError, ValueError, RecursionError):
        pass
    return ""


class _NowhereError(ValueError):
    """A reference in a schema leads out of it, or nowhere."""


def _contains(value: Any) -> _Score:
    wanted = [value] if isinstance(value, str) else list(value)
    return lambda text: sum(each in text for each in wanted) / len(wanted)


def _equals(value: Any) -> _Score:
    wanted = str(value).strip()
    return lambda text: float(text.strip() == wanted)


def _regex(value: Any) -> _Score:
    import regex

    pattern = regex.compile(str(value))
    return lambda text: float(pattern.search(text, timeout=PATTERN_TIMEOUT_S) is not None)


def _json(value: Any) -> _Score:
    del value

    def score(text: str) -> float:
        _strict_json(text)
        return 1.0

    return score


def _json_schema(value: Any) -> _Score:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    Draft202012Validator.check_schema(value)
    make: Any = extend  # it has no types
    validator = make(Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties})
    # An empty registry: the default one would fetch what a reference names.
    checked = validator(value, registry=Registry())

    def score(text: str) -> float:
        document = _strict_json(text)
        try:
            return float(checked.is_valid(document))
        except Unresolvable as error:
            raise _NowhereError(f"a reference that leads nowhere: {str(error)[:200]}") from error

    return score


def _strict_json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _found(pattern: str, text: str) -> bool:
    import regex

    return regex.search(pattern, text, timeout=PATTERN_TIMEOUT_S) is not None


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """The keyword of the same name, with a time limit."""
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "string") and not _found(pattern, instance):
        yield ValidationError(f"{instance[:40]!r} doesn't match {pattern[:40]!r}")


def _pattern_properties(
    validator: Any, properties: Mapping[str, Any], instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in properties.items():
        for key, item in instance.items():
            if _found(pattern, key):
                yield from validator.descend(item, subschema, path=key, schema_path=pattern)
