"""Comparison rules: ``[scenario-glob:]metric[.statistic] > +10%``, parsed.

``ttft_ms.p50 > +10%``, ``short-*: tpot_ms.p50 > +10% and +2ms``, ``gen_tps.p50 < -10%``, ``error_rate > +1%``.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pytest_flperf._text import printable, shorten
from pytest_flperf.errors import FlperfError
from pytest_flperf.gates.budget_grammar import (
    RUN_PREFIX,
    BudgetError,
    category_problem,
    nearest_metric,
    read_category,
    read_limit,
)
from pytest_flperf.results.comparison import DEFAULT_SCOPE, IMPLIED_SCOPE
from pytest_flperf.results.metric_statistics import STATISTICS, is_statistic
from pytest_flperf.results.metrics import METRICS, OF_CALLS, Metric
from pytest_flperf.stats.inference.findings import Threshold

__all__ = [
    "COMPARED_CASE_METRICS",
    "COUNTED",
    "DEFAULT_RULES",
    "DEFAULT_SCOPE",
    "EXTREMES",
    "IMPLIED_SCOPE",
    "Rule",
    "RuleError",
    "is_gate",
    "is_mean",
    "is_score",
    "parse_rule",
    "parse_rules",
    "rules_for",
    "without_scenario",
]

COUNTED: Final = frozenset({"error_rate", "timeout_rate"})
"""Metrics that count requests, as a share of all."""
COMPARED_CASE_METRICS: Final = ("error_rate", "timeout_rate", "tps_total", "request_rate", "goodput", *OF_CALLS)
"""Numbers of a whole case that can be compared."""
EXTREMES: Final = frozenset({"min", "max"})
"""Statistics that rest on single requests."""

_COMPARED_STATISTICS: Final = tuple(name for name in STATISTICS if name != "n")
_OPERATORS: Final = re.compile(r"<=|>=|=<|=>|==|!=|<|>|=|≤|≥")
_AND: Final = re.compile(r"(?<=\s)and(?=[\s<>+-])")
_SIGNS: Final = {">": "+", "<": "-"}
_STEP: Final = re.compile(r"(?P<sign>[+-]?)\s*(?P<number>[0-9.]*(?:[eE][+-]?[0-9]{1,4})?)\s*(?P<unit>.*)", re.DOTALL)
_BETWEEN: Final = re.compile(r"\s*[+-][^+:<>=]*\sand\s*", re.DOTALL)
"""Text between an operator and its repetition."""
_DIGITS: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST: Final = 1000
_NAMES: Final = 5
_FORM: Final = "[scenario:]metric[.statistic] > +10%, such as ttft_ms.p50 > +10% or gen_tps.p50 < -10%"
_FALLS_AT_MOST: Final = 1.0
_OF_CATEGORIES: Final = ("mean",)


class RuleError(FlperfError, ValueError):
    """A rule that can't be parsed.

    The message says what was found, where, what was expected, and the nearest known word.
    """

    def __init__(self, text: str, position: int, problem: str) -> None:
        """Describe ``problem`` at character ``position`` (from 0) of ``text``."""
        super().__init__(f"rule {shorten(text, 120)}: {problem} (at character {position + 1})")
        self.text = text
        self.position = position


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule: which change of a number for the worse is a regression."""

    scenarios: str | None
    """Glob of the scenario names that it holds for; None: all."""
    metric: str
    statistic: str | None
    """None for a metric that is one number for the case."""
    threshold: Threshold
    expression: str
    """As written, white space joined."""
    scope: str = ""
    """Where it was written: ``--flperf-fail-on``, ``scenario``, ``default`` …"""
    category: str | None = None
    """Of quality: that of the prompts of one category; None: of all."""

    @property
    def subject(self) -> str:
        """The compared number: ``ttft_ms.p50``, ``tps_total``, ``quality.mean[maths]``."""
        name = f"{self.metric}.{self.statistic}" if self.statistic else self.metric
        return name if self.category is None else f"{name}[{self.category}]"

    @property
    def measure(self) -> str:
        """What is measured for it, request by request: ``ttft_ms``, ``quality[maths]``."""
        return self.metric if self.category is None else f"{self.metric}[{self.category}]"

    def holds_for(self, scenario: str) -> bool:
        """Whether it applies to this scenario; names are case-sensitive."""
        return self.scenarios is None or self.scenarios == scenario or fnmatch.fnmatchcase(scenario, self.scenarios)


def without_scenario(rules: Iterable[Rule], scenarios: Iterable[str]) -> str:
    """Say which rule matches no scenario of a run: it would never apply.

    Empty where each holds for one, and for a run without cases.
    """
    names = list(dict.fromkeys(scenarios))
    for rule in rules:
        if names and not any(map(rule.holds_for, names)):
            shown = printable(", ".join(names[:_NAMES]), 300)
            return f"rule {shorten(rule.expression, 120)} matches no scenario of the run, such as {shown}"
    return ""


def parse_rules(texts: Iterable[str], scope: str = "") -> tuple[Rule, ...]:
    """Parse the rules that were written in one place.

    Raises RuleError for the first bad one.
    """
    return tuple(parse_rule(text, scope) for text in texts)


def parse_rule(text: str, scope: str = "") -> Rule:
    """Parse one rule.

    Args:
        text: ``[scenario-glob:]metric[.statistic] (>|<) change [and change]``; a change is ``+10%`` (relative),
            ``+20ms`` (absolute, in a unit of the metric), or ``-10%`` where a fall is worse.
        scope: Where it was written; goes into the comparison.

    Raises:
        RuleError: For anything else; no text raises any other error.

    """
    operator = _find_operator(text)
    end, category = read_category(text, operator.start())
    scenarios, metric, statistic = _parse_subject(text, end)
    if category is not None and (problem := category_problem(metric, statistic, category, _OF_CATEGORIES)):
        raise RuleError(text, text.index("[", end), problem)
    subject = f"{metric.name}.{statistic}" if statistic else metric.name
    subject += "" if category is None else f"[{category}]"
    threshold = _parse_threshold(text, operator, metric, subject)
    return Rule(scenarios, metric.name, statistic, threshold, " ".join(text.split()), scope, category)


def _find_operator(text: str) -> re.Match[str]:
    """The comparison operator; the first where it is repeated behind ``and``."""
    if not text.strip():
        raise RuleError(text, 0, f"empty; expected {_FORM}")
    if len(text) > _LONGEST:
        raise RuleError(text, _LONGEST, f"longer than {_LONGEST} characters; expected {_FORM}")
    found = list(_OPERATORS.finditer(text))
    if not found:
        raise RuleError(text, len(text.rstrip()), f"no comparison found; expected {_FORM}")
    # The last one: a scenario's name may contain operators, what follows it only a repetition behind "and".
    operator = found[-1]
    if len(found) > 1 and _BETWEEN.fullmatch(text, found[-2].end(), operator.start()):
        operator = found[-2]
    if operator[0] not in (">", "<"):
        raise RuleError(
            text,
            operator.start(),
            f"found {shorten(operator[0])}, expected > or < and a change, such as > +10%; a fixed limit is a budget: "
            "give it with --flperf-budget",
        )
    return operator


def _parse_subject(text: str, end: int) -> tuple[str | None, Metric, str | None]:
    glob, colon, subject = text[:end].rpartition(":")
    start = len(glob) + len(colon) + len(subject) - len(subject.lstrip())
    name, dot, statistic = subject.strip().partition(".")
    name = name.rstrip()
    scenarios = " ".join(glob.split()) if colon else None
    if colon and not scenarios:
        raise RuleError(text, 0, "no scenario before the colon")
    if not name:
        raise RuleError(text, start, f"no metric before the comparison; expected {_FORM}")
    metric = _metric(text, start, name)
    if metric.per == "case":
        if dot:
            at = text.index(".", start)
            raise RuleError(text, at, f"{name} is one number per case and has no statistic; write {name} alone")
        return scenarios, metric, None
    if not dot:
        wish = f"such as {name}.p50; statistics are {', '.join(_COMPARED_STATISTICS)}"
        raise RuleError(text, start + len(name), f"{name} needs a statistic, {wish}")
    return scenarios, metric, _statistic(text, text.index(".", start) + 1, name, statistic.strip())


def _metric(text: str, start: int, name: str) -> Metric:
    if name == RUN_PREFIX:
        raise RuleError(text, start, "a run as a whole is not compared; write a rule on a metric of its cases")
    metric = METRICS.get(name)
    if metric is None:
        known = [each.name for each in METRICS.values() if each.per == "request" or each.name in COMPARED_CASE_METRICS]
        raise RuleError(text, start, f"unknown metric {shorten(name)}{nearest_metric(name, known)}")
    if metric.per == "resource":
        raise RuleError(
            text,
            start,
            f"{name} is a resource, read over time and not per request: nothing says how much it varies. Set a "
            "budget for it",
        )
    if metric.per == "case" and name not in COMPARED_CASE_METRICS:
        raise RuleError(
            text,
            start,
            f"{name} has one value per run: nothing says how much it varies. Set a budget for it; these numbers of a "
            f"case can be compared: {', '.join(COMPARED_CASE_METRICS)}",
        )
    return metric


def _statistic(text: str, at: int, metric: str, found: str) -> str:
    if found in _COMPARED_STATISTICS:
        return found
    if found == "n":
        raise RuleError(text, at, f"n only counts the requests; write {metric}.p50")
    if metric == "quality" and is_statistic(METRICS[metric], found) and found not in _COMPARED_STATISTICS:
        raise RuleError(text, at, f"{found} is for budgets; of quality its mean is compared: write {metric}.mean")
    common = {"median": "p50", "avg": "mean", "average": "mean", "std": "stdev", "sd": "stdev"}
    close = difflib.get_close_matches(found.lower()[:20], _COMPARED_STATISTICS, n=1)
    nearest = common.get(found.lower()) or "".join(close)
    hint = f"did you mean {nearest}? " if nearest else ""
    choice = f"statistics are {', '.join(_COMPARED_STATISTICS)}"
    raise RuleError(text, at, f"unknown statistic {shorten(found)} of {metric}; {hint}{choice}")


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of a rule, as read."""

    at: int
    share: float | None = None
    floor: float | None = None


def _parse_threshold(text: str, operator: re.Match[str], metric: Metric, subject: str) -> Threshold:
    begin = operator.end()
    parts = [begin, *(each.end() for each in _AND.finditer(text, begin))]
    ends = [*(each.start() for each in _AND.finditer(text, begin)), len(text)]
    if len(parts) > 2:
        raise RuleError(text, parts[2], "more than two changes; expected one relative and one absolute at most")
    changes = [_parse_change(text, *span, operator[0], metric, subject) for span in zip(parts, ends, strict=True)]
    shares = [each.share for each in changes if each.share is not None]
    floors = [each.floor for each in changes if each.floor is not None]
    if len(shares) > 1 or len(floors) > 1:
        kind = "relative" if len(shares) > 1 else "absolute"
        raise RuleError(text, changes[1].at, f"a second {kind} change; expected one relative and one absolute at most")
    return Threshold(
        share=shares[0] if shares else 0.0, floor=floors[0] if floors else 0.0, higher_is_worse=operator[0] == ">"
    )


def _parse_change(text: str, start: int, end: int, operator: str, metric: Metric, subject: str) -> _Change:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    if text[start : start + 1] == operator:  # written again behind "and"
        start += 1
        start += len(text[start:end]) - len(text[start:end].lstrip())
    stop = start + len(text[start:end].rstrip())
    found = text[start:stop]
    read = _STEP.fullmatch(text, start, stop)
    if not found or read is None or _DIGITS.fullmatch(read["number"]) is None:
        problem = f"found {shorten(found)}, expected a change such as +10%" if found else "no change; expected +10%"
        raise RuleError(text, start, problem)
    _check_direction(text, start, operator, read, metric, subject)
    return _change(text, start, stop, read, metric, operator)


def _check_direction(text: str, start: int, operator: str, read: re.Match[str], metric: Metric, subject: str) -> None:
    """Refuse a change that is never a regression of this metric.

    The error says what to write.
    """
    worse = {"lower": ">", "higher": "<"}.get(metric.better, operator)
    sign = _SIGNS[worse]
    write = shorten(f"{subject} {worse} {sign}{read['number']}{read['unit']}", 120)
    if operator != worse:
        grows = "grows" if worse == ">" else "falls"
        raise RuleError(text, start, f"{metric.name} gets worse when it {grows}; write {write}")
    if not read["sign"]:
        raise RuleError(text, start, f"a change needs its sign; write {write}")
    if read["sign"] != sign:
        raise RuleError(text, start, f"{operator} goes with {sign}; write {write}")


def _change(text: str, start: int, stop: int, read: re.Match[str], metric: Metric, operator: str) -> _Change:
    unit, size = read["unit"], read["number"]
    if not unit:
        example = f"{read['sign']}{size}"
        relative = f"{example}%" + (" (percentage points)" if metric.unit == "fraction" else "")
        absolute = (
            f" or {example}{metric.unit}" if metric.unit in {"ms", "s", "tokens", "tokens/s", "requests/s"} else ""
        )
        raise RuleError(text, start, f"a change needs its unit; write {relative}{absolute}")
    if unit == "%" and metric.unit != "fraction":
        share = float(size) / 100
        if not math.isfinite(share):
            raise RuleError(text, start, f"found {shorten(text[start:stop])}: the number is too large")
        if operator == "<" and share >= _FALLS_AT_MOST:
            raise RuleError(text, start, f"found {shorten(text[start:stop])}: nothing falls by 100 % or more")
        return _Change(start, share=share)
    try:
        floor = read_limit(text, read.start("number"), stop, metric)
    except BudgetError as error:
        raise RuleError(text, error.position, error.problem) from None
    return _Change(start, floor=floor)


DEFAULT_RULES: Final = parse_rules(("ttft_ms.p50 > +5%", "tpot_ms.p50 > +5%"), DEFAULT_SCOPE)
"""Rules where none was given.  These never fail a run."""
_ERRORS: Final = parse_rule("error_rate > +0%", IMPLIED_SCOPE)
_ERRORS_BY_DEFAULT: Final = parse_rule("error_rate > +0%", DEFAULT_SCOPE)


def rules_for(scenario: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules of one scenario, else :data:`DEFAULT_RULES`.

    ``error_rate > +0%`` is added unless one of them is on the error rate: a comparison of latencies must not overlook
    that fewer requests were answered.
    """
    chosen = tuple(rule for rule in rules if rule.holds_for(scenario)) or DEFAULT_RULES
    if any(rule.metric == "error_rate" for rule in chosen):
        return chosen
    return (*chosen, _ERRORS if any(map(is_gate, chosen)) else _ERRORS_BY_DEFAULT)


def is_gate(rule: Rule) -> bool:
    """Whether it fails a case that regressed."""
    return rule.scope != DEFAULT_SCOPE


def is_mean(rule: Rule) -> bool:
    """Whether it is on a mean, or on a rate.

    A rate is a mean over the time that it took.
    """
    return rule.metric not in COUNTED and rule.statistic in (None, "mean")


def is_score(rule: Rule) -> bool:
    """Whether it is on a mean score, such as ``quality.mean``, or a share of answers, such as ``malformed``.

    A score is a number from 0 to 1 that each request has.
    """
    return rule.metric in OF_CALLS or (rule.statistic == "mean" and METRICS[rule.metric].unit == "fraction")
