"""Budgets: ``[scenario-glob:]metric[.statistic] <= number[unit]``, parsed, and judged against a case.

``ttft_ms.p95 <= 500``, ``short-*: tps.p50 >= 20``, ``error_rate <= 1%``, ``e2e_ms.max < 2s``.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from pytest_flperf.gates.text import shorten
from pytest_flperf.results.metrics import METRICS, RESOURCE_STATISTICS, STATISTICS, Metric
from pytest_flperf.results.records import BudgetVerdict, CaseResult

__all__ = [
    "COMPARE",
    "DEFAULT_BUDGET",
    "RUN_PREFIX",
    "Budget",
    "BudgetError",
    "Operator",
    "applicable",
    "evaluate",
    "find_operator",
    "nearest_metric",
    "parse_budget",
    "parse_budgets",
    "parse_limit",
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
_OPERATORS: Final = re.compile(r"<=|>=|=<|=>|==|!=|<|>|=|≤|≥")
_NUMBER: Final = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)\s*((?:[^0-9.\s].*)?)", re.DOTALL
)
_LONGEST: Final = 1000
_FORM: Final = "[scenario:]metric[.statistic] <= number[unit], such as ttft_ms.p95 <= 500 or error_rate <= 1%"

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
        "tokens/s": {"/s": Decimal(1), "tokens/s": Decimal(1)},
        "requests/s": {"/s": Decimal(1), "requests/s": Decimal(1)},
        "W": {"w": Decimal(1), "kw": Decimal(1000)},
        "°C": {"°c": Decimal(1), "c": Decimal(1)},
    }
)
"""What may stand behind a number: the factor to the metric's own unit.  Not listed: no unit may."""


class BudgetError(ValueError):
    """A budget that can't be read: what was found, where, what was expected, and the nearest right word."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        """Describe ``problem`` at character ``position`` (from 0) of ``text``."""
        super().__init__(f"budget {shorten(text, 120)}: {problem} (at character {position + 1})")
        self.text = text
        self.position = position
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on one number of a case."""

    scenarios: str | None
    """Glob of the scenario names that it holds for; None: all."""
    metric: str
    statistic: str | None
    """None for a metric that is one number for the case."""
    operator: Operator
    limit: float
    """In the metric's own unit."""
    expression: str
    """As written, white space joined."""
    scope: str = ""
    """Where it was written: ``scenario``, ``suite``, ``--flperf-budget``, ``default`` …"""

    def holds_for(self, scenario: str) -> bool:
        """Whether it is a budget of this scenario; names are compared with case."""
        return self.scenarios is None or self.scenarios == scenario or fnmatch.fnmatchcase(scenario, self.scenarios)

    def judge(self, case: CaseResult) -> BudgetVerdict:
        """What comes of it for a case; a metric that was not measured is not met."""
        value, n = _measured(case, self.metric, self.statistic)
        return BudgetVerdict(
            expression=self.expression,
            limit=self.limit,
            value=value,
            n=n,
            met=value is not None and COMPARE[self.operator](value, self.limit),
            scope=self.scope,
            metric=self.metric,
            statistic=self.statistic,
            reason=_reason(case, self.metric, value),
            infinite=value is not None and math.isinf(value),
        )


def _reason(case: CaseResult, metric: str, value: float | None) -> str:
    """Why there is no number, where that is known."""
    if value is None:
        return case.resources_absent.get(metric, "")
    if math.isinf(value):
        return f"{case.requests.failed} of {case.requests.total} requests failed and count as infinitely slow"
    return ""


def parse_budgets(texts: Iterable[str], scope: str = "") -> tuple[Budget, ...]:
    """Parse several budgets that were written in one place; raises BudgetError for the first bad one."""
    return tuple(parse_budget(text, scope) for text in texts)


def parse_budget(text: str, scope: str = "") -> Budget:
    """Read one budget.

    Args:
        text: ``[scenario-glob:]metric[.statistic] (<=|<|>=|>) number[unit]``.
        scope: Where it was written; goes into the verdict.

    Raises:
        BudgetError: For anything else, and nothing but that for any text.

    """
    operator = find_operator(text)
    scenarios, metric, statistic = _parse_subject(text, operator.start())
    limit = parse_limit(text, operator.end(), metric)
    expression = " ".join(text.split())
    return Budget(scenarios, metric.name, statistic, operator[0], limit, expression, scope)  # type: ignore[arg-type]


def find_operator(text: str) -> re.Match[str]:
    """The comparison of a budget; raises BudgetError where there is none, or for a text that is no budget at all."""
    if not text.strip():
        raise BudgetError(text, 0, f"empty; expected {_FORM}")
    if len(text) > _LONGEST:
        raise BudgetError(text, _LONGEST, f"longer than {_LONGEST} characters; expected {_FORM}")
    found = list(_OPERATORS.finditer(text))
    if not found:
        raise BudgetError(text, len(text.rstrip()), f"no comparison found; expected {_FORM}")
    # The last one: a scenario's name may hold others, what follows it may not.
    operator = found[-1]
    sign = operator[0]
    if sign not in COMPARE:
        nearest = {"=<": "<=", "≤": "<=", "=>": ">=", "≥": ">="}.get(sign, "<= or >=")
        raise BudgetError(text, operator.start(), f"found {shorten(sign)}, expected {nearest}")
    return operator


def _parse_subject(text: str, end: int) -> tuple[str | None, Metric, str | None]:
    glob, colon, subject = text[:end].rpartition(":")
    start = len(glob) + len(colon) + len(subject) - len(subject.lstrip())
    subject = subject.strip()
    name, dot, statistic = subject.partition(".")
    name = name.rstrip()
    scenarios = " ".join(glob.split()) if colon else None
    if colon and not scenarios:
        raise BudgetError(text, 0, "no scenario before the colon")
    if not name:
        raise BudgetError(text, start, f"no metric before the comparison; expected {_FORM}")
    if name == RUN_PREFIX:
        raise BudgetError(text, start, "a budget of the whole run stands in no suite; give it to --flperf-budget")
    metric = METRICS.get(name)
    if metric is None:
        raise BudgetError(text, start, f"unknown metric {shorten(name)}{nearest_metric(name, METRICS)}")
    if metric.per == "case":
        if dot:
            at = text.index(".", start)
            raise BudgetError(text, at, f"{name} is one number for a case and has no statistic; write {name} without")
        return scenarios, metric, None
    allowed = RESOURCE_STATISTICS if metric.per == "resource" else STATISTICS
    choice = f"statistics are {', '.join(allowed)}"
    if not dot:
        if metric.per == "resource":
            wish = "max" if metric.better == "lower" else "mean"
        else:
            wish = "p50" if metric.better == "higher" else "p95"
        raise BudgetError(text, start + len(name), f"{name} needs a statistic, such as {name}.{wish}; {choice}")
    statistic = statistic.strip()
    if statistic not in allowed:
        common = {"median": "p50", "avg": "mean", "average": "mean", "std": "stdev", "sd": "stdev", "count": "n"}
        close = difflib.get_close_matches(statistic.lower()[:20], allowed, n=1)
        meant = common.get(statistic.lower())
        nearest = meant if meant in allowed else "".join(close)
        hint = f"did you mean {nearest}? " if nearest else ""
        problem = f"unknown statistic {shorten(statistic)} of {name}; {hint}{choice}"
        raise BudgetError(text, text.index(".", start) + 1, problem)
    return scenarios, metric, statistic


def parse_limit(text: str, start: int, metric: Metric) -> float:
    """The number from ``start`` on, in the metric's unit; raises BudgetError."""
    start += len(text[start:]) - len(text[start:].lstrip())
    read = _NUMBER.fullmatch(text, start, len(text.rstrip()))
    if read is None:
        rest = text[start:].strip()
        raise BudgetError(text, start, f"found {shorten(rest)}, expected a number" if rest else "no number at the end")
    unit = read[2]
    factors = _UNITS.get(metric.unit, {})
    factor = factors.get(unit.lower()) if unit else Decimal(1)
    if factor is None:
        allowed = f"one of {', '.join(factors)} or none" if factors else "none"
        raise BudgetError(text, read.start(2), f"unit {shorten(unit)} doesn't fit {metric.name}; expected {allowed}")
    # Decimal, so that 0.7% is the float nearest to 0.007, as 7 failures in 1000 are.
    limit = float(Decimal(read[1]) * factor)
    problem = None
    if not math.isfinite(limit):
        problem = "too large a number"
    elif limit < 0:
        problem = f"{metric.name} is never negative"
    elif metric.unit == "fraction" and limit > 1:
        problem = f"{metric.name} is a fraction from 0 to 1; write a percentage with its sign, such as 5%"
    elif metric.unit == "%" and limit > 100 and not metric.over_100:
        problem = f"{metric.name} is a percentage from 0 to 100"
    if problem:
        raise BudgetError(text, start, f"found {shorten(read[0])}: {problem}")
    return limit


def nearest_metric(found: str, known: Iterable[str]) -> str:
    """What was probably meant, or all that there is, to go behind ``unknown metric …``."""
    names, word = tuple(known), found.lower()[:80]
    close = [name for name in names if word and name.startswith(word)] or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; metrics are {', '.join(names)}"


DEFAULT_BUDGET: Final = parse_budget("error_rate <= 0", "default")


def applicable(scenario: str, budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """The budgets of one scenario; ``error_rate <= 0`` is added unless one of them limits the error rate."""
    chosen = tuple(budget for budget in budgets if budget.holds_for(scenario))
    limited = any(budget.metric == "error_rate" and budget.operator in {"<=", "<"} for budget in chosen)
    return chosen if limited else (*chosen, DEFAULT_BUDGET)


def request_limits(scenario: str, budgets: Iterable[Budget]) -> Callable[[Mapping[str, float | None]], bool] | None:
    """Whether a request keeps every latency budget of a scenario, given its metrics; None where there is none.

    A limit on any statistic of a request's time or speed is one on each request here: that is what goodput asks.  What
    was not measured of a request keeps no limit.
    """
    limits = [
        budget
        for budget in budgets
        if budget.holds_for(scenario)
        and METRICS[budget.metric].per == "request"
        and METRICS[budget.metric].unit in {"ms", "tokens/s"}
        and budget.metric != "itl_ms"  # gaps are pooled: they are no number of one request
        and budget.statistic != "n"
    ]
    if not limits:
        return None

    def kept(metrics: Mapping[str, float | None]) -> bool:
        return all(
            (value := metrics.get(budget.metric)) is not None and COMPARE[budget.operator](value, budget.limit)
            for budget in limits
        )

    return kept


def evaluate(case: CaseResult, budgets: Iterable[Budget]) -> tuple[BudgetVerdict, ...]:
    """The verdict of every budget that holds for the case's scenario, the default one included."""
    return tuple(budget.judge(case) for budget in applicable(case.scenario, budgets))


def _measured(case: CaseResult, metric: str, statistic: str | None) -> tuple[float | None, int]:
    """The number that a budget limits, and how many values are behind it."""
    if statistic is not None:
        measured = (case.resources if METRICS[metric].per == "resource" else case.metrics).get(metric)
        if measured is None:
            return (0.0 if statistic == "n" else None), 0
        return measured.statistic(statistic), measured.n
    requests = case.requests
    if metric == "download_s" and case.load_s is not None:
        return case.download_s or 0.0, 1  # files that were there took no time to come
    if metric in {"load_s", "cold_ttft_ms", "download_s", "model_rss_mb"}:
        value: float | None = getattr(case, metric)
        return value, int(value is not None)
    if not requests.total:
        return None, 0
    if metric == "timeout_rate":
        return requests.timeouts / requests.total, requests.total
    if metric in {"timeouts", "late_reads", "clock_steps", "recovered"}:
        return float(getattr(requests, metric)), requests.total
    value = getattr(case, metric)
    return (None if value is None else float(value)), requests.total
