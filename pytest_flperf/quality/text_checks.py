"""Text checks: contains, equals, number, length and their kin.

All take time linear in the length of the answer and of what is expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_flperf.quality.options import CheckOptions, Score

__all__ = ["LINEAR", "number_in", "number_of"]

_NUMBER: Final = re.compile(r"(?:(?<![\w.])[-+−])?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_GROUPED: Final = re.compile(r"\d{1,3}(?:,\d{3})+")
_LONGEST_NUMBER: Final = 1_000
"""Characters; what is longer is no quantity."""


def _contains(value: Any, options: CheckOptions) -> Score:
    wanted = [options.folded(each) for each in _texts(value)]
    if not options.ignore_case:
        return lambda text: sum(each in text for each in wanted) / len(wanted)

    def score(text: str) -> float:
        found = options.folded(text)
        return sum(each in found for each in wanted) / len(wanted)

    return score


def _not_contains(value: Any, options: CheckOptions) -> Score:
    unwanted = [options.folded(each) for each in _texts(value)]

    def score(text: str) -> float:
        found = options.folded(text)
        return float(not any(each in found for each in unwanted))

    return score


def _contains_any(value: Any, options: CheckOptions) -> Score:
    wanted = [options.folded(each) for each in _texts(value)]

    def score(text: str) -> float:
        found = options.folded(text)
        return float(any(each in found for each in wanted))

    return score


def _equals(value: Any, options: CheckOptions) -> Score:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        wanted_number, near = float(value), options.tolerance
        return lambda text: float((found := number_of(text.strip())) is not None and near.holds(found, wanted_number))
    wanted = _whole(str(value), options)
    if options.strip and not options.ignore_case:  # most are so, and there may be very many answers
        return lambda text: float(text.strip() == wanted)
    return lambda text: float(_whole(text, options) == wanted)


def _one_of(value: Any, options: CheckOptions) -> Score:
    wanted = frozenset(_whole(each, options) for each in _texts(value))
    return lambda text: float(_whole(text, options) in wanted)


def _number(value: Any, options: CheckOptions) -> Score:
    wanted, near = float(value), options.tolerance
    return lambda text: float((found := number_in(text)) is not None and near.holds(found, wanted))


def _length(value: Any, options: CheckOptions) -> Score:
    del options
    low, high = value.get("min", 0), value.get("max", math.inf)
    count = _COUNTS[value.get("unit", "characters")]
    return lambda text: float(low <= count(text) <= high)


_COUNTS: Final[Mapping[str, Callable[[str], int]]] = {
    "characters": lambda text: len(text.strip()),
    "words": lambda text: len(text.split()),
    "lines": lambda text: len(text.strip().splitlines()),
}

LINEAR: Final[Mapping[str, Callable[[Any, CheckOptions], Score]]] = {
    "contains": _contains,
    "not_contains": _not_contains,
    "contains_any": _contains_any,
    "equals": _equals,
    "one_of": _one_of,
    "number": _number,
    "length": _length,
}
"""Maker of each check's scorer, by its name in a suite."""


def number_in(text: str) -> float | None:
    """The last number in a text; None without any.

    Commas between groups of three digits are part of it: ``1,234.5``.  A sign counts where nothing stands before it,
    so that ``3-4`` ends in 4.
    """
    last = None
    for last in _NUMBER.finditer(text):  # noqa: B007 - the last one is wanted, without a list of all
        pass
    return None if last is None else number_of(last[0].rstrip(","), lenient=True)


def number_of(text: str, *, lenient: bool = False) -> float | None:
    """The number that a text is; None for any other text.

    ``lenient``: of digits with commas that are no groups of three, the number behind the last comma.
    """
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        return None
    sign = -1.0 if text[0] in "-−" else 1.0
    plain = text.lstrip("-+−")
    whole = re.match(r"[\d,]*", plain)
    digits = whole[0] if whole is not None else ""
    if "," in digits:
        if _GROUPED.fullmatch(digits) is not None:
            plain = plain.replace(",", "")
        elif lenient:
            sign, plain = 1.0, plain[digits.rindex(",") + 1 :]
        else:
            return None
    found = float(plain)
    return sign * found if math.isfinite(found) else None


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _whole(text: str, options: CheckOptions) -> str:
    return options.folded(text.strip() if options.strip else text)
