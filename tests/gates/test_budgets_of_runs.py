"""Budgets of a whole run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import BudgetError, parse_budget
from pytest_flperf.gates.run_budgets import is_run_budget, parse_run_budget, parse_run_budgets, run_verdict_text
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.results.run_metrics import RUN_METRICS

CASES = (
    CaseResult("a", "s", "a", "m", outcome="passed", requests=Requests(total=90, ok=90, late_reads=2)),
    CaseResult("b", "s", "b", "m", outcome="failed", requests=Requests(total=10, ok=8, failed=2, timeouts=1)),
    CaseResult("c", "s", "c", "m", outcome="error"),
)


@pytest.mark.parametrize(
    ("text", "value", "n", "met"),
    [
        ("run.error_rate <= 2%", 0.02, 100, True),
        ("run.error_rate < 2%", 0.02, 100, False),
        ("run.timeout_rate <= 0.5%", 0.01, 100, False),
        ("run.failed <= 2", 2.0, 100, True),
        ("run.late_reads <= 1", 2.0, 100, False),
        ("run.cases_failed <= 0", 2.0, 3, False),
        ("run.wall_s <= 2min", 90.0, 3, True),
        ("  run . wall_s<=1.5 min ", 90.0, 3, True),
    ],
)
def test_judging(text: str, value: float, n: int, met: bool) -> None:
    """Each metric over all cases, at its edge."""
    verdict = parse_run_budget(text).judge(CASES, 90.0)
    assert (verdict.value, verdict.n, verdict.met) == (value, n, met)
    assert verdict.metric in RUN_METRICS


def test_nothing_measured() -> None:
    """A rate of no request is not met, and says why."""
    verdict = parse_run_budget("run.error_rate <= 1").judge(CASES[2:], 1.0)
    assert (verdict.value, verdict.met) == (None, False)
    assert "not one request was measured" in run_verdict_text([verdict])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run.eror_rate <= 1%", "unknown metric 'run.eror_rate'; did you mean run.error_rate?"),
        ("run. <= 1", "unknown metric 'run.'"),
        ("run <= 1", "unknown metric 'run'"),
        ("run.wall_s 5", "no comparison"),
        ("run.wall_s = 5", "expected <= or >="),
        ("run.wall_s <= five", "expected a number"),
        ("run.wall_s <= -5", "never negative"),
        ("run.error_rate <= 5", "from 0 to 1"),
        ("run.wall_s <= 5 ms/s", "doesn't fit run.wall_s"),
    ],
)
def test_bad_budgets(text: str, words: str) -> None:
    """What was found, what was expected, the nearest right word."""
    with pytest.raises(BudgetError) as caught:
        parse_run_budget(text)
    assert words in str(caught.value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text(before: str, after: str) -> None:
    """Whatever is given is a budget or a BudgetError, and one kind reads what the other refuses."""
    text = f"run{before}.{after}"
    for parse in (parse_run_budget, parse_budget):
        try:
            parse(text)
        except BudgetError:
            continue
    assert len(parse_run_budgets([])) == 0
    assert is_run_budget(" run.x <= 1")
    assert not is_run_budget("runs.x <= 1")


def test_the_text() -> None:
    """A headline with the first that was missed, and a line for each."""
    verdicts = [parse_run_budget(text).judge(CASES, 90.0) for text in ("run.wall_s <= 2min", "run.error_rate <= 1%")]
    headline, *lines = run_verdict_text(verdicts).splitlines()
    assert headline == "the run missed run.error_rate <= 1% (2 %)"
    assert len(lines) == 2
    assert lines[0].split()[0] == "met"
    assert lines[1].split()[0] == "MISSED"
    assert run_verdict_text(verdicts[:1]).startswith("the run met its budgets")
