"""Budgets: ``[scenario-glob][@model-glob]:metric[.statistic] <= number[unit]``, judged against a case.

``ttft_ms.p95 <= 500``, ``short-*@qwen*: tps.p50 >= 20``, ``error_rate <= 1%``,
``max_concurrency(ttft_ms.p95 <= 500) >= 8``.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_flperf.gates.budget_grammar import (
    COMPARE,
    BudgetError,
    Operator,
    category_problem,
    find_operator,
    read_category,
    read_limit,
    read_metric,
    read_subject,
)
from pytest_flperf.gates.not_measured import UPPER_BOUND, is_upper_bound, why_not_measured
from pytest_flperf.gates.quality_budgets import (
    OF_CATEGORIES,
    category_of,
    is_over_prompts,
    missed_words,
    quality_of,
    why_unknown,
    why_unknown_category,
)
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.metrics import METRICS, OF_CALLS
from pytest_flperf.results.records import BudgetVerdict, Measured, Requests
from pytest_flperf.stats.inference.failure_bounds import requests_needed, upper_bound

__all__ = [
    "OF_SEARCHES",
    "Budget",
    "BudgetError",
    "grows_with_load",
    "holding",
    "parse_budget",
    "parse_budgets",
    "same_number",
]

OF_SEARCHES: Final[Mapping[str, str]] = {"max_concurrency": "concurrency", "max_rate": "rate"}
"""Metrics that a search finds, and the load setting that the search varies."""
_GROWING: Final = frozenset({"goodput", "request_rate", "sent_rate", "offered_rate", "tps_total"})
_SCORED: Final = frozenset({*OF_CALLS, "quality", "cost_per_right", "energy_per_right_j", "quality_per_1k_reasoning"})
"""Metrics of scores, which say nothing of answers without one."""
_BETWEEN: Final = re.compile(r",|&&?|\band\b", re.IGNORECASE)
_PATTERN: Final = re.compile(r"[*?\[]")
_Subject: TypeAlias = tuple[str, str | None, str | None, tuple[str, ...], bool]


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
    """In the metric's own unit, or the statistic's (``cv`` is a fraction)."""
    expression: str
    """As written, white space joined."""
    scope: str = ""
    """Where it was written: ``scenario``, ``suite``, ``--flperf-budget``, ``default`` …"""
    models: str | None = None
    """Glob of the models that it holds for; None: all."""
    conditions: tuple[Budget, ...] = ()
    """For a metric of a search: the limits that it searches under, in place of the case's own on the same numbers."""
    category: str | None = None
    """Of quality: that of the prompts of one category; None: of all."""

    def holds_for(self, scenario: str) -> bool:
        """Whether it applies to this scenario; names are case-sensitive."""
        return _fits(scenario, self.scenarios)

    def holds_for_model(self, model: str) -> bool:
        """Whether it applies to this model, by its name in the results."""
        return _fits(model, self.models)

    @property
    def condition_texts(self) -> tuple[str, ...]:
        """Its conditions, as written."""
        return tuple(each.expression for each in self.conditions)

    def judge(self, case: Measured) -> BudgetVerdict:
        """The verdict on a case; an unmeasured metric misses the budget."""
        value, n = _value(case, self)
        if self.metric in _SCORED and case.not_scored:
            value = None  # the mean of the scored answers says nothing about the others
        if is_upper_bound(case, self.metric) and self.operator in {">=", ">"}:
            value = None
        met = value is not None and COMPARE[self.operator](value, self.limit)
        return BudgetVerdict(
            expression=self.expression,
            limit=self.limit,
            value=value,
            n=n,
            met=met,
            scope=self.scope,
            metric=self.metric,
            statistic=self.statistic,
            reason=_reason(case, self, value, met=met),
            infinite=value is not None and math.isinf(value),
            category=self.category or "",
        )


def _value(case: Measured, budget: Budget) -> tuple[float | None, int]:
    if budget.metric in OF_SEARCHES:
        return _found(case, budget)
    if budget.category is not None:
        return category_of(case, budget.statistic or "", budget.category)
    return _measured(case, budget.metric, budget.statistic)


def _fits(name: str, glob: str | None) -> bool:
    return glob is None or glob == name or fnmatch.fnmatchcase(name, glob)


def _reason(case: Measured, budget: Budget, value: float | None, *, met: bool) -> str:
    """Reason for a missing number, or for a bad one, if known."""
    if budget.metric in _SCORED and case.not_scored:
        return case.not_scored_words
    if value is None:
        return _absence(case, budget)
    if met and not math.isinf(value):
        return ""
    if budget.statistic == "n" and not value:
        return why_not_measured(case, budget.metric)
    if math.isinf(value):
        return f"{case.requests.failed} of {case.requests.total} requests failed and count as infinitely slow"
    return _why_missed(case, budget)


def _why_missed(case: Measured, budget: Budget) -> str:
    """What is behind a number that misses its budget."""
    if budget.statistic == "upper95":
        return _too_few(case, budget)
    if budget.metric == "quality" and is_over_prompts(budget.statistic):
        return missed_words(case, budget.statistic or "", budget.limit, budget.category)
    return UPPER_BOUND if is_upper_bound(case, budget.metric) else ""


def _absence(case: Measured, budget: Budget) -> str:
    """Reason for a missing number."""
    metric = budget.metric
    if budget.category is not None and (why := why_unknown_category(case, budget.category)):
        return why
    if is_upper_bound(case, metric):
        return UPPER_BOUND
    if metric == "quality" and is_over_prompts(budget.statistic) and (why := why_unknown(case, budget.statistic or "")):
        return why
    if metric in OF_SEARCHES:
        return f"only a search finds it: load: search, search_over: {OF_SEARCHES[metric]}"
    if budget.statistic in {"cv", "stdev"} and metric in case.metrics:
        return f"{budget.statistic} needs two values" + (" and a mean over 0" if budget.statistic == "cv" else "")
    return why_not_measured(case, metric)


def _too_few(case: Measured, budget: Budget) -> str:
    requests = case.requests
    failed, what = requests.failed, "failed"
    if budget.metric == "timeout_rate":
        failed, what = requests.timeouts, "timed out"
    seen = f"{failed or 'none'} of {requests.total} requests {what}"
    needed = requests_needed(budget.limit)
    if needed is None or budget.operator in {">=", ">"}:
        return seen
    return f"{seen}; proving the limit takes {needed} of which none does"


def parse_budgets(texts: Iterable[str], scope: str = "") -> tuple[Budget, ...]:
    """Parse the budgets that were written in one place.

    Raises BudgetError for the first bad one.
    """
    return tuple(parse_budget(text, scope) for text in texts)


def parse_budget(text: str, scope: str = "") -> Budget:
    """Parse one budget.

    Args:
        text: ``[scenario-glob][@model-glob]:metric[.statistic] (<=|<|>=|>) number[unit]``; a metric of a search may
            have conditions in parentheses behind it.
        scope: Where it was written; goes into the verdict.

    Raises:
        BudgetError: For anything else; no text raises any other error.

    """
    operator = find_operator(text)
    end, category = read_category(text, operator.start())
    subject, inside = read_subject(text, end), None
    if category is None:
        end, inside = _parentheses(text, subject.start, operator)
    metric, statistic = read_metric(text, subject.start, end)
    if category is not None and (problem := category_problem(metric, statistic, category, OF_CATEGORIES)):
        raise BudgetError(text, text.index("[", end), problem)
    conditions: tuple[Budget, ...] = ()
    if inside is not None:
        if metric.name not in OF_SEARCHES:
            known = " and ".join(OF_SEARCHES)
            raise BudgetError(text, inside[0] - 1, f"only {known} take conditions, {metric.name} does not")
        conditions = tuple(_conditions(text, *inside, scope))
    limit = read_limit(text, operator.end(), len(text), metric, statistic)
    return Budget(
        subject.scenarios,
        metric.name,
        statistic,
        operator[0],  # type: ignore[arg-type]
        limit,
        " ".join(text.split()),
        scope,
        subject.models,
        conditions,
        category,
    )


def _parentheses(text: str, start: int, operator: re.Match[str]) -> tuple[int, tuple[int, int] | None]:
    """Where the metric ends, and the span of the conditions; raises BudgetError."""
    subject = text[start : operator.start()]
    opened, closed = subject.find("("), subject.rfind(")")
    if opened < 0:
        if closed >= 0:
            problem = "found ')' without '('; a scenario goes first: NAME: max_concurrency(ttft_ms.p95<=500) >= 8"
            raise BudgetError(text, start + closed, problem)
        return operator.start(), None
    if closed < opened:
        example = "such as max_concurrency(ttft_ms.p95<=500) >= 8"
        if ")" in text[operator.end() :]:
            raise BudgetError(text, len(text.rstrip()), f"no comparison after the conditions; expected {example}")
        raise BudgetError(text, start + opened, f"no ')' for this '('; expected {example}")
    rest = subject[closed + 1 :]
    if rest.strip():
        at = start + closed + 1 + len(rest) - len(rest.lstrip())
        raise BudgetError(text, at, "expected the comparison after the conditions")
    return start + opened, (start + opened + 1, start + closed)


def _conditions(text: str, start: int, end: int, scope: str) -> Iterator[Budget]:
    """The conditions between ``start`` and ``end``; raises BudgetError."""
    separators = [(each.start(), each.end()) for each in _BETWEEN.finditer(text, start, end)]
    begins = [start, *(after for _, after in separators)]
    for begin, stop in zip(begins, [*(before for before, _ in separators), end], strict=True):
        if not text[begin:stop].strip():
            raise BudgetError(text, begin, "found no condition here, expected one such as ttft_ms.p95<=500")
        operator = find_operator(text, begin, stop)
        metric, statistic = read_metric(text, begin, operator.start())
        limit = read_limit(text, operator.end(), stop, metric, statistic)
        name = metric.name if statistic is None else f"{metric.name}.{statistic}"
        number = " ".join(text[operator.end() : stop].split())
        sign: Operator = operator[0]  # type: ignore[assignment]
        found = Budget(None, metric.name, statistic, sign, limit, f"{name} {sign} {number}", scope)
        if metric.name in OF_SEARCHES or grows_with_load(found):
            problem = f"{found.expression} can't be a condition: a low load does not make it hold"
            raise BudgetError(text, begin, f"{problem}; make it a separate budget")
        yield found


DEFAULT_BUDGET: Final = parse_budget("error_rate <= 0", "default")


def same_number(one: Budget, other: Budget) -> bool:
    """Whether two budgets limit the same number from the same side."""
    return _subject(one) == _subject(other)


def _subject(budget: Budget) -> _Subject:
    at_most = budget.operator in {"<=", "<"}
    return budget.metric, budget.statistic, budget.category, budget.condition_texts, at_most


def grows_with_load(budget: Budget) -> bool:
    """Whether it demands throughput, which a low load can't give.

    Such a budget is no limit for a search; it is judged at the load that the search finds.
    """
    return budget.metric in _GROWING and budget.operator in {">=", ">"}


def holding(scenario: str, budgets: Iterable[Budget], model: str = "") -> tuple[Budget, ...]:
    """The budgets of one scenario and model, without the default one.

    Of the budgets on the same number from the same side, the most specific ones for the model apply: those with its
    exact name, else those with a matching pattern, else those for all models.
    """
    chosen = [budget for budget in budgets if budget.holds_for(scenario) and budget.holds_for_model(model)]
    most: dict[_Subject, int] = {}
    for budget in chosen:
        most[_subject(budget)] = max(most.get(_subject(budget), 0), _particular(budget, model))
    return tuple(budget for budget in chosen if _particular(budget, model) == most[_subject(budget)])


def _particular(budget: Budget, model: str) -> int:
    if budget.models is None:
        return 0
    return 2 if budget.models == model or not _PATTERN.search(budget.models) else 1


def applicable(scenario: str, budgets: Iterable[Budget], model: str = "") -> tuple[Budget, ...]:
    """The budgets of one scenario and model, with the default one.

    The default, ``error_rate <= 0``, is left out where one of them limits the error rate.
    """
    chosen = holding(scenario, budgets, model)
    limited = any(budget.metric == "error_rate" and budget.operator in {"<=", "<"} for budget in chosen)
    return chosen if limited else (*chosen, DEFAULT_BUDGET)


def _found(case: Measured, budget: Budget) -> tuple[float | None, int]:
    """Highest load found under a budget's conditions, and its request count."""
    searches = [] if case.search is None else [case.search, *case.searches]
    for search in searches:
        if search.over == OF_SEARCHES[budget.metric] and search.conditions == budget.condition_texts:
            return search.highest or 0.0, _requests(search)
    return None, 0


def _requests(search: Search) -> int:
    """Requests behind the number that a search found.

    They are those of the highest load that met its limits.
    """
    at = search.highest if search.highest is not None else search.steps[0].load if search.steps else None
    return sum(step.requests for step in search.steps if step.load == at)


def _measured(case: Measured, metric: str, statistic: str | None) -> tuple[float | None, int]:
    """The number that a budget limits, and its count of values."""
    if statistic == "upper95":
        return _upper_bound(case.requests, metric)
    if metric == "quality" and statistic is not None and is_over_prompts(statistic):
        return quality_of(case, statistic)
    if statistic is not None:
        measured = (case.resources if METRICS[metric].per == "resource" else case.metrics).get(metric)
        if measured is None:
            return (0.0 if statistic == "n" else None), 0
        return measured.statistic(statistic), measured.n
    return _one_number(case, metric)


def _upper_bound(requests: Requests, metric: str) -> tuple[float | None, int]:
    failed = requests.timeouts if metric == "timeout_rate" else requests.failed
    return (upper_bound(failed, requests.total) if requests.total else None), requests.total


def _one_number(case: Measured, metric: str) -> tuple[float | None, int]:
    requests = case.requests
    if metric == "download_s" and case.load_s is not None:
        return case.download_s or 0.0, 1  # cached files took no time to download
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
    if metric in OF_CALLS:
        return value, case.tool_calls.answers if case.tool_calls is not None else 0
    return (None if value is None else float(value)), requests.total
