"""The status of a run and the outcomes of its cases, from what pytest reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.gates.run_status import RunEnd, reported_cases, run_status
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Requests
from pytest_flperf.results.reported import Phase, ReportedTest

PLANNED = CaseResult("t", "s", "a", "m", host="h")
MET = BudgetVerdict("error_rate <= 0", 0.0, 0.0, 3, True, "default", "error_rate")
PASSED = replace(PLANNED, outcome="passed", message="", requests=Requests(total=3, ok=3), budgets=(MET,))
MISSED = replace(
    PASSED,
    outcome="failed",
    message="a on m: missed ttft_ms.p50 <= 1 (9 ms)\n  more",
    budgets=(BudgetVerdict("ttft_ms.p50 <= 1", 1.0, 9.0, 3, False, "suite", "ttft_ms", "p50"),),
)
UNREADY = replace(PLANNED, outcome="error", message="the model is not ready: gone")
SET_UP, TIDIED = Phase("setup", "passed"), Phase("teardown", "passed")
CALLED = Phase("call", "passed")
BROKEN = Phase("teardown", "failed", "OSError: tidy")


def heard(*phases: Phase, cases: tuple[CaseResult, ...] = (), of_suite: bool = True) -> ReportedTest:
    """A test of which pytest reported this; what it measured came with the call."""
    test = ReportedTest(PLANNED, of_suite)
    for phase in phases:
        test = test.heard(phase, cases if phase.name in ("call", "crash") else ())
    return test


@pytest.mark.parametrize(
    ("phases", "cases", "outcome", "words"),
    [
        ((SET_UP, CALLED, TIDIED), (PASSED,), "passed", ""),
        ((Phase("setup", "failed", "OSError: db"), TIDIED), (), "error", "not measured: set-up failed: OSError: db"),
        ((Phase("setup", "skipped", "not here"), TIDIED), (), "skipped", "not measured: not here"),
        ((Phase("setup", "xfailed", "[NOTRUN] x"), TIDIED), (), "xfailed", "not measured: expected to fail"),
        ((SET_UP, CALLED, BROKEN), (PASSED,), "error", "teardown failed: OSError: tidy"),
        ((SET_UP, Phase("call", "failed", "a on m: missed ttft"), BROKEN), (MISSED,), "failed", "a on m: missed"),
        ((SET_UP, Phase("call", "failed", "Failed: missed ttft_ms.p50 <= 1 (9 ms)")), (MISSED,), "failed", "a on m"),
        ((SET_UP, Phase("call", "failed", "AssertionError: x"), TIDIED), (PASSED,), "failed", "AssertionError: x"),
        ((SET_UP, Phase("call", "failed", "AssertionError: x"), TIDIED), (), "failed", "not measured: Assertion"),
        ((SET_UP, Phase("call", "xfailed", "slow"), TIDIED), (MISSED,), "xfailed", "expected to fail (slow): a on m"),
        ((SET_UP, Phase("call", "xfailed", "slow"), BROKEN), (PASSED,), "error", "teardown failed: OSError: tidy"),
        ((SET_UP, Phase("call", "xpassed", "slow"), TIDIED), (PASSED,), "xpassed", ""),
        ((SET_UP, Phase("call", "xpassed", "slow"), TIDIED), (MISSED,), "xfailed", "expected by the test"),
        ((SET_UP, Phase("call", "failed", "[XPASS(strict)] slow"), TIDIED), (PASSED,), "failed", "[XPASS(strict)]"),
        ((SET_UP, Phase("call", "skipped", "enough"), TIDIED), (PASSED,), "skipped", "the test was skipped after"),
        ((SET_UP, CALLED, TIDIED), (MISSED,), "xfailed", "expected by the test, which passed: a on m: missed"),
        ((SET_UP, CALLED, TIDIED), (UNREADY,), "xfailed", "expected by the test, which passed: the model is not"),
        ((SET_UP, Phase("subtest", "failed", "x"), CALLED, TIDIED), (PASSED,), "failed", "a subtest failed: x"),
        ((SET_UP, Phase("subtest", "skipped", "x"), CALLED, TIDIED), (PASSED,), "passed", ""),
        ((SET_UP, CALLED, Phase("teardown", "skipped", "x")), (PASSED,), "passed", ""),
        ((SET_UP, Phase("crash", "failed", "worker gone")), (), "failed", "not measured: worker gone"),
        ((SET_UP, CALLED, Phase("crash", "failed", "worker gone")), (PASSED,), "failed", "worker gone"),
        ((SET_UP, TIDIED), (), "skipped", "not measured: the test was set up and not run"),
        ((SET_UP, CALLED, TIDIED), (), "skipped", "not measured: the test passed without a measurement"),
    ],
)
def test_outcome(phases: tuple[Phase, ...], cases: tuple[CaseResult, ...], outcome: str, words: str) -> None:
    """Each way in which pytest can report a test of a suite gives its one case one outcome, with the reason."""
    (case,) = reported_cases(heard(*phases, cases=cases))
    assert (case.outcome, case.message[: len(words)]) == (outcome, words)
    assert bool(case.message) == (outcome not in ("passed", "xpassed"))
    assert case.requests == (cases[0].requests if cases else Requests())


def test_a_teardown_after_a_failure_is_not_lost() -> None:
    """Pytest reports two things; the case has both."""
    missed = Phase("call", "failed", f"Failed: {MISSED.message.partition(chr(10))[0]}")
    (case,) = reported_cases(heard(SET_UP, missed, BROKEN, cases=(MISSED,)))
    assert case.notes == ("teardown failed: OSError: tidy",)


def test_of_two_measurements_the_one_at_fault_fails() -> None:
    """A second measurement that misses takes nothing from the first; a failure of the test itself takes both."""
    second = replace(MISSED, nodeid="t #2")
    missed = Phase("call", "failed", f"Failed: {MISSED.message.partition(chr(10))[0]}")
    own = Phase("call", "failed", "AssertionError: x")
    assert [case.outcome for case in reported_cases(heard(SET_UP, missed, cases=(PASSED, second)))] == [
        "passed",
        "failed",
    ]
    both = (PASSED, replace(PASSED, nodeid="t #2"))
    assert [case.outcome for case in reported_cases(heard(SET_UP, own, cases=both))] == ["failed", "failed"]


def test_a_test_under_way_has_no_verdict() -> None:
    """Before the call is reported what came of an interrupt stays as it is, and a planned case is none yet."""
    assert reported_cases(heard(SET_UP)) == ()
    stopped = replace(PASSED, outcome="error", message="INTERRUPTED after 3 of 9 requests", partial=True)
    assert reported_cases(heard(SET_UP).measured(stopped)) == (stopped,)


def test_a_passed_test_of_ones_own_without_a_measurement_is_no_case() -> None:
    """A test may have the fixture and not use it."""
    assert reported_cases(heard(SET_UP, CALLED, TIDIED, of_suite=False)) == ()
    (case,) = reported_cases(heard(SET_UP, Phase("call", "failed", "x"), TIDIED, of_suite=False))
    assert case.outcome == "failed"


@pytest.mark.parametrize(
    ("first", "note"),
    [
        ((Phase("setup", "failed", "OSError: db"),), "an earlier try: error. not measured: set-up failed: OSError: db"),
        ((SET_UP, CALLED, BROKEN), "an earlier try: error. teardown failed: OSError: tidy"),
        ((SET_UP, Phase("call", "failed", "x"), TIDIED), "an earlier try: failed. x"),
        ((SET_UP, Phase("crash", "failed", "worker gone")), "an earlier try: failed. worker gone"),
    ],
)
def test_rerun(first: tuple[Phase, ...], note: str) -> None:
    """Whatever phase made another plugin run a test again, the earlier try is counted and told."""
    test = heard(*first, cases=(PASSED,))
    for phase in (SET_UP, CALLED, TIDIED):
        test = test.heard(phase, (PASSED,) if phase is CALLED else ())
    (case,) = reported_cases(test)
    assert (case.outcome, case.reruns, case.notes) == ("passed", 1, (note,))


def test_what_a_rerun_leaves_out_is_said() -> None:
    """A measurement of the earlier try alone is neither passed nor gone."""
    second = replace(MISSED, nodeid="t #2")
    test = heard(SET_UP, Phase("call", "failed", "x"), TIDIED, cases=(PASSED, second))
    for phase in (SET_UP, CALLED, TIDIED):
        test = test.heard(phase, (PASSED,) if phase is CALLED else ())
    first, left = reported_cases(test)
    assert (first.outcome, left.outcome, left.reruns) == ("passed", "skipped", 1)
    assert left.message == "not measured: the test ran again and ended without this measurement"


SKIPPED = replace(PLANNED, outcome="skipped", message="not measured: x")
CUT = replace(PASSED, outcome="skipped", message="cut short", partial=True)
EXPECTED = replace(MISSED, outcome="xfailed")
ERROR = replace(PASSED, outcome="error", message="teardown failed")
RUN_MISSED = replace(MET, expression="run.wall_s <= 0", metric="run.wall_s", met=False)


@pytest.mark.parametrize(
    ("cases", "end", "status"),
    [
        ((), RunEnd(5), "not_measured"),
        ((), RunEnd(0), "not_measured"),
        ((SKIPPED,), RunEnd(0), "not_measured"),
        ((replace(PASSED, outcome="skipped", message="enough"),), RunEnd(0), "not_measured"),
        ((UNREADY,), RunEnd(1), "not_measured"),
        ((replace(UNREADY, outcome="xfailed"),), RunEnd(0), "not_measured"),
        ((PASSED, SKIPPED), RunEnd(0), "passed"),
        ((CUT,), RunEnd(0), "passed"),
        ((EXPECTED,), RunEnd(0), "passed"),
        ((PASSED,), RunEnd(1), "passed"),  # a test that is none of ours failed
        ((PASSED, MISSED), RunEnd(1), "failed"),
        ((PASSED, ERROR), RunEnd(1), "error"),
        ((PASSED, UNREADY), RunEnd(1), "error"),
        ((PASSED, MISSED), RunEnd(2), "failed"),  # -x under xdist, --sw
        ((PASSED,), RunEnd(2), "interrupted"),  # session.shouldstop
        ((PASSED,), RunEnd(3), "error"),
        ((PASSED,), RunEnd(77), "error"),
        ((PASSED,), RunEnd(1, faults=("x could not be collected",)), "error"),
        ((PASSED,), RunEnd(0, interrupted=True), "interrupted"),
        ((), RunEnd(2, interrupted=True), "interrupted"),
    ],
)
def test_status(cases: tuple[CaseResult, ...], end: RunEnd, status: str) -> None:
    """Each end of a session has one status."""
    assert run_status(cases, (), end) == status
    missed = run_status(cases, (RUN_MISSED,), end)
    assert missed == ("failed" if status == "passed" else status if status != "interrupted" else missed)


PHASES = st.builds(
    Phase,
    st.sampled_from(["setup", "call", "subtest", "teardown", "crash"]),
    st.sampled_from(["passed", "failed", "skipped", "xfailed", "xpassed"]),
    st.sampled_from(["", "x", "a on m: missed ttft_ms.p50 <= 1 (9 ms)"]),
)
MEASURED = st.lists(st.sampled_from([PASSED, MISSED, UNREADY, CUT, replace(MISSED, nodeid="t #2")]), max_size=2)


@given(st.lists(st.tuples(PHASES, MEASURED), min_size=1, max_size=8), st.booleans())
def test_a_failure_of_pytest_is_never_a_pass(reports: list[tuple[Phase, list[CaseResult]]], of_suite: bool) -> None:
    """Whatever comes in whatever order: a failure in the last attempt is a failure, and green needs a measurement."""
    test = ReportedTest(PLANNED, of_suite)
    for phase, cases in reports:
        test = test.heard(phase, tuple(cases))
    cases = reported_cases(test)
    failed = any(phase.outcome == "failed" for phase in test.attempts[-1].phases)
    status = run_status(cases, (), RunEnd(1 if failed else 0))
    if failed:
        assert any(case.outcome in ("failed", "error") for case in cases)
        assert status != "passed"
    if status == "passed":
        assert any(case.requests.ok for case in cases)
        assert all(case.outcome != "error" for case in cases)
    assert len({case.nodeid for case in cases}) == len(cases)
