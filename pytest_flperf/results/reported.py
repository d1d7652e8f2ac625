"""Reported tests: pytest's reports of each test, attempt by attempt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pytest_flperf.results.records import CaseResult, PlannedCase

__all__ = ["Attempt", "Phase", "PhaseName", "PhaseOutcome", "ReportedTest"]

PhaseName: TypeAlias = Literal["setup", "call", "subtest", "teardown", "crash"]
PhaseOutcome: TypeAlias = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One report of pytest."""

    name: PhaseName
    outcome: PhaseOutcome
    """A failure that is rerun is ``failed``, too."""
    reason: str = ""
    """In one line, without secrets and control characters; empty where it passed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a test, from setup to teardown or crash."""

    phases: tuple[Phase, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    """The measured cases, each judged by its own budgets."""

    @property
    def over(self) -> bool:
        """Whether the attempt ended: pytest reports nothing more of it."""
        return any(phase.name in ("teardown", "crash") for phase in self.phases)


@dataclass(frozen=True, slots=True)
class ReportedTest:
    """Reported test: a suite's item, or a test with our fixture."""

    planned: PlannedCase
    """The case without measurements, as planned."""
    of_suite: bool
    attempts: tuple[Attempt, ...] = ()
    """More than one where another plugin reran it."""

    def heard(self, phase: Phase, cases: tuple[CaseResult, ...] = ()) -> ReportedTest:
        """The test with one more report.

        A setup after another phase begins a new attempt, and so does a second crash.
        """
        attempts = self.attempts or (Attempt(),)
        last = attempts[-1]
        if last.phases and (phase.name == "setup" or (phase.name == "crash" and last.over)):
            attempts, last = (*attempts, Attempt()), Attempt()
        done = Attempt((*last.phases, phase), _merged(last.cases, cases))
        return replace(self, attempts=(*attempts[:-1], done))

    def measured(self, case: CaseResult) -> ReportedTest:
        """The test with a case that came without a report.

        Where the attempt has the case already, nothing changes.
        """
        attempts = self.attempts or (Attempt(),)
        last = attempts[-1]
        return replace(self, attempts=(*attempts[:-1], replace(last, cases=_merged((case,), last.cases))))


def _merged(cases: tuple[CaseResult, ...], newer: tuple[CaseResult, ...]) -> tuple[CaseResult, ...]:
    return tuple({case.nodeid: case for case in (*cases, *newer)}.values())
