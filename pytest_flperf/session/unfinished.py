"""Results of unfinished cases: cut short, not begun, stopped."""

from __future__ import annotations

from dataclasses import replace

from pytest_flperf._text import printable
from pytest_flperf.gates.verdict import NOT_MEASURED, verdict_text
from pytest_flperf.results.records import CaseResult, Measured, PlannedCase

__all__ = ["NOT_MEASURED", "Standing", "stopped"]


class Standing:
    """Results of a run so far, used to judge unfinished cases."""

    def __init__(self) -> None:
        self._any = False
        self._not_passed: set[str] = set()

    def add(self, result: CaseResult) -> CaseResult:
        """Add a result and return it."""
        self._any |= result.requests.ok > 0
        if result.outcome != "passed":
            self._not_passed.add(result.nodeid)
        return result

    def not_measured(self, planned: PlannedCase, why: str) -> CaseResult:
        """Result of a case without measured requests: skipped or error.

        It is an error if a skip would turn a run without results green: if nothing has been measured at all, or if the
        case is the rerun of one that did not pass.
        """
        message = NOT_MEASURED + why
        if not self._any:
            message += ", and nothing was measured before"
        elif planned.nodeid in self._not_passed:
            message += ", and its earlier try did not pass"
        else:
            return CaseResult.of(planned, outcome="skipped", message=message, budgets=(), partial=True)
        return CaseResult.of(planned, outcome="error", message=message, budgets=(), partial=True)

    def cut_short(self, judged: CaseResult, why: str) -> CaseResult:
        """Result of a case whose last requests were not sent.

        A missed budget stays missed.  If every budget is met so far, the case does not pass: it is skipped.
        """
        if not judged.requests.total:
            return self.not_measured(judged, why)
        line = f"cut short after {judged.sent_words}: {why}"
        if judged.outcome == "passed":
            return replace(judged, outcome="skipped", message=f"{line}; every budget is met so far", partial=True)
        result = replace(judged, notes=(line, *judged.notes), partial=True)
        return replace(result, message=verdict_text(result))


def stopped(partial: Measured, word: str, why: str) -> CaseResult:
    """Result of a case that an exception ended.

    Without a reason, it was an interrupt.
    """
    message = f"{word} after {partial.sent_words}"
    if why:
        message += f": {printable(why.strip(), 300)}"
    return CaseResult.of(partial, outcome="failed" if why else "error", message=message, partial=True)
