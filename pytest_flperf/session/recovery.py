"""Recovery of a killed run's results from its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pytest_flperf.gates.run_status import after_rerun
from pytest_flperf.quality.scoring import Stop, go_on
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.bounds import bounded_case
from pytest_flperf.results.document import DocumentError
from pytest_flperf.results.reader import RunError, read_run
from pytest_flperf.results.records import CaseResult, PlannedCase, Run
from pytest_flperf.results.run_folder import RESULTS, RUN_LOG
from pytest_flperf.results.run_log import BegunCase, Key, LoggedRun, read_run_log
from pytest_flperf.results.validation import checked_case
from pytest_flperf.session.stored_case import measured
from pytest_flperf.stats.descriptive.clock_quality import merge_clocks

__all__ = ["RecoveryError", "recover", "unfinished_cases"]

_RECOVERED: Final = "recovered from the journal: the run ended before it could write its results"


class RecoveryError(Exception):
    """The folder holds no run that can be recovered."""


def recover(folder: Path) -> Run:
    """Recover the run in a folder.

    Judged results stay as they are; the journal gives the cases after them.

    Samples that were never decoded are added to ``samples.jsonl``.  A run that ended by itself comes back unchanged.

    Raises:
        RecoveryError: There is no run in the folder, or none that can be read.

    """
    written = _written(folder)
    if written is not None and written.finished_at is not None:
        return written
    try:
        logged = read_run_log(folder / RUN_LOG)
    except OSError as error:
        if written is None:
            raise RecoveryError(
                f"{folder}: found neither a readable {RESULTS} nor a readable {RUN_LOG} ({error.strerror or error}); "
                "expected the folder of a run, such as reports/latest"
            ) from error
        logged = LoggedRun()
    run = logged.run or written or Run(id=folder.name, started_at="")
    known: dict[Key, CaseResult] = {(case.nodeid, case.host): case for case in written.cases} if written else {}
    known.update(logged.results)
    for case in (*unfinished_cases(folder, logged), *map(_not_begun, logged.preparing.values())):
        key = case.nodeid, case.host
        known[key] = after_rerun(known[key], case) if key in logged.results else case
    cases = tuple(known.values())
    return replace(
        run,
        status="interrupted",
        partial=True,
        cases=cases,
        clock=merge_clocks(case.clock for case in cases),
        notes=tuple(dict.fromkeys((*run.notes, *absent_lines(cases), _RECOVERED))),
    )


def unfinished_cases(folder: Path, logged: LoggedRun | None = None, *, stop: Stop = go_on) -> list[CaseResult]:
    """Unfinished cases, summarised from the journal.

    These cases began and were never judged.  Empty if nothing can be read.

    Args:
        folder: The run's folder.
        logged: The run's log; None: it is read.
        stop: Returns why no more answers are scored; empty: go on.

    """
    try:
        logged = read_run_log(folder / RUN_LOG) if logged is None else logged
    except OSError:
        return []
    return list(_partial(folder, logged.begun.values(), stop))


def _partial(folder: Path, begun: Iterable[BegunCase], stop: Stop) -> Iterator[CaseResult]:
    for each in begun:
        case: PlannedCase = each.case
        given_up = False
        try:
            found, gave_up = measured(folder, each, stop)
            checked_case(CaseResult.of(found).to_dict())
            case, given_up, message = found, gave_up, f"INTERRUPTED after {found.sent_words}"
        except DocumentError as error:
            message = f"INTERRUPTED; its journal is damaged: {error}"
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            message = f"INTERRUPTED; its log is damaged: {type(error).__name__}: {error}"
        except OSError as error:
            message = f"INTERRUPTED; its journal can't be read: {error.strerror or error}"
        yield bounded_case(CaseResult.of(case, outcome="error", message=message, partial=True, given_up=given_up))


def _not_begun(planned: PlannedCase) -> CaseResult:
    message = "INTERRUPTED while its model was made ready"
    return bounded_case(CaseResult.unmeasured(planned, "error", message, partial=True))


def _written(folder: Path) -> Run | None:
    """Run in ``results.json``; None if it is missing or unreadable."""
    try:
        return read_run(folder / RESULTS)
    except RunError:
        return None
