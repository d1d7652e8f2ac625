"""Relative comparison: runs judged against a reference load.

The load was measured next to the cases of both runs, which may be of different days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pytest_flperf.gates.rules import Rule
from pytest_flperf.results.metrics import RATIOS
from pytest_flperf.results.records import Measured
from pytest_flperf.stats.inference.findings import Finding, Threshold

__all__ = ["TOO_DIFFERENT", "judge_relative", "relative_rule"]

TOO_DIFFERENT: Final = 1.5
"""Factor beyond which machines differ too much: the case need not have changed as much as the reference load."""
_OF_LOAD: Final = "e2e_ms"


def relative_rule(rule: Rule, case: Measured, baseline: Measured) -> Rule | None:
    """The rule on the number relative to the reference load.

    None where a side has no such number.
    """
    ratio = RATIOS.get(rule.metric)
    if rule.statistic is None or ratio is None or case.reference is None or baseline.reference is None:
        return None
    if ratio not in case.metrics or ratio not in baseline.metrics:
        return None
    return replace(rule, metric=ratio, threshold=replace(rule.threshold, floor=0.0))


def judge_relative(
    rule: Rule, relative: Rule, case: Measured, baseline: Measured, judge: Callable[[Rule], Finding]
) -> tuple[Finding, Finding]:
    """The change relative to the reference load, and the change as measured.

    A floor is a limit on the numbers as measured: a regression relative to the load must exceed it as well.

    Args:
        rule: As written.
        relative: From :func:`relative_rule`.
        case: The candidate.
        baseline: The same case of the stored run.
        judge: Judges a rule on the two.

    """
    raw, found = judge(rule), judge(relative)
    found = replace(
        found, baseline=raw.baseline, candidate=raw.candidate, n_baseline=raw.n_baseline, n_candidate=raw.n_candidate
    )
    load = _growth_of_load(case, baseline)
    told = [found.reason] if found.reason else []
    if load is not None:
        told.append(f"the reference load: {100 * (load - 1):+.1f} %")
        if not 1 / TOO_DIFFERENT <= load <= TOO_DIFFERENT:
            why = f"the machines differ too much; the reference load: {100 * (load - 1):+.0f} %"
            return replace(found, word="undecided", reason=why), raw
    found = replace(found, reason="; ".join(told))
    if found.word == "regressed" and rule.threshold.floor:
        floor = judge(replace(rule, threshold=Threshold(0.0, rule.threshold.floor, rule.threshold.higher_is_worse)))
        if floor.word != "regressed":
            return replace(found, word="undecided" if floor.word == "undecided" else "unchanged"), raw
    return found, raw


def _growth_of_load(case: Measured, baseline: Measured) -> float | None:
    """Growth factor of the reference load's time, or None if unknown."""
    assert case.reference is not None
    assert baseline.reference is not None
    now, then = case.reference.metrics.get(_OF_LOAD), baseline.reference.metrics.get(_OF_LOAD)
    return now.p50 / then.p50 if now is not None and then is not None and then.p50 > 0 else None
