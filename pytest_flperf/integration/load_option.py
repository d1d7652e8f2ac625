"""``--flperf-load``: a shape of load and its settings in one text."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf.gates.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_settings"]

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def load_settings(text: str | None) -> Mapping[str, Any]:
    """The settings in ``poisson,rate=8,duration_s=30`` by their keys in a suite; raises UsageError.

    Whether a value is one that its key may have, and whether the shape has all it needs, is for the suite to check.
    """
    if text is None:
        return _NONE
    from pytest_flperf.suite.limits import LIMITS, LOADS, expected
    from pytest_flperf.suite.settings import LOAD_KEYS

    words = [word.strip() for word in text.split(",")]
    if words[0] not in LOADS:
        raise pytest.UsageError(f"--flperf-load: found {shorten(words[0])}, expected {expected('load')}")
    found: dict[str, Any] = {"load": words[0]}
    for word in words[1:]:
        key, _, value = (part.strip() for part in word.partition("="))
        if key not in LOAD_KEYS or key in found:
            raise pytest.UsageError(
                f"--flperf-load: found {shorten(word)}, expected one of "
                f"{', '.join(each for each in LOAD_KEYS if each not in found)}, with '=' and a number"
            )
        try:
            found[key] = int(value) if LIMITS[key].whole else float(value)
        except ValueError:
            raise pytest.UsageError(f"--flperf-load: {key}: found {shorten(value)}, expected {LIMITS[key]}") from None
    return MappingProxyType(found)
