"""Results of a run that was killed, from what it left on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pytest_flperf.results.document import DocumentError
from pytest_flperf.results.journal import Journal, JournalReader
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.results.run_log import RUN_LOG, BegunCase, LoggedRun, read_run_log
from pytest_flperf.results.stored import RESULTS, RunError, read_run
from pytest_flperf.results.validation import checked_case
from pytest_flperf.stats.case import summarise
from pytest_flperf.stats.clock_quality import merge_clocks
from pytest_flperf.suite.scoring import AnswerScorer, Scoring, Stop, go_on
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.sample import Sample

__all__ = ["RecoveryError", "recover", "unfinished_cases"]

JOURNAL: Final = "journal.jsonl"
SAMPLES: Final = "samples.jsonl"


class RecoveryError(Exception):
    """The folder holds no run that results could be made of."""


def recover(folder: Path) -> Run:
    """The run in a folder: results that were judged as they are, and what the journal holds of the cases after them.

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
                f"{folder}: found neither {RESULTS} nor {RUN_LOG} that can be read ({error.strerror or error}); "
                "expected the folder of a run, such as reports/latest"
            ) from error
        logged = LoggedRun()
    run = logged.run or written or Run(id=folder.name, started_at="")
    known = {(case.nodeid, case.host): case for case in written.cases} if written is not None else {}
    known.update(logged.results)
    for case in unfinished_cases(folder, logged):
        known[case.nodeid, case.host] = case
    cases = tuple(known.values())
    note = "recovered from the journal: the run was ended before it could write its results"
    return replace(
        run,
        status="interrupted",
        partial=True,
        cases=cases,
        clock=merge_clocks(case.clock for case in cases),
        notes=(*run.notes, note),
    )


def unfinished_cases(folder: Path, logged: LoggedRun | None = None, stop: Stop = go_on) -> list[CaseResult]:
    """Cases that began and were never judged, summed up from the journal; none where nothing can be read.

    ``stop``: why no more answers shall be scored; empty: go on.
    """
    try:
        logged = read_run_log(folder / RUN_LOG) if logged is None else logged
        with Scoring() as scoring:
            return [
                _partial(folder, begun, scoring.of(begun.case.settings.get("expect"), stop))
                for begun in logged.begun.values()
            ]
    except OSError:
        return []


def _partial(folder: Path, begun: BegunCase, scorer: AnswerScorer | None) -> CaseResult:
    samples = _decoded(folder / JOURNAL, begun)  # one at a time: there may be a million
    case = summarise(_written_too(folder / SAMPLES, begun.case.nodeid, samples), begun.case, scorer=scorer)
    message = f"INTERRUPTED after {case.sent_words}"
    try:
        checked_case(case.to_dict())
    except DocumentError as error:
        case, message = begun.case, f"INTERRUPTED; its journal is damaged: {error}"
    return replace(
        case,
        outcome="error",
        message=message,
        budgets=(),
        partial=True,
    )


def _decoded(journal: Path, begun: BegunCase) -> Iterator[Sample]:
    try:
        for record in JournalReader(journal, start=begun.journal_start):
            if record.get("nodeid") == begun.case.nodeid:
                try:
                    exchange = Exchange.from_record(record)
                except (ValueError, KeyError, TypeError):  # a damaged line
                    continue
                yield decode(exchange)
    except FileNotFoundError:  # killed before the first request
        return


def _written_too(path: Path, nodeid: str, samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples; those that the file lacks are added.  Where it can't be written, they are in the journal still."""
    try:
        there = _there(path, nodeid)
        journal = Journal(path)
    except OSError:
        yield from samples
        return
    with journal:
        for sample in samples:
            if sample.started_ns not in there.get(sample.phase.value, ()):
                journal.append({"nodeid": nodeid, **sample.to_record()})
            yield sample


def _there(path: Path, nodeid: str) -> dict[str, set[int]]:
    """When the requests of a case whose samples are in the file were started, by phase."""
    there: dict[str, set[int]] = {}
    if path.exists():
        for record in JournalReader(path):
            started_ns = record.get("started_ns")
            if record.get("nodeid") == nodeid and isinstance(started_ns, int):
                there.setdefault(str(record.get("phase")), set()).add(started_ns)
    return there


def _written(folder: Path) -> Run | None:
    """What ``results.json`` says; None where it is not there, or can't be read."""
    try:
        return read_run(folder / RESULTS)
    except RunError:
        return None
