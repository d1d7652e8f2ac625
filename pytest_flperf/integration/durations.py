"""Durations as people write them on the command line."""

from __future__ import annotations

import re
from typing import Final

import pytest

from pytest_flperf.gates.text import shorten

__all__ = ["duration_words", "lock_timeout_s", "max_time_s"]

_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|min|m|h|d|)\s*")
_LONGEST_S: Final = 30 * 86_400.0
_CHARACTERS: Final = 40
_OFF: Final = "none"


def max_time_s(text: str | None) -> float | None:
    """``--flperf-max-time`` in seconds; None: no limit.  Raises UsageError."""
    if text is None:
        return None
    seconds = _seconds(text)
    if seconds is None or not 0 < seconds <= _LONGEST_S:
        raise pytest.UsageError(
            f"--flperf-max-time: found {shorten(text)}, expected a time of more than 0 and at most 30d, "
            "such as 90, 90s, 15m or 1h30m"
        )
    return seconds


def lock_timeout_s(text: str | None, default_s: float) -> float | None:
    """``--flperf-lock-timeout`` in seconds; None: no lock at all.  Raises UsageError."""
    if text is None:
        return default_s
    if text.strip().lower() == _OFF:
        return None
    seconds = _seconds(text)
    if seconds is None or seconds > _LONGEST_S:
        raise pytest.UsageError(
            f"--flperf-lock-timeout: found {shorten(text)}, expected a time from 0 to 30d, such as 0, 90, 90s, 15m or "
            f"1h30m, or {_OFF!r} to measure beside others"
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
    # A number without a unit stands alone, and 1h30m goes from the large to the small: 30m1h is a slip.
    if len(units) > 1 and (0.0 in units or units != sorted(set(units), reverse=True)):
        return None
    return total


def duration_words(seconds: float) -> str:
    """A duration for a person: ``45 s``, ``12 min``, ``1.5 h``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.3g} h"
