"""Grammar of budgets: scenario, model, metric, statistic, operator and limit.

A budget is written ``[scenario-glob][@model-glob]:metric[.statistic] <= number[unit]``.

Each function reads a part of a text, from ``start`` to ``end``; positions in errors count from the start of the text.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from pytest_flperf._text import shorten
from pytest_flperf.results.metric_aliases import OTHER_NAMES
from pytest_flperf.results.metric_statistics import is_statistic, statistics_of, unit_of
from pytest_flperf.results.metrics import METRICS, Metric

__all__ = [
    "COMPARE",
    "FORM",
    "RUN_PREFIX",
    "BudgetError",
    "Operator",
    "Subject",
    "category_problem",
    "find_operator",
    "nearest_metric",
    "read_category",
    "read_limit",
    "read_metric",
    "read_subject",
]

Operator: TypeAlias = Literal["<=", "<", ">=", ">"]

RUN_PREFIX: Final = "run"
COMPARE: Final[Mapping[Operator, Callable[[float, float], bool]]] = MappingProxyType(
    {
        "<=": lambda value, limit: value <= limit,
        "<": lambda value, limit: value < limit,
        ">=": lambda value, limit: value >= limit,
        ">": lambda value, limit: value > limit,
    }
)
FORM: Final = "[scenario:]metric[.statistic] <= number[unit], such as ttft_ms.p95 <= 500 or error_rate <= 1%"
_OPERATORS: Final = re.compile(r"<=|>=|=<|=>|==|!=|<|>|=|≤|≥")
_NUMBER: Final = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)\s*((?:[^0-9.\s].*)?)", re.DOTALL
)
_LONGEST: Final = 1000
_CATEGORY: Final = re.compile(r"(?<=[\w.])\s*\[([^\[\]]*)\]\s*\Z")

_TIMES: Final = {
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
}
_BYTES: Final = {"kb": Decimal(1) / 1024, "mb": Decimal(1), "gb": Decimal(1024)}
_UNITS: Final[Mapping[str, Mapping[str, Decimal]]] = MappingProxyType(
    {
        "ms": {name: size / _TIMES["ms"] for name, size in _TIMES.items()},
        "s": _TIMES,
        "MB": _BYTES,
        "fraction": {"%": Decimal("0.01")},
        "%": {"%": Decimal(1)},
        "tokens": {"tokens": Decimal(1)},
        "tokens/s": {"/s": Decimal(1), "tokens/s": Decimal(1)},
        "requests/s": {"/s": Decimal(1), "requests/s": Decimal(1)},
        "J": {"j": Decimal(1), "kj": Decimal(1000)},
        "W": {"w": Decimal(1), "kw": Decimal(1000)},
        "°C": {"°c": Decimal(1), "c": Decimal(1)},
    }
)
"""Units allowed after a number, with their factor to the metric's own unit.  Not listed: no unit allowed."""
_COMMON_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "median": "p50",
        "avg": "mean",
        "average": "mean",
        "std": "stdev",
        "sd": "stdev",
        "count": "n",
        "rsd": "cv",
        "upper": "upper95",
        "lower": "lower95",
        "ci95": "upper95",
    }
)


class BudgetError(ValueError):
    """A budget that can't be parsed.

    The message says what was found, where, what was expected, and the nearest known word.
    """

    def __init__(self, text: str, position: int, problem: str) -> None:
        """Describe ``problem`` at character ``position`` (from 0) of ``text``."""
        super().__init__(f"budget {shorten(text, 120)}: {problem} (at character {position + 1})")
        self.text = text
        self.position = position
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of a budget: scenarios, models, and where the metric begins.

    Read without knowing any metric.
    """

    scenarios: str | None
    """Glob; None: all."""
    models: str | None
    """Glob; None: all."""
    start: int
    """Where the metric begins."""


def find_operator(text: str, start: int = 0, end: int | None = None) -> re.Match[str]:
    """The comparison operator of a budget.

    Raises BudgetError where there is none, or where the text is no budget at all.
    """
    end = len(text) if end is None else end
    if not text[start:end].strip():
        raise BudgetError(text, start, f"empty; expected {FORM}")
    if len(text) > _LONGEST:
        raise BudgetError(text, _LONGEST, f"longer than {_LONGEST} characters; expected {FORM}")
    found = list(_OPERATORS.finditer(text, start, end))
    if not found:
        raise BudgetError(text, len(text[:end].rstrip()), f"no comparison found; expected {FORM}")
    # The last one: a scenario's name may contain operators, what follows it may not.
    operator = found[-1]
    sign = operator[0]
    if sign not in COMPARE:
        nearest = {"=<": "<=", "≤": "<=", "=>": ">=", "≥": ">="}.get(sign, "<= or >=")
        raise BudgetError(text, operator.start(), f"found {shorten(sign)}, expected {nearest}")
    return operator


def read_category(text: str, end: int) -> tuple[int, str | None]:
    """Where the metric before ``end`` ends, and the category in brackets behind it.

    None without one: brackets of a scenario's pattern stand before a colon.
    """
    found = _CATEGORY.search(text, 0, end)
    return (end, None) if found is None else (found.start(), " ".join(found[1].split()))


def category_problem(metric: Metric, statistic: str | None, category: str, allowed: Sequence[str]) -> str:
    """Why this number can't be one of a category; empty if it can.

    Args:
        metric: The metric.
        statistic: Its statistic.
        category: In brackets behind it.
        allowed: Statistics of quality that categories have.

    """
    if metric.name != "quality":
        return f"only quality has categories, {metric.name} has none"
    if statistic not in allowed:
        return f"of a category {' and '.join(f'quality.{each}' for each in allowed)} can be limited"
    return "" if category else "no category in the brackets"


def read_subject(text: str, end: int) -> Subject:
    """The scenarios and models before ``end``, and where the metric begins.

    Raises BudgetError.
    """
    prefix, colon, metric = text[:end].rpartition(":")
    start = len(prefix) + len(colon) + len(metric) - len(metric.lstrip())
    if not colon:
        return Subject(None, None, start)
    scenarios, at, models = (" ".join(part.split()) for part in prefix.partition("@"))
    if at and not models:
        raise BudgetError(
            text, prefix.index("@"), "no model after the @; expected a budget such as @qwen*: ttft_ms.p95 <= 500"
        )
    if not scenarios and not models:
        raise BudgetError(text, 0, "no scenario before the colon")
    return Subject(scenarios or None, models or None, start)


def read_metric(text: str, start: int, end: int) -> tuple[Metric, str | None]:
    """The metric and its statistic between ``start`` and ``end``; raises BudgetError."""
    start += len(text[start:end]) - len(text[start:end].lstrip())
    name, dot, statistic = text[start:end].strip().partition(".")
    name = name.rstrip()
    if not name:
        raise BudgetError(text, start, f"no metric before the comparison; expected {FORM}")
    if name == RUN_PREFIX:
        raise BudgetError(text, start, "a suite can't hold a budget of the whole run; give it with --flperf-budget")
    metric = METRICS.get(name)
    if metric is None:
        raise BudgetError(text, start, f"unknown metric {shorten(name)}{nearest_metric(name, METRICS)}")
    allowed = statistics_of(metric)
    alone = metric.per == "case"
    if not dot:
        if alone:
            return metric, None
        raise BudgetError(text, start + len(name), _wish(metric))
    at = text.index(".", start)
    if not allowed:
        raise BudgetError(text, at, f"{name} is one number per case and has no statistic; write {name} alone")
    statistic = statistic.strip()
    if not is_statistic(metric, statistic):
        close = difflib.get_close_matches(statistic.lower()[:20], allowed, n=1)
        meant = _COMMON_NAMES.get(statistic.lower())
        nearest = meant if meant in allowed else "".join(close)
        hint = f"did you mean {nearest}? " if nearest else ""
        choice = f"statistics are {', '.join(allowed)}" + ", pass@3, pass^3 …" * (metric.name == "quality")
        if alone:
            choice = f"write {name} alone, or {' or '.join(f'{name}.{each}' for each in allowed)}"
        raise BudgetError(text, at + 1, f"unknown statistic {shorten(statistic)} of {name}; {hint}{choice}")
    return metric, statistic


def _wish(metric: Metric) -> str:
    if metric.per == "resource":
        wish = "max" if metric.better == "lower" else "mean"
    else:
        wish = "p50" if metric.better == "higher" else "p95"
    choice = ", ".join(statistics_of(metric))
    return f"{metric.name} needs a statistic, such as {metric.name}.{wish}; statistics are {choice}"


def read_limit(text: str, start: int, end: int, metric: Metric, statistic: str | None = None) -> float:
    """The limit between ``start`` and ``end``, in the metric's unit.

    A statistic may have a unit of its own.  Raises BudgetError.
    """
    start += len(text[start:end]) - len(text[start:end].lstrip())
    read = _NUMBER.fullmatch(text, start, max(len(text[:end].rstrip()), start))
    if read is None:
        rest = text[start:end].strip()
        raise BudgetError(text, start, f"found {shorten(rest)}, expected a number" if rest else "no number at the end")
    kind = unit_of(metric.name, statistic)
    name = metric.name if kind == metric.unit else f"{metric.name}.{statistic}"
    unit = read[2]
    factors = _UNITS.get(kind, {})
    factor = factors.get(unit.lower()) if unit else Decimal(1)
    if factor is None:
        allowed = f"one of {', '.join(factors)} or none" if factors else "none"
        raise BudgetError(text, read.start(2), f"unit {shorten(unit)} doesn't fit {name}; expected {allowed}")
    # Decimal, so that 0.7% is the float nearest to 0.007, as 7 failures in 1000 are.
    limit = float(Decimal(read[1]) * factor)
    problem = None
    if not math.isfinite(limit):
        problem = "the number is too large"
    elif limit < 0:
        problem = f"{name} is never negative"
    elif kind == "fraction" and limit > 1 and statistic != "cv":
        problem = f"{name} is a fraction from 0 to 1; write a percentage with its sign, such as 5%"
    elif kind == "%" and limit > 100 and not metric.over_100:
        problem = f"{name} is a percentage from 0 to 100"
    elif statistic == "upper95" and not limit:
        problem = f"no number of requests proves a rate of 0; write {metric.name} <= 0, or a limit such as 1%"
    elif statistic == "lower95" and limit >= 1:
        problem = f"no number of prompts proves a quality of 100 %; write {metric.name}.mean >= 100%, or a limit below"
    if problem:
        raise BudgetError(text, start, f"found {shorten(read[0])}: {problem}")
    return limit


def nearest_metric(found: str, known: Iterable[str]) -> str:
    """Hint for an unknown metric: the nearest name, or all names.

    It goes behind ``unknown metric …`` in a message.
    """
    names, word = tuple(known), found.lower()[:80].replace("-", "_").replace("/", "_")
    other = next((OTHER_NAMES[each] for each in (word, *_without_unit(word)) if each in OTHER_NAMES), None)
    if other in names:
        return f"; did you mean {other}?"
    close = [name for name in names if word and name.startswith(word)] or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; metrics are {', '.join(names)}"


def _without_unit(name: str) -> tuple[str, ...]:
    return tuple(
        name.removesuffix(unit) for unit in ("_ms", "_s", "_sec", "_seconds", "_mb", "_pct") if name.endswith(unit)
    )
