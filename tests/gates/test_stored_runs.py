"""Cases beside those of a stored run: which belong together, what can be compared, and Holm over a whole run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_flperf.gates.baseline_gate import holm_corrected, unpaired_lines
from pytest_flperf.gates.counterparts import counterpart, why_not_compared
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.inference.findings import ErrorRates


def case(name: str = "a", **changes: Any) -> CaseResult:
    """A passed case of eleven requests."""
    whole = CaseResult(name, "suite", name, "m", host="box", outcome="passed", requests=Requests(total=11, ok=11))
    return replace(whole, **changes)


def compared(*p_values: float | None, verdict: Any = "undecided", scope: str = "--fail-on") -> CaseResult:
    """A case with a comparison for each p-value."""
    comparisons = tuple(
        Comparison("rule", "ttft_ms", "p50", verdict, reason="why", p_value=each, scope=scope) for each in p_values
    )
    return case(against=(Against("run", "main", comparisons=comparisons),))


def verdicts(cases: tuple[CaseResult, ...]) -> list[tuple[str, bool, str]]:
    """Of all comparisons: the word, whether it fails, and why."""
    return [(c.verdict, c.fails, c.reason) for each in cases for a in each.against for c in a.comparisons]


def test_counterpart() -> None:
    """By node id: of the same host first, else of any."""
    others = (case(host="elsewhere"), case(), case("b", host="far"))
    assert counterpart(case(), others) is others[1]
    assert counterpart(case("b"), others) is others[2]
    assert counterpart(case("c"), others) is None


@pytest.mark.parametrize(
    ("mine", "theirs", "wanted"),
    [
        ({}, {}, ""),
        ({"outcome": "error", "requests": Requests()}, {}, ""),
        ({"given_up": True}, {}, ""),
        ({"outcome": "skipped"}, {}, "it was skipped"),
        ({"partial": True}, {}, "it was not fully measured"),
        ({}, {"partial": True}, "the case of the baseline was not fully measured"),
        ({}, {"given_up": True}, "the case of the baseline was not fully measured"),
        ({}, {"outcome": "error"}, "the case of the baseline was not measured (error)"),
        ({}, {"outcome": "failed"}, ""),
    ],
)
def test_what_can_be_compared(mine: dict[str, Any], theirs: dict[str, Any], wanted: str) -> None:
    """A candidate that answered nothing can: it fails closed."""
    assert why_not_compared(case(**mine), case(**theirs)) == wanted


def test_a_case_that_the_baseline_lacks() -> None:
    """It is named; of many, five."""
    assert unpaired_lines([case()], [case()]) == ()
    (line,) = unpaired_lines([case(str(number)) for number in range(8)], [])
    assert line == "new, not in the baseline: 0, 1, 2, 3, 4 and 3 more"


def test_holm_finds_more_than_an_equal_part() -> None:
    """0.004 is above a third of 1 %, and regressed once the smaller ones are; nothing else becomes so."""
    rates = ErrorRates(comparisons=3)
    found = holm_corrected([compared(0.0001), compared(0.004, 0.5)], rates)
    assert verdicts(found) == [("regressed", True, ""), ("regressed", True, ""), ("undecided", False, "why")]
    alone = holm_corrected([compared(0.004, 0.5, 0.6)], rates)
    assert verdicts(alone) == [("undecided", False, "why")] * 3


def test_holm_leaves_what_is_decided_or_has_no_test() -> None:
    """What fails closed stays as it is, and a rule that nobody wrote fails nothing."""
    closed = replace(compared(None, verdict="regressed"))
    found = holm_corrected([closed, compared(0.00001, scope="default")], ErrorRates(comparisons=2))
    assert verdicts(found) == [("regressed", False, "why"), ("regressed", False, "")]
