"""Failure rates of two sides: fail closed, else tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_flperf.gates.rules import Rule
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.findings import ErrorRates, Finding

if TYPE_CHECKING:
    from pytest_flperf.stats.inference.proportions import Counts

__all__ = ["by_totals", "judge_failures"]


def judge_failures(case: Measured, other: Measured, rule: Rule, judged: Callable[[Counts, Counts], Finding]) -> Finding:
    """Judge the failed (or timed-out) requests of all.

    Without a test where that suffices, else by ``judged``.
    """
    from pytest_flperf.stats.inference.proportions import Counts, without_a_test

    field = {"error_rate": "failed", "timeout_rate": "timeouts"}[rule.metric]
    mine, theirs = (Counts(getattr(each.requests, field), each.requests.total) for each in (case, other))
    finding = without_a_test(theirs, mine) or judged(theirs, mine)
    if finding.word == "undecided" and mine.total and theirs.total and not mine.failed:
        # No test can exclude a small rise, but none of the candidate's requests failed.
        reason = "none of the candidate's requests failed" if theirs.failed else "nothing failed"
        return replace(
            finding, word="unchanged", probability=finding.probability if theirs.failed else None, reason=reason
        )
    return finding


def by_totals(rule: Rule, rates: ErrorRates, spent: float = 1.0) -> Callable[[Counts, Counts], Finding]:
    """A judge by the totals of both sides.

    ``spent`` is the part of the error rates that this look may spend.
    """
    from pytest_flperf.stats.inference.proportions import judge_counts

    return lambda theirs, mine: judge_counts(theirs, mine, rule.threshold, rates, spent)
