"""Number formatting: three significant digits, a mark on doubtful percentiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pytest_flperf._text import printable, significant
from pytest_flperf.gates.verdict import NOT_MEASURED
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.results.capacity import Search, SearchStep
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, Distribution

__all__ = [
    "MARK",
    "NOTHING",
    "calibrated_words",
    "calibration_words",
    "capacity_words",
    "counted",
    "errors",
    "interval",
    "load_words",
    "number",
    "point",
    "statistic",
    "statistic_of",
    "tried_words",
]

MARK: Final = "*"
"""Follows a percentile from fewer requests than it needs."""
NOTHING: Final = "–"
_STEPS: Final = 30


def number(value: float | None) -> str:
    """A number with three significant digits; ``–`` for None.

    In a form that lines up: ``2.19``, ``71.3``, ``494``, ``12843``; two below 0.1, without an exponent: ``0.000013``.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e12:
        return f"{value:.3g}"
    if value == 0 or size >= 99.95:
        return f"{value:.0f}"
    if size < 0.095:
        return significant(value, 2)
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def statistic_of(found: Distribution | None, name: str) -> str:
    """A statistic with its mark; ``–`` where nothing was measured."""
    value = found.statistic(name) if found is not None else None
    if found is None or value is None:
        return NOTHING
    return number(value) + (MARK if name in found.unsure else "")


def statistic(case: CaseResult, metric: str, name: str) -> str:
    """A statistic of a case's metric, marked; ``–`` where not measured."""
    return statistic_of(case.metrics.get(metric), name)


def interval(found: Distribution | None, name: str) -> str:
    """95 % interval of a statistic: ``3.6 to 6.93``; empty without one."""
    bounds = found.interval(name) if found is not None else None
    return f"{number(bounds[0])} to {number(bounds[1])}" if bounds else ""


def errors(case: CaseResult) -> str:
    """Failed requests of a case: ``0``, ``3/11``, ``not ready``, ``not run``."""
    if not case.requests.total and (case.outcome == "skipped" or NOT_MEASURED in case.message):
        return "not run"
    if not case.requests.total and case.outcome in ("error", "xfailed"):
        return "not ready"
    if not case.requests.failed:
        return "0"
    return f"{case.requests.failed}/{case.requests.total}"


def point(parameters: Mapping[str, Any]) -> str:
    """Matrix point in words: ``concurrency=4 seed=1``; empty without a matrix."""
    return " ".join(f"{key}={value}" for key, value in parameters.items())


def calibration_words(found: Calibration) -> str:
    """Calibration in words: the error and cost of the client.

    Such as ``client at 64 streams: says TTFT p99 +0.010 ms, takes 12.4 µs a token``.
    """
    return (
        f"client at {calibrated_words(found.load)}: says TTFT p99 {found.ttft_p99_error_ms:+.3f} ms, takes "
        f"{number(found.cpu_us_per_token)} µs a token"
    )


def calibrated_words(load: Load) -> str:
    """Load of a calibration: ``64 streams``, ``burst 8 requests/s, 4 at once``."""
    if load.shape != "closed":
        return load_words(replace(load, duration_s=None, processes=1))
    think = f", {load.think_time_s:g} s think time" if load.think_time_s else ""
    return f"{load.concurrency} stream{'s' * (load.concurrency != 1)}{think}"


def capacity_words(search: Search) -> str:
    """Result of a search in words.

    Such as ``highest load that meets the budgets: 12 streams; saturated at 8``.
    """
    limits = printable(" and ".join(search.conditions), 200)
    if search.highest is None:
        lowest = f"{search.steps[0].load:.4g} {search.unit}" if search.steps else "one"
        return f"no load met {limits or 'the budgets'}, not even {lowest}"
    more = "" if search.bounded else " (the highest that was tried)"
    full = "" if search.saturation is None else f"; saturated at {search.saturation:.4g}"
    return f"highest load that meets {limits or 'the budgets'}: {search.highest:.4g} {search.unit}{more}{full}"


def tried_words(search: Search) -> str:
    """Loads that a search tried, in its order, and what came of each.

    Such as ``tried 1 met, 2 met, 4 missed ttft_ms.p95 <= 50 (81 ms)``; empty without any.
    """
    steps = [f"{step.load:.4g} {_came_of(step)}" for step in search.steps[:_STEPS]]
    more = len(search.steps) - _STEPS
    return f"tried {', '.join([*steps, f'and {more} more'] if more > 0 else steps)}" if steps else ""


def _came_of(step: SearchStep) -> str:
    if step.met:
        return "met"
    return f"missed {printable(step.missed, 80)}" if step.missed else "missed"


def load_words(load: Load) -> str:
    """Load in words: ``concurrency 4``, ``poisson 8 requests/s for 30 s``."""
    words = [f"concurrency {load.concurrency}"]
    if load.rate is not None:
        to = "" if load.rate_to is None else f" to {load.rate_to:g}"
        burst = "" if load.burst_size is None else f", {load.burst_size} at once"
        even = "" if load.burstiness is None else f", burstiness {load.burstiness:g}"
        words = [f"{load.shape} {load.rate:g}{to} requests/s{burst}{even}"]
    if load.think_time_s:
        words.append(f"{load.think_time_s:g} s think time")
    if load.duration_s is not None:
        words.append(f"for {load.duration_s:g} s")
    if load.processes > 1:
        words.append(f"from {load.processes} load processes")
    return ", ".join(words)


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 case``, ``2 cases``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
