"""Lengths in tokens: fixed, or drawn for each request."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

from pytest_flperf.suite.errors import SuiteError, shown, suggestion
from pytest_flperf.suite.setting_limits import Range

__all__ = ["LENGTH_LIMITS", "Lengths", "lengths_of"]

LENGTH_LIMITS: Final = Range(1, 1_000_000)
"""Bounds of every length, in tokens."""

_MEAN_LIMITS: Final = Range(1, 1_000_000, whole=False)
_STDEV_LIMITS: Final = Range(0, 1_000_000, whole=False)
_NORMAL_KEYS: Final = ("mean", "stdev", "min", "max")
_FORMS: Final = (
    "a whole number from 1 to 1,000,000, {'uniform': [100, 200]} "
    "or {'normal': {'mean': 512, 'stdev': 64, 'min': 1, 'max': 4096}}"
)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths in tokens, and how they are drawn."""

    kind: str
    """``fixed``, ``uniform`` or ``normal``."""
    low: int
    """Shortest length, included; the length itself if fixed."""
    high: int
    """Longest length, included; the length itself if fixed."""
    mean: float | None = None
    """Mean of a normal distribution, before truncation."""
    stdev: float | None = None
    """Its standard deviation, before truncation."""

    def draw(self, rng: random.Random) -> int:
        """Draw a length from low to high.

        A normal distribution is truncated, as if values beyond the bounds were drawn again: nothing piles up at the
        bounds.  Each draw takes exactly one number from *rng*, a fixed length none.
        """
        if self.kind == "fixed":
            return self.low
        if self.mean is None or self.stdev is None:
            return self.low + int(rng.random() * (self.high - self.low + 1))
        share = rng.random()
        if self.stdev == 0:
            return self._bounded(self.mean)
        normal = NormalDist(self.mean, self.stdev)
        below, above = normal.cdf(self.low - 0.5), normal.cdf(self.high + 0.5)
        # the inverse takes numbers between 0 and 1, both excluded
        share = min(max(below + share * (above - below), sys.float_info.min), 1 - sys.float_info.epsilon)
        return self._bounded(normal.inv_cdf(share))

    def _bounded(self, length: float) -> int:
        return min(max(round(length), self.low), self.high)

    @property
    def words(self) -> str:
        """The lengths in words: ``512``, ``100–200`` or ``normal 512 ± 64``."""
        if self.kind == "fixed":
            return str(self.low)
        if self.mean is None or self.stdev is None:
            return f"{self.low}–{self.high}"
        return f"normal {self.mean:.10g} ± {self.stdev:.10g}"


def lengths_of(value: object, key: str) -> Lengths:
    """Parse the lengths that *value* describes.

    Args:
        value: a whole number, ``{"uniform": [low, high]}`` or ``{"normal": {"mean": …, "stdev": …}}``, the latter with
            ``min`` and ``max`` where it is truncated within the bounds of all lengths.
        key: its key, for messages.

    Raises:
        SuiteError: it is something else, or out of bounds.

    """
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise SuiteError(f"{key}: found {shown(value)}, expected {_FORMS}")
        ((kind, inner),) = value.items()
        if kind == "uniform":
            return _uniform(inner, f"{key}.uniform")
        if kind == "normal":
            return _normal(inner, f"{key}.normal")
        raise SuiteError(f"{key}: found {shown(kind)}, {_meant(kind, ('uniform', 'normal'))}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise SuiteError(f"{key}: found {shown(value)}, expected {_FORMS}")
    length = _whole(value, key)
    return Lengths("fixed", length, length)


def _uniform(value: object, key: str) -> Lengths:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise SuiteError(f"{key}: found {shown(value)}, expected two whole numbers, as in [100, 200]")
    low, high = _whole(value[0], f"{key}[0]"), _whole(value[1], f"{key}[1]")
    if low > high:
        raise SuiteError(f"{key}: found {shown(value)}, expected the smaller number first")
    return Lengths("uniform", low, high)


def _normal(value: object, key: str) -> Lengths:
    if not isinstance(value, Mapping):
        raise SuiteError(f"{key}: found {shown(value)}, expected a mapping with mean and stdev")
    unknown = next((name for name in value if name not in _NORMAL_KEYS), None)
    if unknown is not None or None in value:
        raise SuiteError(f"{key}: found the key {shown(unknown)}, {_meant(unknown, _NORMAL_KEYS)}")
    for name in ("mean", "stdev"):
        if name not in value:
            raise SuiteError(f"{key}.{name}: missing, expected {_MEAN_LIMITS if name == 'mean' else _STDEV_LIMITS}")
    mean = _number(value["mean"], f"{key}.mean", _MEAN_LIMITS)
    stdev = _number(value["stdev"], f"{key}.stdev", _STDEV_LIMITS)
    low = _whole(value.get("min", int(LENGTH_LIMITS.low)), f"{key}.min")
    high = _whole(value.get("max", int(LENGTH_LIMITS.high)), f"{key}.max")
    if not low <= mean <= high:
        raise SuiteError(f"{key}: found the mean {mean:.10g}, expected one from min ({low:,}) to max ({high:,})")
    return Lengths("normal", low, high, mean, stdev)


def _meant(name: object, known: tuple[str, ...]) -> str:
    return suggestion(name, known) if isinstance(name, str) else f"expected one of {', '.join(known)}"


def _number(value: Any, key: str, limits: Range) -> float:
    if not limits.accepts(value):
        raise SuiteError(f"{key}: found {shown(value)}, expected {limits}")
    return float(value)


def _whole(value: Any, key: str) -> int:
    return int(_number(value, key, LENGTH_LIMITS))
