"""Trend words: what the newest number of a case is beside where it began."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.report.figures import NOTHING, number, point

if TYPE_CHECKING:
    from pytest_flperf.history.series import SeriesPoint
    from pytest_flperf.history.trends import Trend
    from pytest_flperf.results.comparison import Comparison
    from pytest_flperf.results.metrics import Metric

__all__ = [
    "UNLIKE",
    "UNLIKE_WORDS",
    "as_shown",
    "better_words",
    "change_words",
    "is_passed",
    "least_range",
    "model_words",
    "unit_words",
    "value_words",
    "word_of",
]

UNLIKE: Final = "!="
"""Marks a number that can't be compared with the newest one."""
UNLIKE_WORDS: Final = "other load, settings, prompts, server or machine than the newest: not compared"
PERCENT: Final = "%"
"""Unit of numbers whose changes are told in points."""
_PASSED: Final = ("passed", "xpassed")
_OF_TIME: Final = frozenset({"ms", "s", "tokens/s", "requests/s"})
_LEAST_SHARE: Final = 0.1
_NAME: Final = 120


def better_words(metric: Metric) -> str:
    """Which way is better: ``lower is better``; empty where neither is."""
    return "" if metric.better == "neither" else f"{metric.better} is better"


def word_of(compared: Comparison | None, metric: Metric) -> str:
    """``slower`` or ``faster``, ``worse`` or ``better``; empty where that is not beyond doubt."""
    verdict = "" if compared is None else compared.verdict
    if verdict == "regressed":
        return "slower" if metric.unit in _OF_TIME else "worse"
    if verdict == "improved":
        return "faster" if metric.unit in _OF_TIME else "better"
    return ""


def value_words(found: SeriesPoint | None) -> str:
    """A number; ``∞`` where failed requests count as that."""
    if found is None:
        return NOTHING
    return number(math.inf if found.infinite else found.value)


def unit_words(metric: Metric) -> str:
    """Unit of the numbers that are shown: ``ms``; of shares ``%``, of amounts none, as prices say the currency."""
    return {"fraction": PERCENT, "currency": ""}.get(metric.unit, metric.unit)


def as_shown(trends: Sequence[Trend], metric: Metric) -> list[Trend]:
    """Trends with the numbers that are shown: shares in percent."""
    if metric.unit != "fraction":
        return list(trends)
    return [
        replace(
            each,
            points=tuple(map(_in_percent, each.points)),
            start=None if each.start is None else _in_percent(each.start),
        )
        for each in trends
    ]


def _in_percent(found: SeriesPoint) -> SeriesPoint:
    return replace(found, value=None if found.value is None else 100 * found.value)


def change_words(trend: Trend, *, in_points: bool = False) -> str:
    """Change of the newest number: ``+4.2 %``; of percentages in points, as comparisons have it: ``-4.0 pts``.

    ``!=`` where the two can't be compared.
    """
    if trend.start not in (None, trend.last) and not trend.is_comparable:
        return UNLIKE
    if in_points:
        start, last = trend.start, trend.last
        if start is None or start == last or start.value is None or last.value is None:
            return NOTHING
        return f"{last.value - start.value:+.1f} pts".replace("-0.0 ", "+0.0 ")
    change = trend.change_pct
    if change is None or not math.isfinite(change):
        return NOTHING
    return f"{change:+.0f} %" if abs(change) >= 9.95 else f"{change:+.1f} %"


def model_words(found: SeriesPoint) -> str:
    """The model, and the point of its matrix."""
    try:
        parameters = json.loads(found.parameters)
    except (ValueError, RecursionError):
        parameters = None
    words = point(parameters) if isinstance(parameters, dict) else ""
    return printable(f"{found.model} {words}".strip(), _NAME)


def least_range(values: Sequence[float]) -> tuple[float, ...]:
    """Lowest and highest value that a scale has room for at least; nothing without values.

    A tenth of the median on both sides, so that what runs of the same thing differ by looks like little.
    """
    if not values:
        return ()
    middle = statistics.median(values)
    return middle * (1 - _LEAST_SHARE), middle * (1 + _LEAST_SHARE)


def is_passed(found: SeriesPoint) -> bool:
    """Whether the case passed."""
    return found.outcome in _PASSED
