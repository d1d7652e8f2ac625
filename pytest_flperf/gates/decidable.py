"""Limits of a comparison before it is measured: what its size can't decide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pytest_flperf.gates.rules import COUNTED, DEFAULT_SCOPE, IMPLIED_SCOPE, Rule, is_score
from pytest_flperf.results.metrics import REQUESTS_NEEDED
from pytest_flperf.stats.decidable import fewest_losses, fewest_to_exclude
from pytest_flperf.stats.findings import ErrorRates
from pytest_flperf.stats.schedule import spent_at

__all__ = ["Planned", "limits_of", "told"]

MEAN_REQUESTS: Final = 90
"""Of a side, from which on a mean can be said to be unchanged: a tail of one request in twenty shows by then."""
_LEAST_EVIDENCE: Final = 6
_FEWEST_RUNS: Final = 3
_RULES_SHOWN: Final = 3
_EXTREMES: Final = ("min", "max")


@dataclass(frozen=True, slots=True)
class Planned:
    """How much a case is going to have at most."""

    requests: int
    """Of each side."""
    prompts: int
    """Of its requests, so many different prompts; all requests where repeats are answered anew."""
    looks: tuple[int, ...] = ()
    """Pairs of turns at each look; none against a stored run."""
    runs: int | None = None
    """Stored runs of the case; None: not known yet, or measured in turns."""

    @property
    def in_turns(self) -> bool:
        """Whether both sides are measured in turn."""
        return bool(self.looks)


def limits_of(rule: Rule, planned: Planned, rates: ErrorRates) -> tuple[str, ...]:
    """What can't come of a rule, a sentence each; none where each word can.

    Args:
        rule: As written; of those that nobody wrote nothing is said.
        planned: How much data there will be at most.
        rates: How often the decisions of the run may be wrong.

    """
    if rule.scope in (DEFAULT_SCOPE, IMPLIED_SCOPE) or rule.metric in COUNTED:
        return ()
    needed = REQUESTS_NEEDED.get(rule.statistic or "", 0)
    if planned.requests < needed:
        return (f"{rule.statistic} takes {needed} requests a side, and {planned.requests} are the most: raise "
                + _more_requests(planned),)  # fmt: skip
    if is_score(rule):
        return tuple(_of_scores(rule, planned, rates))
    return tuple(_of_turns(rule, planned, rates) if planned.in_turns else _of_runs(rule, planned, rates))


def told(found: Iterable[tuple[Rule, Iterable[str]]]) -> tuple[str, ...]:
    """A line for each kind of limit, with the rules that it is of."""
    by_limit: dict[str, dict[str, int]] = {}
    for rule, limits in found:
        for each in limits:
            rules = by_limit.setdefault(each, {})
            rules[rule.expression] = rules.get(rule.expression, 0) + 1
    return tuple(f"{_named(rules)}: {limit}" for limit, rules in by_limit.items())


def _named(rules: dict[str, int]) -> str:
    more = f" and {len(rules) - _RULES_SHOWN} more rules" if len(rules) > _RULES_SHOWN else ""
    cases = max(rules.values())
    where = f" ({cases} cases)" if cases > 1 else ""
    return ", ".join(list(rules)[:_RULES_SHOWN]) + more + where


def _of_turns(rule: Rule, planned: Planned, rates: ErrorRates) -> Iterator[str]:
    """Of latencies, speeds and token counts of two sides in turn."""
    threshold, pairs, last = rule.threshold, planned.looks[-1], len(planned.looks)
    if not any(2.0**-n <= rates.alarm_level(spent_at(look, last)) for look, n in enumerate(planned.looks, 1)):
        takes = math.ceil(-math.log2(rates.alarm_level(spent_at(last, last))))
        yield (
            f"{pairs} pairs of turns can't show a regression among {rates.comparisons} comparisons, which takes "
            f"{takes}: raise {_more_requests(planned)}, or compare less"
        )
    if not threshold.share and not threshold.floor:
        yield "any change: two equal sides stay undecided; allow a change such as 2 % to see them unchanged"
    elif rule.statistic == "mean" and planned.requests < MEAN_REQUESTS:
        yield (
            f"a mean ends as unchanged from {MEAN_REQUESTS} requests a side on, and {planned.requests} are the most: "
            f"raise {_more_requests(planned)}"
        )


def _of_scores(rule: Rule, planned: Planned, rates: ErrorRates) -> Iterator[str]:
    """Of quality."""
    spent = spent_at(len(planned.looks), len(planned.looks)) if planned.in_turns else 1.0
    points, n = rule.threshold.floor, min(planned.prompts, planned.requests)
    what = f"{n} prompt{'s' * (n != 1)}" if n < planned.requests else f"{n} requests a side"
    more = "add prompts" if n < planned.requests else f"raise {_more_requests(planned)}"
    if n < _LEAST_EVIDENCE:
        yield f"greedy repeats that are answered alike count once, and {what} can't tell anything: {more}"
        return
    losses = fewest_losses(n, points, rates.alarm_level(spent))
    if losses is None:
        yield f"{what} can't show a regression among {rates.comparisons} comparisons: {more}, or compare less"
    if not points:
        yield "any fall: two equal sides stay undecided; allow a fall such as 2 % to see them unchanged"
        return
    fewest = fewest_to_exclude(points, rates.false_pass * spent)
    if fewest is not None and fewest > n:
        seen = "" if losses is None else f"; a regression takes {losses} worse answers at least"
        yield (
            f"unchanged takes {fewest} of them without any difference, and there are {what}: {more}, or allow more"
            f"{seen}"
        )


def _of_runs(rule: Rule, planned: Planned, rates: ErrorRates) -> Iterator[str]:
    """Of anything else against a stored run."""
    if rule.statistic in _EXTREMES:
        yield "min and max rest on single requests; two runs can't tell them apart: measure in turns (--flperf-against)"
        return
    if planned.runs is None or planned.runs >= _FEWEST_RUNS:
        return
    stored = f"{planned.runs} stored run{'s' * (planned.runs != 1)}"
    if rule.statistic is None:
        yield (
            f"one number for a case takes {_FEWEST_RUNS} stored runs to know how much it varies, and there are {stored}"
        )
        return
    least = _least_growth(rates)
    yield (
        f"with {stored} nothing below {least} beyond the limit can be told from what runs differ by: store more runs, "
        "or measure in turns (--flperf-against)"
    )


def _least_growth(rates: ErrorRates) -> str:
    """The smallest growth that shows on a machine of which nothing is known."""
    from pytest_flperf.stats.runs import UNKNOWN_MACHINE
    from pytest_flperf.stats.student import t_quantile

    reach = t_quantile(1 - rates.alarm_level(), UNKNOWN_MACHINE.runs) * math.sqrt(2) * UNKNOWN_MACHINE.sd_log
    return f"about {100 * math.expm1(reach):.0f} %"


def _more_requests(planned: Planned) -> str:
    return "--flperf-max-iterations" if planned.in_turns else "iterations"
