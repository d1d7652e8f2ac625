"""Expectations: scores of answers from 0 to 1.

An expectation is a mapping of checks and their options, such as ``{"contains": ["Paris"], "ignore_case": True}``, or
``{"checks": [...]}`` with a list of such mappings.  A score is the weighted mean of its checks'.

Expectations come from suites and answers from models, and neither is trusted: external references are not followed, and
work that may take long or much memory runs in a process that can be ended, see :mod:`pytest_flperf.quality.scoring`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from pytest_flperf.bounded.worker import ImpossibleError
from pytest_flperf.quality.json_checks import json_paths, json_schema, remote_reference, valid_json
from pytest_flperf.quality.options import CheckOptions, Score
from pytest_flperf.quality.text_checks import LINEAR
from pytest_flperf.quality.tools.answered import said_in
from pytest_flperf.quality.tools.expected import BESIDE_CALLS, CALLS, score_calls
from pytest_flperf.quality.tools.matchers import FormError

__all__ = [
    "CHECKS",
    "EXPECTED",
    "SCORER",
    "Check",
    "Maker",
    "checks_of",
    "is_known",
    "is_plain",
    "parts_by",
    "problem_of",
    "score_by",
    "scorers_in",
    "texts_in",
    "with_expected",
]

SCORER: Final = "scorer"
"""Key of a scorer of one's own: ``module:function``."""
EXPECTED: Final = "expected"
"""Key beside it: what the scorer is given as expected."""

_PROBE: Final = "{}"
_SHOWN: Final = 200


def _regex(value: Any, options: CheckOptions) -> Score:
    import regex

    pattern = regex.compile(str(value), regex.IGNORECASE if options.ignore_case else 0)
    return lambda text: float(pattern.search(text) is not None)


def _calls(value: Any, options: CheckOptions) -> Score:
    del options
    score = score_calls(value)
    return lambda answer: score(answer).score


def _own(value: Any, options: CheckOptions) -> Score:
    del value, options

    def score(text: str) -> float:
        del text
        raise ImpossibleError("a scorer of one's own runs only while its suite is measured")

    return score


Maker: TypeAlias = Callable[[Any, CheckOptions], Score]
"""From the value of a check and its options to its scorer."""
_MAKERS: Final[Mapping[str, Maker]] = MappingProxyType(
    {
        **LINEAR,
        "regex": _regex,
        "json": valid_json,
        "json_schema": json_schema,
        "json_path": json_paths,
        CALLS: _calls,
        SCORER: _own,
    }
)
CHECKS: Final = tuple(_MAKERS)
"""Names of the checks, as in suites."""
_OPTIONS: Final = frozenset({"ignore_case", "strip", "tolerance", "weight", EXPECTED}) | BESIDE_CALLS
_BESIDE: Final = {CALLS: BESIDE_CALLS, SCORER: frozenset({EXPECTED})}
"""Keys that are part of a check's value."""
_SEVERAL: Final = "checks"
_Parts: TypeAlias = Callable[[str], float | list[float]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of an expectation."""

    name: str
    """Unique in its expectation: ``contains``, ``contains 2`` …"""
    kind: str
    """The key in a suite: ``contains``, ``regex`` …"""
    value: Any
    options: CheckOptions
    weight: float = 1.0

    def scorer(self, own: Maker = _own) -> Score:
        """Scorer of this check alone.

        Raises ValueError for an unknown kind, and the library's error for an invalid pattern or schema.

        Args:
            own: Makes the scorer where the check is one of a person's own.

        """
        if self.kind not in _MAKERS:
            raise ValueError(f"unknown expectation {self.kind!r}")
        return (own if self.kind == SCORER else _MAKERS[self.kind])(self.value, self.options)


def checks_of(expected: Mapping[str, Any]) -> tuple[Check, ...]:
    """The checks of an expectation, in order; raises ValueError for none."""
    found: list[Check] = []
    seen: Counter[str] = Counter()
    for group in _groups(expected):
        options, weight = CheckOptions.of(group), float(group.get("weight", 1))
        for kind, value in group.items():
            if kind not in _OPTIONS:
                seen[kind] += 1
                name = kind if seen[kind] == 1 else f"{kind} {seen[kind]}"
                beside = {each: group[each] for each in _BESIDE.get(kind, frozenset()) & group.keys()}
                checked = {kind: value, **beside} if kind in _BESIDE else value
                found.append(Check(name, kind, checked, options, weight))
    if not found:
        raise ValueError("found no check")
    return tuple(found)


def _groups(expected: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    several = expected.get(_SEVERAL)
    if several is None:
        yield expected
    elif len(expected) == 1 and isinstance(several, Sequence) and all(isinstance(each, Mapping) for each in several):
        yield from several
    else:
        raise ValueError("found other keys beside 'checks', or no list of mappings")


def is_known(expected: object) -> bool:
    """Whether this version can score by an expectation."""
    try:
        return isinstance(expected, Mapping) and all(each.kind in _MAKERS for each in checks_of(expected))
    except (ValueError, TypeError, AttributeError):
        return False


def scorers_in(expected: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the own scorers of an expectation: ``module:function``."""
    return tuple(str(group[SCORER]) for group in _groups(expected) if SCORER in group)


def with_expected(expected: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """The expectation, whose own scorers are given this value as expected."""
    several = expected.get(_SEVERAL)
    if isinstance(several, Sequence):
        return {_SEVERAL: [with_expected(each, value) for each in several]}
    return {**expected, EXPECTED: value} if SCORER in expected else dict(expected)


def is_plain(check: Check) -> bool:
    """Whether a check takes time linear in its texts and the answer."""
    return check.kind in LINEAR


def texts_in(check: Check) -> int:
    """How many texts a check looks for."""
    return len(check.value) if isinstance(check.value, list) else 1


def score_by(expected: Mapping[str, Any]) -> Score:
    """A scorer for one expectation: the weighted mean of its checks.

    Raises as :func:`parts_by`.  The scorer raises where an answer can't be scored.
    """
    parts = parts_by(expected)

    def score(text: str) -> float:
        found = parts(text)
        return found[0] if isinstance(found, list) else found

    return score


def parts_by(expected: Mapping[str, Any], own: Maker = _own) -> _Parts:
    """A scorer that tells the score of each check as well.

    It returns the score alone where there is one check, else a list: the score, and those of the checks in order.
    With expected calls it is always a list, which ends with the parts of their score (:meth:`CallScore.numbers`).

    Answers are texts of :func:`~pytest_flperf.quality.tools.answered.enclosed`: all other checks are of what was said.

    Raises ValueError for an unknown expectation, and the library's error for an invalid pattern or schema.

    Args:
        expected: The expectation.
        own: Makes the scorers of its checks that are a person's own.

    """
    checks = checks_of(expected)
    called = next((place for place, each in enumerate(checks) if each.kind == CALLS), None)
    scorers = [each.scorer(own) for each in checks]
    if len(scorers) == 1 and called is None:
        (scorer,) = scorers
        return lambda answer: scorer(said_in(answer))
    score_of_calls = None if called is None else score_calls(checks[called].value)
    whole = fsum(each.weight for each in checks)
    weights = [each.weight / whole for each in checks]

    def parts(answer: str) -> list[float]:
        text = said_in(answer)
        calls = None if score_of_calls is None else score_of_calls(answer)
        found = [
            calls.score if calls is not None and place == called else score(text) for place, score in enumerate(scorers)
        ]
        mean = fsum(weight * each for weight, each in zip(weights, found, strict=True))
        whole_score = min(max(mean, 0.0), 1.0) if calls is None else calls.whole(mean)
        return [whole_score, *found, *([] if calls is None else calls.numbers())]

    return parts


def problem_of(expected: Mapping[str, Any]) -> str:
    """Problem of a pattern, a path or a schema; empty if none.

    The words follow ``which``.
    """
    try:
        return next(filter(None, map(_problem_of, checks_of(expected))), "")
    except RecursionError:
        return "is nested too deep, or refers to itself without end"


def _problem_of(check: Check) -> str:
    if check.kind == "regex":
        return _problem_of_pattern(check)
    if check.kind == "json_schema":
        return _problem_of_schema(check)
    if check.kind == "json_path":
        return _problem_of_paths(check)
    return _problem_of_calls(check) if check.kind == CALLS else ""


def _problem_of_pattern(check: Check) -> str:
    import regex

    try:
        check.scorer()
    except regex.error as error:
        return f"is not a regular expression: {error}"
    return ""


def _problem_of_schema(check: Check) -> str:
    from jsonschema.exceptions import SchemaError

    remote = remote_reference(check.value)
    if remote:
        return f"has an unresolvable reference: {remote[:_SHOWN]} (no reference to another document is followed)"
    try:
        check.scorer()(_PROBE)
    except SchemaError as error:
        return f"is not a JSON Schema: {error.message[:_SHOWN]}"
    except ImpossibleError as error:
        return f"has {error}"
    return ""


def _problem_of_calls(check: Check) -> str:
    import regex

    try:
        check.scorer()
    except FormError as error:
        return f"can't be expected: {error}"
    except regex.error as error:
        return f"has an argument's pattern that is not a regular expression: {error}"
    return ""


def _problem_of_paths(check: Check) -> str:
    try:
        check.scorer()
    except ValueError as error:
        return f"has a path that can't be read at {error}; expected such as $.items[0].name"
    return ""
