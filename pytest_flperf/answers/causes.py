"""Causes of failure: failed cases grouped by what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pytest_flperf._text import amount
from pytest_flperf.gates.format import failing, name
from pytest_flperf.gates.severity import failed_cases
from pytest_flperf.results.answer import Cause
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.records import BudgetVerdict, CaseResult

__all__ = ["causes_of"]

_LONGEST: Final = 300
_NUMBERS: Final = re.compile(r"\d+(\.\d+)?")


def causes_of(cases: Iterable[CaseResult]) -> tuple[Cause, ...]:
    """Why cases failed, worst first; each case counts once, with its first cause.

    What an interrupt cut off did not fail.
    """
    groups: dict[str, list[CaseResult]] = {}
    words: dict[str, str] = {}
    for case in failed_cases(case for case in cases if not (case.partial and case.outcome == "error")):
        cause = _cause(case)
        kind = _NUMBERS.sub("#", cause) if case.outcome == "error" else cause
        words.setdefault(kind, cause)
        groups.setdefault(kind, []).append(case)
    return tuple(
        Cause(words[kind], len(group), group[0].nodeid, _detail(group[0], words[kind]))
        for kind, group in groups.items()
    )


def _detail(case: CaseResult, cause: str) -> str:
    """The value that missed a budget, and where; of other causes the message."""
    for each in case.budgets:
        if not each.met and each.value is not None and cause == _missed(each):
            value = amount(each.value, unit_of(each.metric, each.statistic))
            return f"{value} in {case.scenario} on {case.model}"
    return case.message.partition("\n")[0][:_LONGEST]


def _missed(verdict: BudgetVerdict) -> str:
    return f"{verdict.expression} missed"


def _cause(case: CaseResult) -> str:
    """What went wrong first: nothing could be measured, requests failed, a gate, a budget, the test itself."""
    headline = (case.message.partition("\n")[0] or case.outcome)[:_LONGEST]
    if case.outcome == "error" or not case.requests.total:
        return headline
    if case.requests.failed and case.failures:
        worst = max(case.failures, key=lambda each: each.count)
        return f"{worst.outcome} {worst.status or ''}".strip()
    gates = failing(case)
    if gates:
        return f"{name(gates[0])} {gates[0].verdict}"
    missed = [_missed(each) for each in case.budgets if not each.met]
    return missed[0] if missed else headline
