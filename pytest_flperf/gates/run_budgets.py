"""Run budgets: ``run.metric <= number[unit]``, judged after the last case.

``run.error_rate <= 1%``, ``run.wall_s <= 15min``, ``run.cases_failed <= 0``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_flperf._text import amount, printable, shorten
from pytest_flperf.gates.budget_grammar import (
    COMPARE,
    RUN_PREFIX,
    BudgetError,
    Operator,
    find_operator,
    nearest_metric,
    read_limit,
)
from pytest_flperf.gates.not_measured import UPPER_BOUND
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.records import BudgetVerdict, CaseResult
from pytest_flperf.results.run_cost import run_cost
from pytest_flperf.results.run_metrics import RUN_METRICS

__all__ = ["RunBudget", "is_run_budget", "parse_run_budget", "parse_run_budgets", "run_verdict_text"]

_SCOPE: Final = "--flperf-budget"


@dataclass(frozen=True, slots=True)
class RunBudget:
    """A limit on one number of a run."""

    metric: str
    """With its ``run.`` in front."""
    operator: Operator
    limit: float
    """In the metric's own unit."""
    expression: str
    """As written, white space joined."""

    def judge(self, cases: Sequence[CaseResult], wall_s: float) -> BudgetVerdict:
        """The verdict; a rate without any measured request misses the budget."""
        value, n = _measured(self.metric, cases, wall_s)
        bound = self.metric == "run.cost" and run_cost(cases).at_most
        if bound and self.operator in {">=", ">"}:
            value = None
        return BudgetVerdict(
            expression=self.expression,
            limit=self.limit,
            value=value,
            n=n,
            met=(met := value is not None and COMPARE[self.operator](value, self.limit)),
            scope=_SCOPE,
            metric=self.metric,
            reason="" if met else UPPER_BOUND if bound else "" if value is not None else _absence(self.metric, cases),
        )


def is_run_budget(text: str) -> bool:
    """Whether the text is meant as a run budget, right or wrong."""
    return text.partition(".")[0].strip() == RUN_PREFIX and ":" not in text  # a scenario may be called run.1


def parse_run_budgets(texts: Iterable[str]) -> tuple[RunBudget, ...]:
    """Parse the run budgets among ``texts``.

    Raises BudgetError for the first bad one.
    """
    return tuple(parse_run_budget(text) for text in texts if is_run_budget(text))


def parse_run_budget(text: str) -> RunBudget:
    """Parse ``run.metric (<=|<|>=|>) number[unit]``; raises BudgetError."""
    operator = find_operator(text)
    subject = "".join(text[: operator.start()].split())
    metric = RUN_METRICS.get(subject)
    if metric is None:
        position = len(text) - len(text.lstrip())
        raise BudgetError(text, position, f"unknown metric {shorten(subject)}{nearest_metric(subject, RUN_METRICS)}")
    limit = read_limit(text, operator.end(), len(text), metric)
    return RunBudget(metric.name, operator[0], limit, " ".join(text.split()))  # type: ignore[arg-type]


def run_verdict_text(verdicts: Sequence[BudgetVerdict]) -> str:
    """A headline, then a line per budget with limit, value and n."""
    missed = [verdict for verdict in verdicts if not verdict.met]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        headline = f"the run missed {printable(missed[0].expression, 60)} ({_value(missed[0])}){more}"
    else:
        headline = "the run met its budgets"
    return "\n".join([headline, *map(_line, verdicts)])


def _line(verdict: BudgetVerdict) -> str:
    limit = amount(verdict.limit, unit_of(verdict.metric))
    met = "met   " if verdict.met else "MISSED"
    return f"  {met}  {printable(verdict.expression, 120)}  limit {limit}  value {_value(verdict)}  n {verdict.n}"


def _value(verdict: BudgetVerdict) -> str:
    return amount(verdict.value, unit_of(verdict.metric)) if verdict.value is not None else verdict.reason


def _absence(metric: str, cases: Sequence[CaseResult]) -> str:
    """Why a number of the run was not measured."""
    return run_cost(cases).reason if metric == "run.cost" else "not one request was measured"


def _measured(metric: str, cases: Sequence[CaseResult], wall_s: float) -> tuple[float | None, int]:
    """The number that a budget limits, and its requests or cases."""
    requests = sum(case.requests.total for case in cases)
    failed = sum(case.requests.failed for case in cases)
    timeouts = sum(case.requests.timeouts for case in cases)
    lost = sum(case.outcome in ("failed", "error") for case in cases)
    values: dict[str, tuple[float | None, int]] = {
        "run.error_rate": (failed / requests if requests else None, requests),
        "run.timeout_rate": (timeouts / requests if requests else None, requests),
        "run.failed": (float(failed), requests),
        "run.cost": (run_cost(cases).spent, requests),
        "run.late_reads": (float(sum(case.requests.late_reads for case in cases)), requests),
        "run.cases_failed": (float(lost), len(cases)),
        "run.wall_s": (wall_s, len(cases)),
    }
    return values[metric]
