"""Standing of a measured case: whether it may be a baseline."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from pytest_flperf.results.comparison import DEFAULT_SCOPE, IMPLIED_SCOPE, Comparison
from pytest_flperf.results.records import CaseResult

__all__ = ["Standing", "standing_of"]

Standing: TypeAlias = Literal["accepted", "undecided", "regressed", "failed", "unmeasured"]
"""``accepted``: a baseline, and noise between runs; ``undecided``: noise only; ``regressed``, ``failed`` (it missed a
budget, or its test failed) and ``unmeasured`` (skipped, cut short, nothing answered): neither."""

_PASSED: Final = frozenset({"passed", "xpassed"})
_NOTHING_TO_JUDGE_BY: Final = frozenset({"first", "not_in_baseline"})
"""A gate that found none of these judged nothing: the case counts as one without a gate."""


def standing_of(case: CaseResult) -> Standing:
    """The standing of a case by its own results.

    Accepted: measured to its end, its budgets met, and each rule of a gate, where it has any, ended ``unchanged`` or
    ``improved``.  Default rules are no gate.
    """
    if case.outcome == "skipped" or case.partial or case.given_up or not case.requests.ok:
        return "unmeasured"
    gates = [each for against in case.against for each in against.comparisons if each.scope != DEFAULT_SCOPE]
    if any(each.verdict == "regressed" for each in gates):
        return "regressed"
    met = all(budget.met for budget in case.budgets)
    if not met or (case.outcome not in _PASSED and not _only_undecided(case)):
        return "failed"
    judged = [
        each
        for against in case.against
        if against.missing not in _NOTHING_TO_JUDGE_BY
        for each in against.comparisons
        if each.scope not in (DEFAULT_SCOPE, IMPLIED_SCOPE)
    ]
    return "undecided" if any(each.verdict == "undecided" for each in judged) else "accepted"


def _only_undecided(case: CaseResult) -> bool:
    """Whether it failed for nothing else than comparisons that could not be decided, or not be made."""
    failing: list[Comparison] = [each for against in case.against for each in against.comparisons if each.fails]
    return case.outcome == "failed" and bool(failing) and all(each.verdict == "undecided" for each in failing)
