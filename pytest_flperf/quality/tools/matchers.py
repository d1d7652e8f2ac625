"""Matchers: whether an argument of a call is one that is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["MATCHERS", "ArgumentMatcher", "FormError", "argument_matcher", "normalised", "share_of_arguments"]

Matches: TypeAlias = Callable[[Any], bool]
MATCHERS: Final = ("any", "contains", "regex", "near", "fuzzy", "object", "items", "either")
"""Keys that say how an argument is compared; exactly one of them in a mapping."""
_BESIDE: Final[Mapping[str, frozenset[str]]] = {
    "any": frozenset({"match", "as_written"}),
    "near": frozenset({"within"}),
    "fuzzy": frozenset({"at_least"}),
}
_DROPPED: Final = re.compile(r"[ ,./\-_*^]+")
_FUZZY: Final = 90.0
_SHOWN: Final = 60
_MOST_VALUES: Final = 1_000


class FormError(ValueError):
    """A value that is no expected call; the text begins with its place below it."""

    def __init__(self, place: str, words: str) -> None:
        """Say what is wrong at ``place``, such as ``.args.city``."""
        super().__init__(f"{place}: {words}")


@dataclass(frozen=True, slots=True)
class ArgumentMatcher:
    """Matcher of one argument."""

    matches: Matches
    optional: bool = False
    """Whether the argument may be absent."""


def argument_matcher(spec: Any, match: str, place: str, *, compiled: bool = True) -> ArgumentMatcher:
    """Matcher of what a suite says of an argument.

    Args:
        spec: A value, a list of values of which any will do (``""``: the argument may be absent), or a mapping with
            one of :data:`MATCHERS`.
        match: How plain values are compared: ``exact`` or ``normalised``.
        place: Where it stands, for errors.
        compiled: False: patterns are not compiled yet, which may take long.

    Raises:
        FormError: The form is not one of these.
        regex.error: For a pattern that is none.

    """
    if isinstance(spec, list):
        return ArgumentMatcher(_any(spec, match, place), any(each == "" for each in spec))
    if not isinstance(spec, Mapping):
        return ArgumentMatcher(_any([spec], match, place))
    kinds = [name for name in MATCHERS if name in spec]
    if len(kinds) != 1:
        found = ", ".join(map(str, list(spec)[:5])) or "nothing"
        raise FormError(
            place,
            f"found {found[:_SHOWN]}, expected exactly one of {', '.join(MATCHERS)}; a plain object stands in a list",
        )
    kind = kinds[0]
    unknown = [str(name) for name in spec if name not in {kind, "optional"} | _BESIDE.get(kind, frozenset())]
    if unknown:
        raise FormError(place, f"unknown key {unknown[0][:_SHOWN]!r} beside {kind}")
    optional = _truth_of(spec, "optional", place)
    value = spec[kind]
    if kind == "any":
        values = value if isinstance(value, list) else [value]
        as_written = _truth_of(spec, "as_written", place)
        matches = _any(values, _match_of(spec, match, place), f"{place}.any", as_written=as_written)
        optional = optional or ("optional" not in spec and any(each == "" for each in values))
    elif kind == "near":
        matches = _near(value, spec.get("within", 0), place)
    elif kind in {"object", "items", "either"}:
        matches = _of_parts(kind, value, match, f"{place}.{kind}", compiled=compiled)
    else:
        matches = _of_text(kind, value, spec, place, compiled=compiled)
    return ArgumentMatcher(matches, optional)


def share_of_arguments(expected: Mapping[str, ArgumentMatcher], given: Mapping[str, Any] | None) -> float:
    """Share of the arguments that are right, from 0 to 1.

    Unknown and missing ones are not; one that may be absent, and is, doesn't count.
    """
    if given is None:
        return 0.0
    right = count = 0
    for name, matcher in expected.items():
        if name in given:
            count += 1
            right += matcher.matches(given[name])
        elif not matcher.optional:
            count += 1
    count += sum(name not in expected for name in given)
    return right / count if count else 1.0


def normalised(text: str) -> str:
    """Text without case, spaces and ``,./-_*^``; both quotes are the same.

    As the Berkeley Function Calling Leaderboard does it, so that its possible answers mean here what they mean there.
    """
    return _DROPPED.sub("", text).lower().replace('"', "'")


def _truth_of(spec: Mapping[str, Any], key: str, place: str) -> bool:
    found = spec.get(key, False)
    if not isinstance(found, bool):
        raise FormError(f"{place}.{key}", "expected true or false")
    return found


def _match_of(spec: Mapping[str, Any], match: str, place: str) -> str:
    own = spec.get("match", match)
    if own not in {"exact", "normalised"}:
        raise FormError(f"{place}.match", "expected 'exact' or 'normalised'")
    return str(own)


def _any(values: list[Any], match: str, place: str, *, as_written: bool = False) -> Matches:
    if not values or len(values) > _MOST_VALUES:
        raise FormError(place, f"expected one allowed value or more, {_MOST_VALUES:,} at most")
    fold = normalised if match == "normalised" else _as_it_is
    return lambda given: any(_same(given, value, fold, as_written) for value in values)


def _as_it_is(text: str) -> str:
    return text


def _same(found: Any, expected: Any, fold: Callable[[str], str], as_written: bool) -> bool:
    """Whether two JSON values are equal: 1 and true are not; 1 and 1.0 are, unless ``as_written``."""
    if isinstance(expected, str):
        return isinstance(found, str) and fold(found) == fold(expected)
    if isinstance(expected, bool) or expected is None:
        return found is expected
    if isinstance(expected, int | float):
        if as_written and type(found) is not type(expected):
            return False
        return _is_number(found) and bool(found == expected)
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(_same(one, other, fold, as_written) for one, other in zip(found, expected, strict=True))
        )
    if isinstance(expected, Mapping):
        return (
            isinstance(found, Mapping)
            and found.keys() == expected.keys()
            and all(_same(found[name], expected[name], fold, as_written) for name in expected)
        )
    return isinstance(found, str) and found == str(expected)  # a date of YAML


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(value: Any, within: Any, place: str) -> Matches:
    if not _is_number(value) or not math.isfinite(value):
        raise FormError(f"{place}.near", "expected a number")
    is_share = isinstance(within, str) and within.endswith("%")
    try:
        size = float(within[:-1]) / 100 * abs(value) if is_share else float(within)
    except (TypeError, ValueError, OverflowError):
        size = math.nan
    if isinstance(within, bool) or not 0 <= size < math.inf:
        raise FormError(f"{place}.within", "expected a number, or a percentage such as '1%'")

    def near(given: Any) -> bool:
        try:
            return _is_number(given) and abs(given - value) <= size
        except OverflowError:  # an integer of thousands of digits
            return False

    return near


def _of_parts(kind: str, value: Any, match: str, place: str, *, compiled: bool) -> Matches:
    """Matcher of values that have parts, or of one of several forms."""
    if kind == "object":
        if not isinstance(value, Mapping):
            raise FormError(place, "expected a mapping of names to allowed values")
        expected = {
            str(name): argument_matcher(each, match, f"{place}.{name}", compiled=compiled)
            for name, each in value.items()
        }
        return lambda given: isinstance(given, Mapping) and share_of_arguments(expected, given) == 1
    if not isinstance(value, list) or not value or len(value) > _MOST_VALUES:
        raise FormError(place, f"expected a list of 1 to {_MOST_VALUES:,} allowed values")
    parts = [
        argument_matcher(each, match, f"{place}[{index}]", compiled=compiled).matches
        for index, each in enumerate(value)
    ]
    if kind == "either":
        return lambda given: any(matches(given) for matches in parts)
    return lambda given: (
        isinstance(given, list)
        and len(given) == len(parts)
        and all(matches(each) for matches, each in zip(parts, given, strict=True))
    )


def _of_text(kind: str, value: Any, spec: Mapping[str, Any], place: str, *, compiled: bool) -> Matches:
    """Matcher of texts: contains, regex, fuzzy."""
    texts = value if kind == "contains" and isinstance(value, list) else [value]
    if not texts or not all(isinstance(each, str) and each for each in texts):
        raise FormError(f"{place}.{kind}", "expected a non-empty string")
    if kind == "contains":
        return lambda given: isinstance(given, str) and all(each in given for each in texts)
    if kind == "fuzzy":
        return _fuzzy(value, spec.get("at_least", _FUZZY), place)
    return _regex(value) if compiled else lambda _: False


def _regex(value: str) -> Matches:
    import regex

    pattern = regex.compile(value)
    return lambda given: isinstance(given, str) and pattern.search(given) is not None


def _fuzzy(value: str, at_least: Any, place: str) -> Matches:
    if not _is_number(at_least) or not 0 <= at_least <= 100:
        raise FormError(f"{place}.at_least", "expected a number from 0 to 100")
    try:
        from rapidfuzz.fuzz import ratio
    except ImportError:
        raise FormError(f"{place}.fuzzy", "needs rapidfuzz: pip install 'pytest-flperf[fuzzy]'") from None
    wanted = normalised(value)
    return lambda given: isinstance(given, str) and ratio(normalised(given), wanted) >= at_least
