"""Verdicts: outcomes of cases from budgets and comparisons, with reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Literal

from pytest_flperf._text import amount, printable
from pytest_flperf.gates.budgets import Budget
from pytest_flperf.gates.default_budget import evaluate
from pytest_flperf.gates.format import against_lines, failing, headline
from pytest_flperf.gates.hints import hint
from pytest_flperf.results.bounds import bounded_case, first_lines
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED, unit_of
from pytest_flperf.results.notes import labelled
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Failure, Measured

__all__ = ["NOT_MEASURED", "case_outcome", "judge", "missed_by", "verdict_text", "without_name"]

NOT_MEASURED: Final = "not measured: "
"""Prefix of the message of a case that was not begun."""

_AGAINST: Final = 5
_DETAIL: Final = 300
_BODY: Final = 300
_NAME: Final = 100
_REASON: Final = 200
_TROUBLE: Final = 160
_NOTES: Final = 10


def judge(case: Measured, budgets: Iterable[Budget]) -> CaseResult:
    """Judge a case: budget verdicts, outcome and message.

    Pure: it depends on the evidence and the budgets alone.  The outcome is ``passed`` or ``failed``.
    """
    judged = CaseResult.of(case, budgets=evaluate(case, budgets))
    outcome, message = case_outcome(judged)
    return replace(judged, outcome=outcome, message=message)


def missed_by(budgets: Iterable[Budget]) -> Callable[[Measured], str]:
    """A function that names the first budget that a result misses."""
    limits = tuple(budgets)

    def missed(case: Measured) -> str:
        judged = judge(case, limits)
        if judged.outcome == "passed":
            return ""
        verdicts = [verdict for verdict in judged.budgets if not verdict.met]
        return _missed(verdicts[0]) if verdicts else judged.message.partition("\n")[0]

    return missed


def case_outcome(case: CaseResult) -> tuple[Literal["passed", "failed"], str]:
    """``passed`` without a message, or ``failed`` with the whole text.

    A case fails on a missed budget, on no judged budget at all, on a comparison that a gate fails, and without any
    measured request that ended ``ok``.
    """
    met = bool(case.budgets) and all(verdict.met for verdict in case.budgets)
    if case.requests.ok and met and not failing(case):
        return "passed", ""
    return "failed", verdict_text(case)


def verdict_text(case: CaseResult, trouble: str = "") -> str:
    """Text of a failed item: budgets, comparisons, requests and doubts.

    Bounded, and free of control characters whatever a server sent.

    Args:
        case: Judged.
        trouble: Why fewer requests were measured than planned; one of the case's notes.

    """
    case = bounded_case(case)
    lines = [_headline(case, trouble)]
    lines += _budget_lines(case)
    for against in case.against[:_AGAINST]:
        lines += against_lines(against)
    if len(case.against) > _AGAINST:
        lines.append(f"  … and {len(case.against) - _AGAINST} more comparisons")
    lines += _request_lines(case)
    lines += first_lines([f"  {printable(labelled(note))}" for note in case.notes], _NOTES, "notes")
    return "\n".join(lines)


def without_name(case: CaseResult) -> str:
    """Message of a case without its name, for where that stands already."""
    return case.message.removeprefix(f"{_name(case)}: ")


def _name(case: Measured) -> str:
    return f"{printable(case.scenario, _NAME)} on {printable(case.model, _NAME)}"


def _headline(case: CaseResult, trouble: str) -> str:
    what = _name(case)
    if not case.requests.total:
        return f"{what}: not one request was measured" + (f": {printable(trouble, _TROUBLE)}" if trouble else "")
    if not case.requests.ok:
        all_of_them = "the only request" if case.requests.total == 1 else f"all {case.requests.total} requests"
        return f"{what}: {all_of_them} failed{_mostly(case)}"
    if not case.budgets:
        return f"{what}: no budget was judged"
    missed = [f"missed {_missed(verdict)}" for verdict in case.budgets if not verdict.met]
    faults = [*missed, *(headline(each) for each in failing(case))]
    if not faults:
        return f"{what}: {printable(trouble, _TROUBLE)}" if trouble else what
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{what}: {faults[0]}{more}"


def _mostly(case: CaseResult) -> str:
    """The most frequent failure, in few words."""
    if not case.failures:
        return ""
    first = case.failures[0]
    said = printable(first.detail, _TROUBLE) if first.detail else ""
    return f": {printable(first.outcome, 40)}" + (f" ({said})" if said else "")


def _missed(verdict: BudgetVerdict) -> str:
    """A missed budget in few words.

    This line is all that pytest's short summary shows.
    """
    unit = unit_of(verdict.metric, verdict.statistic)
    value = _unmeasured(verdict) or amount(verdict.value, unit)
    return f"{printable(verdict.expression, 60)} ({value})"


def _budget_lines(case: CaseResult) -> list[str]:
    rows = []
    for verdict in case.budgets:
        unit = unit_of(verdict.metric, verdict.statistic)
        rows.append(
            (
                "met   " if verdict.met else "MISSED",
                printable(verdict.expression, 120),
                f"limit {amount(verdict.limit, unit)}",
                _value(verdict, unit),
                f"n {verdict.n}"
                + _doubt(case, verdict, unit)
                + (f"  {printable(verdict.reason, _REASON)}" * bool(verdict.reason))
                + (f"  ({printable(verdict.scope, _NAME)})" * bool(verdict.scope)),
            )
        )
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return ["  " + "  ".join([*(row[i].ljust(widths[i]) for i in range(4)), row[4]]) for row in rows]


def _value(verdict: BudgetVerdict, unit: str) -> str:
    return "not measured" if verdict.value is None else f"value {amount(verdict.value, unit)}"


def _unmeasured(verdict: BudgetVerdict) -> str:
    """Why there is no value; empty where there is one."""
    if verdict.value is not None:
        return ""
    return f"not measured: {printable(verdict.reason, _REASON)}" if verdict.reason else "nothing measured"


def _doubt(case: CaseResult, verdict: BudgetVerdict, unit: str) -> str:
    """Doubt about a percentile of too few requests.

    With its interval where it has one.
    """
    distribution = case.metrics.get(verdict.metric)
    statistic = verdict.statistic or ""
    if distribution is None or statistic not in distribution.unsure:
        return ""
    interval = distribution.interval(statistic)
    between = f"95 % interval {amount(interval[0], unit)} to {amount(interval[1], unit)}" if interval else "no interval"
    return f"  ~ unsure: {statistic} needs {REQUESTS_NEEDED.get(statistic, 0)} requests; {between}"


def _request_lines(case: CaseResult) -> list[str]:
    requests = case.requests
    lines: list[str] = []
    if requests.failed:
        ends = ", ".join(f"{count} × {printable(name, 40)}" for name, count in requests.by_outcome.items())
        again = f"; {requests.recovered} recovered by a retry" if requests.retries else ""
        lines.append(
            f"  requests: {requests.total} measured, {requests.ok} ok, {requests.failed} failed ({ends}){again}"
        )
    more = requests.failed - sum(failure.count for failure in case.failures)
    if case.failures and more > 0:
        lines.append(f"  {_count(more, 'more failed request')} of kinds that are not listed here; see samples.jsonl")
    for failure in case.failures:
        lines += _failure_lines(failure)
        advice = hint(failure, case)
        lines += [f"      {printable(advice, _DETAIL)}"] if advice else []
    if requests.late_reads:
        lines.append(
            f"  late reads: {requests.late_reads} of {_count(requests.ok, 'request')} with a TTFT that is "
            "an upper bound only; they are in no TTFT above"
        )
    if requests.clock_steps:
        lines.append(
            f"  clock steps: {_count(requests.clock_steps, 'request')} left out of timing; the machine's clock moved"
        )
    return lines


def _failure_lines(failure: Failure) -> list[str]:
    status = "" if failure.status is None else f", HTTP {failure.status}"
    detail = f": {printable(failure.detail, _DETAIL)}" if failure.detail else ""
    lines = [f"  {failure.count} × {printable(failure.outcome, 40)}{status}{detail}"]
    if failure.body_head:
        lines.append(f"      body: {printable(failure.body_head, _BODY)}")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
