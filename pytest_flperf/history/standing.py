"""Standing of a measured case: whether it may be a baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from pytest_flperf.results.comparison import DEFAULT_SCOPE, IMPLIED_SCOPE, Against, Comparison
from pytest_flperf.results.records import CaseResult

__all__ = ["BASELINES", "BY_PERSON", "NOISE", "Standing", "compared_with", "standing_of"]

Standing: TypeAlias = Literal["accepted", "undecided", "regressed", "failed", "unmeasured"]
"""``accepted``: a baseline, and noise between runs; ``undecided``: noise only; ``regressed``, ``failed`` (it missed a
budget, or its test failed) and ``unmeasured`` (skipped, cut short, nothing answered): neither."""

BASELINES: Final[frozenset[Standing]] = frozenset({"accepted"})
"""Standings of cases that later runs may be compared with."""
BY_PERSON: Final[frozenset[Standing]] = frozenset({"undecided", "regressed", "failed"})
"""Standings of cases that are baselines only where a person accepted their run."""
NOISE: Final[frozenset[Standing]] = BASELINES | {"undecided"}
"""Standings of cases that count as noise between runs of the same thing."""

_PASSED: Final = frozenset({"passed", "xpassed"})
_NOTHING_TO_JUDGE_BY: Final = frozenset({"first", "not_in_baseline"})
"""Reasons for which a gate judged nothing: the case counts as one without a gate."""


def standing_of(case: CaseResult) -> Standing:
    """The standing of a case, by its own results.

    Accepted: measured to its end, its budgets met, and each rule of a gate, where it has any, ended ``unchanged`` or
    ``improved``.  Default rules are no gate.
    """
    if case.outcome == "skipped" or case.partial or case.given_up or not case.requests.ok:
        return "unmeasured"
    gates = [each for against in case.against for each in _of_gate(against)]
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


def compared_with(case: CaseResult) -> tuple[str | None, bool]:
    """The stored run that the gate compared with, and whether it improved.

    The run is given by its id.  The case improved where a rule says so.

    None where no gate compared it with a stored run.
    """
    for against in case.against:
        if against.kind == "run" and against.run_id and not against.missing and any(_of_gate(against)):
            return against.run_id, any(each.verdict == "improved" for each in _of_gate(against))
    return None, False


def _of_gate(against: Against) -> Iterator[Comparison]:
    return (each for each in against.comparisons if each.scope != DEFAULT_SCOPE)


def _only_undecided(case: CaseResult) -> bool:
    """Whether a case failed only by comparisons undecided or not made."""
    failing: list[Comparison] = [each for against in case.against for each in against.comparisons if each.fails]
    return case.outcome == "failed" and bool(failing) and all(each.verdict == "undecided" for each in failing)
