"""``--flperf-load``: a shape of load and its settings in one text."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf.gates.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_settings"]

_NUMBER: Final = re.compile(r"[0-9.eE+-]+")
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def load_settings(text: str | None) -> Mapping[str, Any]:
    """The settings in ``poisson,rate=8,duration_s=30`` by their keys in a suite; raises UsageError.

    Of ``rate=1,2,4`` all three, as a tuple: a sweep.  ``trace`` is a path.

    Whether a value is one that its key may have, and whether the shape has all it needs, is for the suite to check.
    """
    if text is None:
        return _NONE
    from pytest_flperf.suite.setting_limits import LOADS, expected
    from pytest_flperf.suite.settings import LOAD_KEYS, SWEEP_KEYS

    words = _joined([word.strip() for word in text.split(",")])
    if words[0] not in LOADS:
        raise pytest.UsageError(f"--flperf-load: found {shorten(words[0])}, expected {expected('load')}")
    found: dict[str, Any] = {"load": words[0]}
    for word in words[1:]:
        key, _, value = (part.strip() for part in word.partition("="))
        known = [*LOAD_KEYS, "concurrency", "trace"]
        if key not in known or key in found:
            raise pytest.UsageError(
                f"--flperf-load: found {shorten(word)}, expected one of "
                f"{', '.join(each for each in known if each not in found)}, with '=' and a number"
            )
        if key in {"search_over", "trace"}:
            found[key] = value
            continue
        numbers = tuple(_number(key, each) for each in value.split(","))
        if len(numbers) > 1 and (key not in SWEEP_KEYS or len(set(numbers)) < len(numbers)):
            raise pytest.UsageError(
                f"--flperf-load: {key}: found {shorten(value)}, expected one number"
                + ("" if key not in SWEEP_KEYS else ", or several different ones")
                + f"; several can have {' and '.join(SWEEP_KEYS)}"
            )
        found[key] = numbers if len(numbers) > 1 else numbers[0]
    return MappingProxyType(found)


def _joined(words: list[str]) -> list[str]:
    """The words, with what has no key of its own joined to the one before: ``rate=1``, ``2`` is ``rate=1,2``."""
    found: list[str] = []
    for word in words:
        if len(found) > 1 and "=" not in word and _NUMBER.fullmatch(word):
            found[-1] += f",{word}"
        else:
            found.append(word)
    return found


def _number(key: str, text: str) -> float:
    from pytest_flperf.suite.setting_limits import LIMITS

    try:
        return int(text) if LIMITS[key].whole else float(text)
    except ValueError:
        raise pytest.UsageError(f"--flperf-load: {key}: found {shorten(text)}, expected {LIMITS[key]}") from None
