"""Changes against each baseline, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pytest_flperf.gates.format import beyond_for_the_better, change, goes_without_saying, interval, name
from pytest_flperf.results.answer import Changes
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.records import CaseResult

__all__ = ["changes_of"]

_MOST: Final = 4
"""Comparisons that are told one by one."""


def changes_of(cases: Iterable[CaseResult]) -> tuple[Changes, ...]:
    """Comparisons by verdict, for each baseline; without error rates that go without saying."""
    found: dict[str, list[tuple[CaseResult, Comparison]]] = {}
    for case in cases:
        for against in case.against:
            found.setdefault(against.label, []).extend(
                (case, each) for each in against.comparisons if not goes_without_saying(each)
            )
    return tuple(_counted(label, compared) for label, compared in found.items())


def _counted(label: str, compared: list[tuple[CaseResult, Comparison]]) -> Changes:
    counts = Counter(each.verdict for _, each in compared)
    regressed = [pair for pair in compared if pair[1].verdict == "regressed"]
    worst = max(regressed, key=lambda pair: abs(pair[1].change_pct or 0.0), default=None)
    leads = [pair for pair in compared if pair[1].verdict == "unchanged" and beyond_for_the_better(pair[1])]
    ahead = max(leads, key=lambda pair: abs(pair[1].change_pct or 0.0), default=None)
    return Changes(
        label,
        regressed=counts["regressed"],
        improved=counts["improved"],
        unchanged=counts["unchanged"],
        undecided=counts["undecided"],
        worst="" if worst is None else _words(*worst),
        ahead="" if ahead is None else _words(*ahead),
        told=_told(compared),
    )


def _told(compared: list[tuple[CaseResult, Comparison]]) -> tuple[str, ...]:
    """Each comparison in words, quality first, where few are of one case and one is of quality."""
    found = [each for _, each in compared]
    cases = {case.nodeid for case, _ in compared}
    if len(cases) != 1 or len(found) > _MOST or not any(each.metric == "quality" for each in found):
        return ()
    first = sorted(found, key=lambda each: each.metric != "quality")
    return tuple(" ".join(filter(None, (name(each), change(each), interval(each), each.verdict))) for each in first)


def _words(case: CaseResult, each: Comparison) -> str:
    return " ".join(filter(None, (name(each), change(each), interval(each)))) + f" in {case.scenario} on {case.model}"
