"""Run status and case outcomes: pure functions of what pytest reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from pytest_flperf.gates.verdict import NOT_MEASURED, without_name
from pytest_flperf.results.notes import Note
from pytest_flperf.results.records import BudgetVerdict, CaseResult, PlannedCase, RunStatus
from pytest_flperf.results.reported import Attempt, Phase, ReportedTest

__all__ = ["RunEnd", "after_rerun", "is_judged", "reported_cases", "run_status"]

_WHERE: Final = {"setup": "set-up", "teardown": "teardown", "subtest": "a subtest"}
_BAD: Final = ("failed", "error")
_Verdict: TypeAlias = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """End of a pytest session."""

    exit_code: int = 0
    interrupted: bool = False
    """By a person, a signal or ``pytest.exit``."""
    faults: tuple[str, ...] = ()
    """Errors that pytest reported outside of tests: files that can't be collected, workers that were lost."""
    left_out: int = 0
    """Measuring tests that were not run, as far as is known."""


_OK, _FAILED, _STOPPED, _NOTHING = 0, 1, 2, 5
"""Exit codes of pytest; all others are errors of a kind."""


def run_status(cases: Sequence[CaseResult], budgets: Iterable[BudgetVerdict], end: RunEnd) -> RunStatus:
    """The status of a run, in one word.

    Args:
        cases: As :func:`reported_cases` gives them.
        budgets: Of the run.
        end: How pytest ended.

    """
    if end.interrupted:
        return "interrupted"
    if not any(map(is_judged, cases)):
        return "not_measured"
    outcomes = {case.outcome for case in cases}
    if "error" in outcomes or end.faults or end.exit_code not in (_OK, _FAILED, _STOPPED, _NOTHING):
        return "error"
    if "failed" in outcomes or not all(verdict.met for verdict in budgets):
        return "failed"
    # A session may stop early without a failure; the tests left out might have failed.
    return "interrupted" if end.exit_code == _STOPPED or end.left_out else "passed"


def is_judged(case: CaseResult) -> bool:
    """Whether a case has measurements that a verdict can rest on."""
    if case.outcome == "skipped":
        return case.partial and case.requests.total > 0  # cut short by --flperf-max-time, and judged so far
    if case.outcome == "xfailed":
        return case.requests.ok > 0
    return case.requests.total > 0


def reported_cases(test: ReportedTest) -> tuple[CaseResult, ...]:
    """The cases of a test, with what pytest reported of it.

    They are those of the last attempt, with notes on the attempts before.
    """
    found: dict[str, CaseResult] = {}
    for attempt in test.attempts:
        cases = _cases_of(attempt, test)
        former, found = found, {case.nodeid: case for case in cases}
        for nodeid, before in former.items():
            if nodeid in found:
                found[nodeid] = after_rerun(before, found[nodeid])
            else:
                found[nodeid] = after_rerun(before, _left_out(before))
    return tuple(found.values())


def after_rerun(former: CaseResult, result: CaseResult) -> CaseResult:
    """The result of a rerun case, with notes on earlier attempts.

    Another plugin ran the case again.
    """
    tries = [note for note in former.notes if Note.of(note).code == "earlier_try"]
    tried = Note(f"{former.outcome}. {_headline(former)}".strip(), code="earlier_try")
    notes = (*result.notes, *tries, str(tried))
    return replace(result, notes=notes, reruns=former.reruns + 1)


def _left_out(before: CaseResult) -> CaseResult:
    planned = PlannedCase(before.nodeid, before.suite, before.scenario, before.model, before.parameters, before.host)
    message = f"{NOT_MEASURED}the test ran again and ended without this measurement"
    return CaseResult.unmeasured(planned, "skipped", message)


def _cases_of(attempt: Attempt, test: ReportedTest) -> tuple[CaseResult, ...]:
    verdict, at_fault = _test_verdict(attempt.phases)
    if verdict == "passed" and not any(phase.name in ("call", "teardown") for phase in attempt.phases):
        return attempt.cases  # under way, or interrupted
    if not attempt.cases:
        return _placeholder(attempt, test, verdict, at_fault)
    if at_fault is not None and verdict == "failed":
        return _with_later_failures(_in_failed(attempt.cases, at_fault), attempt.phases, at_fault)
    judge = {"passed": _in_passed, "xpassed": _in_xpassed, "xfailed": _in_xfailed, "skipped": _in_skipped}[verdict]
    return tuple(judge(case, at_fault) for case in attempt.cases)


def _with_later_failures(
    cases: tuple[CaseResult, ...], phases: Sequence[Phase], at_fault: Phase
) -> tuple[CaseResult, ...]:
    """Note later failures on the last case.

    A teardown that fails after a failed test is a second error of pytest.
    """
    failures = dict.fromkeys(_failure(phase) for phase in phases if phase.outcome == "failed")
    later = [line for line in failures if line != _failure(at_fault)]
    return (*cases[:-1], replace(cases[-1], notes=(*cases[-1].notes, *later)))


def _test_verdict(phases: Sequence[Phase]) -> tuple[_Verdict, Phase | None]:
    """Pytest's verdict on an attempt, and the phase behind it.

    Of several failures the first one.
    """
    for phase in phases:
        if phase.outcome == "failed":
            return "failed", phase
    for outcome in ("xfailed", "skipped", "xpassed"):
        for phase in phases:
            # A subtest ends only itself, and a skip during teardown takes back nothing.
            if phase.outcome == outcome and phase.name in ("setup", "call"):
                return outcome, phase
    teardown = [phase for phase in phases if phase.name == "teardown" and phase.outcome == "xfailed"]
    return ("xfailed", teardown[0]) if teardown else ("passed", None)


def _placeholder(
    attempt: Attempt, test: ReportedTest, verdict: _Verdict, at_fault: Phase | None
) -> tuple[CaseResult, ...]:
    """Placeholder for a test that measured nothing.

    There is none for a passed test of the user's.
    """
    planned = test.planned
    if at_fault is not None and verdict == "failed":
        around = at_fault.name in ("setup", "teardown")
        case = CaseResult.unmeasured(planned, "error" if around else "failed", NOT_MEASURED + _failure(at_fault))
        return _with_later_failures((case,), attempt.phases, at_fault)
    if verdict == "xfailed":
        case = CaseResult.unmeasured(planned, "xfailed", f"{NOT_MEASURED}expected to fail{_because(at_fault)}")
    elif verdict == "skipped":
        reason = at_fault.reason if at_fault is not None else ""
        case = CaseResult.unmeasured(planned, "skipped", NOT_MEASURED + (reason or "the test was skipped"))
    elif not test.of_suite:
        return ()
    else:
        called = any(phase.name == "call" for phase in attempt.phases)
        how = "the test passed without a measurement" if called else "the test was set up and not run"
        case = CaseResult.unmeasured(planned, "skipped", NOT_MEASURED + how)
    return (case,)


def _in_passed(case: CaseResult, _: Phase | None) -> CaseResult:
    """Outcome in a passed test, which expected the case to fail."""
    if case.outcome not in _BAD:
        return case
    return replace(case, outcome="xfailed", message=f"expected by the test, which passed: {case.message}")


def _in_xpassed(case: CaseResult, at_fault: Phase | None) -> CaseResult:
    if case.outcome != "passed":
        return _in_passed(case, at_fault)
    note = f"passed, and was expected to fail{_because(at_fault)}"
    return replace(_noted(case, note), outcome="xpassed")


def _in_xfailed(case: CaseResult, at_fault: Phase | None) -> CaseResult:
    reason = f" ({at_fault.reason})" if at_fault is not None and at_fault.reason else ""
    return replace(case, outcome="xfailed", message=f"expected to fail{reason}: {case.message or 'it met its budgets'}")


def _in_skipped(case: CaseResult, at_fault: Phase | None) -> CaseResult:
    if case.outcome == "skipped":
        return case
    notes = (*case.notes, f"before the test was skipped: {_headline(case)}") if case.message else case.notes
    reason = f": {at_fault.reason}" if at_fault is not None and at_fault.reason else ""
    return replace(case, outcome="skipped", message=f"the test was skipped after the measurement{reason}", notes=notes)


def _in_failed(cases: tuple[CaseResult, ...], at_fault: Phase) -> tuple[CaseResult, ...]:
    """Outcomes in a failed test.

    The cases at fault stay as they are; where none is at fault, all cases share the test's outcome.
    """
    if at_fault.name == "crash":
        return tuple(replace(case, outcome="failed", message=_crashed(case, at_fault)) for case in cases)
    outcome: Literal["failed", "error"] = "error" if at_fault.name in ("setup", "teardown") else "failed"
    to_blame = [case for case in cases if case.outcome in _BAD and _is_reason(case, at_fault)]
    judged = []
    for case in cases:
        if case in to_blame or (to_blame and case.outcome not in _BAD):
            judged.append(case)
        elif case.outcome in _BAD:
            judged.append(_noted(case, f"the test failed: {_failure(at_fault)}"))
        else:
            judged.append(replace(case, outcome=outcome, message=_failure(at_fault)))
    return tuple(judged)


def _crashed(case: CaseResult, at_fault: Phase) -> str:
    return ": ".join(filter(None, (_headline(case), _failure(at_fault))))


def _noted(case: CaseResult, note: str) -> CaseResult:
    return replace(case, notes=(*case.notes, note))


def _is_reason(case: CaseResult, at_fault: Phase) -> bool:
    if not case.message or at_fault.name not in ("setup", "call"):
        return False
    alone = without_name(case).partition("\n")[0]  # as an item whose id names the case says it
    return _headline(case)[:100] in at_fault.reason or at_fault.reason.removeprefix("Failed: ").startswith(alone[:100])


def _failure(phase: Phase) -> str:
    reason = phase.reason or "pytest gives no details"
    where = _WHERE.get(phase.name)
    return f"{where} failed: {reason}" if where else reason


def _because(phase: Phase | None) -> str:
    return f": {phase.reason}" if phase is not None and phase.reason else ""


def _headline(case: CaseResult) -> str:
    return case.message.partition("\n")[0]
