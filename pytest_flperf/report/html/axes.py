"""Chart axes: scales, and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Axis", "axis_of", "change_axis", "tick_text"]

_LOG_FROM: Final = 20.0
"""Largest ÷ smallest value from which an axis is logarithmic."""
_LINE_ROOM: Final = 14
"""Room for a grid line; where 1, 2 and 5 of each decade don't fit, only its 1 is marked."""
_DIGIT: Final = 7
_BETWEEN: Final = 10
"""Width of a tick's digit, and the space between labels."""
_LARGEST: Final = 1e15
_SMALLEST: Final = 1e-9
"""Smaller values are shown as zero."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Axis: maps ``low`` to ``high`` onto the drawing.

    In units of the drawing, it goes from ``start`` to ``start + length``.
    """

    low: float
    high: float
    start: float
    length: float
    log: bool = False
    ticks: tuple[float, ...] = ()

    def at(self, value: float) -> float:
        """The position of a value; values outside are at the nearer end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * self.length

    @property
    def labelled(self) -> tuple[float, ...]:
        """Ticks with a label: as many as fit side by side, those at 1 of a decade first, then 5, then 2."""
        order = sorted(self.ticks, key=lambda tick: "152".find(f"{tick:e}"[0])) if self.log else self.ticks
        taken: list[tuple[float, float]] = []
        found = []
        for tick in order:
            half = (_DIGIT * len(tick_text(tick)) + _BETWEEN) / 2
            left, right = self.at(tick) - half, self.at(tick) + half
            if all(right <= begin or left >= end for begin, end in taken):
                taken.append((left, right))
                found.append(tick)
        return tuple(sorted(found))

    @property
    def scale(self) -> str:
        """What to know before reading lengths off it: ``, log scale``, ``, axis begins at 20``; else empty."""
        if self.log:
            return ", log scale"
        return f", axis begins at {tick_text(self.low)}" if self.low else ""


def axis_of(
    values: Iterable[float], start: float, length: float, *, ticks: int = 4, zero: bool = False, log: bool | None = None
) -> Axis:
    """An axis with room for all values; never raises.

    Args:
        values: The values to show.
        start: Where the axis begins in the drawing.
        length: Its length there.
        ticks: Approximate number of ticks of a linear axis.
        zero: Begin at zero, as bars must.
        log: None: logarithmic where the values are far apart.

    """
    known = [min(float(value), _LARGEST) if value > _SMALLEST else 0.0 for value in values if math.isfinite(value)]
    known = known or [0.0]
    largest = max(known)
    positive = [value for value in known if value > 0]
    smallest = max(min(positive, default=0.0), largest / 1e7)
    if log is None:
        log = not zero and smallest > 0 and largest / smallest > _LOG_FROM
    if log and smallest > 0:
        return _log_axis(smallest, largest, start, length)
    low = 0.0 if zero else min(known)
    if largest <= low:  # all the same
        low, largest = (0.0, 1.0) if largest == 0 else (low * (0.0 if zero else 0.95), largest * 1.05)
    step = _step((largest - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(largest / step - 1e-9)
    marks = tuple(index * step for index in range(first, last + 1))
    return Axis(marks[0], marks[-1], start, length, ticks=marks)


def change_axis(values: Iterable[float], start: float, length: float, *, most: float, ticks: int = 6) -> Axis:
    """A linear axis for changes of both signs, with zero.

    Changes beyond ±``most`` are drawn at its end.
    """
    known = [min(max(value, -most), most) for value in values if math.isfinite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    if high - low < _SMALLEST:
        low, high = -1.0, 1.0
    step = _step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = tuple(index * step for index in range(first, last + 1))
    return Axis(marks[0], marks[-1], start, length, ticks=marks)


def _log_axis(smallest: float, largest: float, start: float, length: float) -> Axis:
    marks = [digit * 10.0**power for power in range(-8, 16) for digit in (1, 2, 5)]
    below = max(mark for mark in marks if mark <= smallest * (1 + 1e-9) or mark == marks[0])
    above = min(mark for mark in marks if (mark >= largest and mark > below) or mark == marks[-1])
    inside = [mark for mark in marks if below <= mark <= above]
    if len(inside) * _LINE_ROOM > abs(length):
        inside = [mark for mark in inside if f"{mark:e}".startswith("1.0")]
    return Axis(below, above, start, length, log=True, ticks=tuple(inside))


def _step(rough: float) -> float:
    """The smallest of 1, 2, 5 × 10ⁿ, not below ``rough``."""
    power: float = 10.0 ** math.floor(math.log10(max(rough, 1e-12)))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough * (1 - 1e-9))


def tick_text(value: float) -> str:
    """Label of a tick, without needless digits: ``0.05``, ``20``, ``1500``."""
    return f"{value:.10g}" if abs(value) < 1e6 else f"{value:.3g}"
