"""Trend gate: whether the newest number of a case differs from where it began.

As ``flperf compare`` judges two stored runs: by what runs of the same case on the same machine differ by, and corrected
for the number of cases.  Nothing is said of another machine, or of other conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_flperf.gates.baseline_gate import BaselineGate, holm_corrected
from pytest_flperf.gates.counterparts import Query
from pytest_flperf.gates.rules import COUNTED, Rule, RuleError, parse_rules, rules_for
from pytest_flperf.history.case_history import StoreHistory
from pytest_flperf.history.clocks import latest_start
from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.stats.inference.findings import ErrorRates

if TYPE_CHECKING:
    from pytest_flperf.gates.counterparts import Counterpart
    from pytest_flperf.history.baseline import FoundBaseline
    from pytest_flperf.history.series import Number
    from pytest_flperf.history.store import Store
    from pytest_flperf.history.trends import Trend
    from pytest_flperf.results.comparison import Comparison
    from pytest_flperf.results.records import CaseResult

__all__ = ["CHANGE_PCT", "judged_trends"]

CHANGE_PCT: Final = 5
"""A change for the worse by more is a regression: as in the default rules of comparisons."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """The newest case of a trend, and where it began."""

    found: FoundBaseline
    case: CaseResult
    gate: BaselineGate
    other: Counterpart


def judged_trends(store: Store, number: Number, trends: Sequence[Trend]) -> list[Comparison | None]:
    """The comparison of each trend's newest number with its start; None where the two can't be compared.

    Raises StoreError and BaselineError where their runs can't be read.
    """
    rule = _rule(number)
    if rule is None:
        return [None] * len(trends)
    runs: dict[str, FoundBaseline] = {}
    pairs = [_pair(store, trend, runs) for trend in trends]
    comparable = [pair for pair in pairs if pair is not None]
    rates = ErrorRates(comparisons=max(sum(len(rules_for(pair.case.scenario, [rule])) for pair in comparable), 1))
    judged = iter(holm_corrected([_judged(pair, rule, rates) for pair in comparable], rates))
    return [None if pair is None else _of_rule(next(judged), rule) for pair in pairs]


def _rule(number: Number) -> Rule | None:
    """The rule for a number; None for one that runs aren't compared by."""
    better = METRICS[number.metric].better
    if better == "neither" or number.metric in COUNTED:
        return None
    change = f"< -{CHANGE_PCT}%" if better == "higher" else f"> +{CHANGE_PCT}%"
    try:
        (rule,) = parse_rules([f"{number.name} {change}"], "trend")
    except RuleError:
        return None
    return rule


def _pair(store: Store, trend: Trend, runs: dict[str, FoundBaseline]) -> _Pair | None:
    start, last = trend.start, trend.last
    if start is None or start.run == last.run or start.machine != last.machine:
        return None
    reader = StoreHistory(store, runs=runs)
    found, baseline = reader.run(last.run), reader.run(start.run)
    same = [each for each in found.run.cases if (each.nodeid, each.host) == (last.nodeid, last.host)]
    if not same:
        return None
    case = same[0]
    history = StoreHistory(store, found.run.started_at, found.run.id, runs)
    gate = BaselineGate(start.run, baseline, history, Query(latest_start()))
    other = gate.counterpart(case, found.run)
    if other.case is None or other.case.host != case.host or conditions_of(other.case) != conditions_of(case):
        return None
    return _Pair(found, case, gate, other)


def _judged(pair: _Pair, rule: Rule, rates: ErrorRates) -> CaseResult:
    case = pair.case
    values = pair.found.values.get((case.nodeid, case.host), {})
    return replace(case, against=(pair.gate.against(case, pair.found.run, pair.other, values, [rule], rates),))


def _of_rule(case: CaseResult, rule: Rule) -> Comparison | None:
    compared: Iterable[Comparison] = (each for against in case.against for each in against.comparisons)
    return next((each for each in compared if each.rule == rule.expression), None)
