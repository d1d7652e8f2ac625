"""Verdicts on the cases of a run: measured, cut off, not measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.gates.budgets import Budget
from pytest_flperf.gates.verdict import judge, verdict_text
from pytest_flperf.measurement.recording import CaseRecording
from pytest_flperf.measurement.runner import CaseRun, NotPossibleError, NotReadyError
from pytest_flperf.results.bounds import bounded_text
from pytest_flperf.results.records import CaseResult, Measured
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.session.baselines import Baseline
from pytest_flperf.session.machine_lock import MachineBusyError, SessionLock
from pytest_flperf.session.mutual_exclusion import TurnError
from pytest_flperf.session.planned_cases import PlannedTest, planned_case
from pytest_flperf.session.run_record import RunRecord
from pytest_flperf.session.time_limit import OutOfTimeError, TimeLimit
from pytest_flperf.session.unfinished import NOT_MEASURED, Standing, stopped
from pytest_flperf.suite.model import Case

if TYPE_CHECKING:
    pass


from pytest_flperf.session.paired import Opposition
from pytest_flperf.session.reference_load import Reference

__all__ = ["Verdicts"]

_MESSAGE_CHARACTERS: Final = 8_000
_LONGEST_NAME: Final = 100


class Verdicts:
    """Verdicts on cases: the other side, the baseline, budgets, what went wrong."""

    def __init__(
        self,
        opposition: Opposition | Reference | None,
        baseline: Baseline | None,
        record: RunRecord,
        redactor: Redactor,
        limit: TimeLimit,
        lock: SessionLock,
        neighbours: int,
    ) -> None:
        """Judge nothing yet.

        Args:
            opposition: Compares cases with their other sides; None: they have none.
            baseline: Compares cases with earlier ones; None: they have no baseline.
            record: Knows what surrounds the cases.
            redactor: Removes secrets from messages.
            limit: How long the run may take.
            lock: Lock of the machine, with what is wrong with it.
            neighbours: Processes of this run that measure beside this one.

        """
        self._opposition = opposition
        self._baseline = baseline
        self._record = record
        self._redactor = redactor
        self._limit = limit
        self._lock = lock
        self._neighbours = neighbours
        self._standing = Standing()

    def judged(
        self,
        done: CaseRun,
        case: Case,
        budgets: Sequence[Budget],
        recording: CaseRecording | None = None,
        tests: Iterable[PlannedTest] = (),
    ) -> CaseResult:
        """Result of a measured case, with its verdict.

        Args:
            done: What was measured.
            case: The case.
            budgets: Its budgets.
            recording: Its requests; None: they are not at hand.
            tests: All tests of the run that measure; they share its error rate.

        """
        result = self._with_other_side(done, case)
        if self._baseline is not None and done.out_of_time:
            result = self._baseline.not_measured(result, case, f"it was cut short: {self._limit.words}")
        elif self._baseline is not None:
            result = self._baseline.judged(result, case, self._record.surroundings(), recording, tests)
        result = judge(result, budgets)
        others = self._neighbours
        if others:
            result = replace(result, notes=(*result.notes, f"measured alongside {others} more workers: use -n 1"))
        if done.trouble:
            result = replace(result, notes=(done.trouble, *result.notes), outcome="failed", given_up=True)
            result = replace(result, message=verdict_text(result, done.trouble))
        if done.out_of_time:
            result = self._standing.cut_short(result, self._limit.words)
        if self._lock.problem:
            result = replace(result, notes=(*result.notes, self._lock.problem))
        return self._standing.add(result)

    def interrupted(self, done: CaseRun, case: Case) -> CaseResult:
        """Result of a case that a person or a signal ended."""
        return stopped(self._with_other_side(done, case), "INTERRUPTED", "")

    def interrupted_ahead(self, case: Case, nodeid: str) -> CaseResult:
        """Result of a case that a person or a signal ended before its first request."""
        message = "INTERRUPTED while its model was made ready"
        return CaseResult.unmeasured(planned_case(case, nodeid), "error", message, partial=True)

    def stopped(self, done: CaseRun, case: Case, why: str) -> CaseResult:
        """Result of a case that another exception ended, such as a timeout."""
        return self._standing.add(stopped(self._with_other_side(done, case), "stopped", self._redactor.text(why)))

    def not_ready(
        self, case: Case, nodeid: str, reason: NotReadyError | NotPossibleError | OutOfTimeError
    ) -> CaseResult:
        """Result of an unmeasured case: error, or skipped.

        Skipped if the time is over or the measurement is not possible.
        """
        planned = Measured.of(planned_case(case, nodeid))
        if self._baseline is not None:
            planned = self._baseline.not_measured(planned, case, "the case was not measured")
        if isinstance(reason, NotPossibleError):
            return self._standing.add(CaseResult.unmeasured(planned, "skipped", NOT_MEASURED + str(reason)))
        if isinstance(reason, OutOfTimeError):
            return self._standing.not_measured(planned, self._limit.words)
        what = NOT_MEASURED if isinstance(reason, MachineBusyError | TurnError) else "the model is not ready: "
        # A name of thousands of characters must not push the reason out of the lines.
        words = str(reason).replace(case.model, bounded_text(case.model, _LONGEST_NAME))
        message = _lines(what + self._redactor.text(words))
        return self._standing.add(CaseResult.unmeasured(planned, "error", message))

    def _with_other_side(self, done: CaseRun, case: Case) -> Measured:
        if done.other is None:
            return done.result
        assert self._opposition is not None
        return self._opposition.judged(done.result, done.other, case)


def _lines(text: str) -> str:
    return "\n".join(printable(line, 500) for line in text[:_MESSAGE_CHARACTERS].splitlines())
