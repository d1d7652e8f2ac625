"""Option types: load shapes and durations, parsed from the command line."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf._text import shorten
from pytest_flperf.session.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["duration_words", "load_settings", "lock_timeout_s", "max_time_s"]

_NUMBER: Final = re.compile(r"[0-9.eE+-]+")
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def load_settings(text: str | None) -> Mapping[str, Any]:
    """Parse ``poisson,rate=8,duration_s=30`` into suite settings; raises OptionsError.

    ``rate=1,2,4`` gives a tuple of all three, a sweep.  ``trace`` is a path.

    The suite checks whether a value is allowed and whether the shape has all it needs.
    """
    if text is None:
        return _NONE
    from pytest_flperf.suite.setting_limits import LOADS, expected
    from pytest_flperf.suite.settings import LOAD_KEYS, SWEEP_KEYS

    words = _joined([word.strip() for word in text.split(",")])
    if words[0] not in LOADS:
        raise OptionsError(f"--flperf-load: found {shorten(words[0])}, expected {expected('load')}")
    found: dict[str, Any] = {"load": words[0]}
    for word in words[1:]:
        key, _, value = (part.strip() for part in word.partition("="))
        known = [*LOAD_KEYS, "concurrency", "trace"]
        if key not in known or key in found:
            raise OptionsError(
                f"--flperf-load: found {shorten(word)}, expected one of "
                f"{', '.join(each for each in known if each not in found)}, with '=' and a number"
            )
        if key in {"search_over", "trace"}:
            found[key] = value
            continue
        numbers = tuple(_number(key, each) for each in value.split(","))
        if len(numbers) > 1 and (key not in SWEEP_KEYS or len(set(numbers)) < len(numbers)):
            raise OptionsError(
                f"--flperf-load: {key}: found {shorten(value)}, expected one number"
                + ("" if key not in SWEEP_KEYS else ", or several different ones")
                + f"; several can have {' and '.join(SWEEP_KEYS)}"
            )
        found[key] = numbers if len(numbers) > 1 else numbers[0]
    return MappingProxyType(found)


def _joined(words: list[str]) -> list[str]:
    """Join the values of a sweep: ``rate=1``, ``2`` becomes ``rate=1,2``."""
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
        raise OptionsError(f"--flperf-load: {key}: found {shorten(text)}, expected {LIMITS[key]}") from None


_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|min|m|h|d|)\s*")
_LONGEST_S: Final = 30 * 86_400.0
_CHARACTERS: Final = 40
_OFF: Final = "none"


def max_time_s(text: str | None) -> float | None:
    """``--flperf-max-time`` in seconds; raises OptionsError.

    None: no limit.
    """
    if text is None:
        return None
    seconds = _seconds(text)
    if seconds is None or not 0 < seconds <= _LONGEST_S:
        raise OptionsError(
            f"--flperf-max-time: found {shorten(text)}, expected a time of more than 0 and at most 30d, "
            "such as 90, 90s, 15m or 1h30m"
        )
    return seconds


def lock_timeout_s(text: str | None, default_s: float) -> float | None:
    """``--flperf-lock-timeout`` in seconds; raises OptionsError.

    None: no lock at all.
    """
    if text is None:
        return default_s
    if text.strip().lower() == _OFF:
        return None
    seconds = _seconds(text)
    if seconds is None or seconds > _LONGEST_S:
        raise OptionsError(
            f"--flperf-lock-timeout: found {shorten(text)}, expected a time from 0 to 30d, such as 0, 90, 90s, 15m or "
            f"1h30m, or {_OFF!r} to measure alongside others"
        )
    return seconds


def _seconds(text: str) -> float | None:
    """Seconds of ``90``, ``90s``, ``1.5h`` or ``1h30m``; None for anything else."""
    text = text.strip().lower()
    if not text or len(text) > _CHARACTERS:
        return None
    total, position, units = 0.0, 0, []
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return None
        total += float(part[1]) * _SECONDS[part[2]]
        units.append(_SECONDS[part[2]] if part[2] else 0.0)
        position = part.end()
    # A number without a unit must stand alone, and units go from large to small: 30m1h is a mistake.
    if len(units) > 1 and (0.0 in units or units != sorted(set(units), reverse=True)):
        return None
    return total


def duration_words(seconds: float) -> str:
    """Duration in words: ``45 s``, ``12 min``, ``1.5 h``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.3g} h"
