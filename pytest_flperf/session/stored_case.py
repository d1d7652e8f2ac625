"""Recovery of an unfinished case: journal, resources and log, summarised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_flperf.gates.budgets import Budget, parse_budget
from pytest_flperf.gates.capacity import search_goals
from pytest_flperf.gates.goodput import request_limits
from pytest_flperf.gates.paired_results import REFERENCE_TERMS, compares_gaps, with_other_side
from pytest_flperf.measurement.capacity_search import SearchPlan, searched
from pytest_flperf.measurement.case_run import CaseRun
from pytest_flperf.measurement.paired_turns import BASELINE, CANDIDATE, TurnReader, turn_requests
from pytest_flperf.measurement.standings import OtherSide, Standings, TurnPlan, read_standings, with_not_scored
from pytest_flperf.measurement.summing import Evidence, result_of
from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.quality.scoring import AnswerScorer, Scoring, Stop, go_on
from pytest_flperf.results.journal import Journal, JournalReader
from pytest_flperf.results.measured import ClockQuality
from pytest_flperf.results.records import Measured, PlannedCase
from pytest_flperf.results.run_log import MASKED, BegunCase, BegunSide
from pytest_flperf.stats.descriptive.case import IsGood
from pytest_flperf.stats.inference.matched_requests import is_deterministic
from pytest_flperf.telemetry.attribution import with_unattributed
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.telemetry.sums import CaseResources, stored_resources
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.sample import Sample

__all__ = ["measured"]

_JOURNAL: Final = "journal.jsonl"
_SAMPLES: Final = "samples.jsonl"
_RESOURCES: Final = "resources.jsonl"
_OF_HOOK: Final = "pytest_flperf_score may have scored it, which is called only while a case is measured"
_ScorerOf: TypeAlias = Callable[[BegunCase | BegunSide, "_Requests"], AnswerScorer | None]


def measured(folder: Path, begun: BegunCase, stop: Stop = go_on) -> tuple[Measured, bool]:
    """Evidence of an unfinished case, from its files, and whether requests were given up.

    It equals what the run would have reported for the same requests.

    Samples that were never decoded are added to ``samples.jsonl``.

    Args:
        folder: The run's folder.
        begun: The case in the run's log.
        stop: Returns why no more answers are scored; empty: go on.

    Raises:
        OSError: A file exists and can't be read.
        ValueError: The log is damaged; also KeyError and TypeError.

    """
    with Scoring() as scoring:
        run = _run(folder, begun, lambda of, requests: _scorer(scoring, of, requests, stop))
    if not run.trouble:
        return run.result, False
    return replace(run.result, notes=(run.trouble, *run.result.notes)), True


def _run(folder: Path, begun: BegunCase, scorer_of: _ScorerOf) -> CaseRun:
    """Run of a case, or of all loads of its search."""
    budgets = tuple(map(parse_budget, begun.budgets))
    if begun.load is None:
        return _played(folder, begun, budgets, scorer_of)
    loads = (*begun.earlier, begun)
    ends = [each.journal_start for each in loads[1:]]
    played: dict[float, CaseRun] = {}
    for each, end in zip(loads, [*ends, None], strict=True):
        assert each.load is not None
        played[each.load.load] = _played(folder, each, budgets, scorer_of, end)
    plan = SearchPlan(begun.load.over, begun.load.lowest, begun.load.highest)
    return searched(plan, played, search_goals(begun.case.scenario, budgets, begun.case.model))


def _played(
    folder: Path, begun: BegunCase, budgets: tuple[Budget, ...], scorer_of: _ScorerOf, end: int | None = None
) -> CaseRun:
    """Run of a case, or of one load of its search.

    ``end`` is the byte of the journal where its requests end.
    """
    planned, log, side = begun.case, begun.played, begun.beside
    good = request_limits(planned.scenario, budgets, planned.model)
    requests = _Requests(
        folder, begun.filed, begun.journal_start, end, begun.plan_notes, begun.prompts, side is not None
    )
    known = Evidence(
        planned,
        notes=lambda: log.notes if log is not None else (*planned.notes, *requests.plan_notes),
        good=good,
        prompt_of=requests.prompt_of,
        turn_requests=_turn_requests(begun, side)[CANDIDATE] if side is not None else 0,
        loop=ClockQuality() if log is None else ClockQuality(loop_ms=log.loop_ms, loop_histogram=log.loop_histogram),
        resources=lambda: _resources(folder, begun),
        scorer=scorer_of(begun, requests),
        rows=requests.scored_row,
    )
    run = CaseRun(result_of(requests.samples(), known))
    if side is not None:
        other = _other_side(folder, begun, side, requests, known, scorer_of)
        result = with_not_scored(run.result, other.standings, CANDIDATE)
        run = replace(run, result=with_other_side(result, other, side.terms))
    if log is None:
        return replace(run, out_of_time=begun.load is not None)
    return replace(run, trouble=log.trouble, out_of_time=log.out_of_time)


def _other_side(
    folder: Path, begun: BegunCase, side: BegunSide, ours: _Requests, known: Evidence, scorer_of: _ScorerOf
) -> OtherSide:
    """Result of the other side that a case was measured with."""
    good, log = known.good, begun.played
    theirs = _Requests(folder, side.filed, begun.journal_start, None, (), begun.prompts, in_turns=True)
    of_theirs = replace(
        known,
        planned=side.case,
        notes=lambda: side.case.notes,
        prompt_of=theirs.prompt_of,
        turn_requests=_turn_requests(begun, side)[BASELINE],
        resources=None,
        scorer=scorer_of(side, theirs),
        rows=theirs.scored_row,
    )
    result = result_of(theirs.samples(), of_theirs)
    readers = (
        _reader(begun.case, ours, good, scorer_of(begun, ours)),
        _reader(side.case, theirs, good, scorer_of(side, theirs)),
    )
    for reader in readers:
        reader.gaps = compares_gaps(side.terms, begun.case.scenario)
    plan = TurnPlan(side.looks, side.order_seed, _turn_requests(begun, side))
    ended = (log.look, log.pairs) if log is not None else None
    standings: Standings = read_standings(plan, (ours.measured(), theirs.measured()), readers, ended)
    return OtherSide(with_not_scored(result, standings, BASELINE), standings, side.shared_cache)


def _scorer(scoring: Scoring, of: BegunCase | BegunSide, requests: _Requests, stop: Stop) -> AnswerScorer | None:
    """Scorer of answers, as the run used it.

    A log of an earlier version lacks the expected answer; then the case's settings give it.
    """
    if of.expected is None:
        return scoring.of(of.case.settings.get("expect"), stop)
    rows = requests.scored_row if of.expected.by_rows else None
    refused = MASKED if of.expected.is_masked else _OF_HOOK if of.expected.by_hook else ""
    return scoring.of(of.expected.value, stop, refused=refused, rows=rows)


def _reader(case: PlannedCase, requests: _Requests, good: IsGood | None, scorer: AnswerScorer | None) -> TurnReader:
    asks = _Asks(is_deterministic(case.settings), requests.prompt_id, lambda index: requests.scored_row(index).category)
    reader = TurnReader(asks, good, scorer, requests.sample)
    reader.price = case.price
    return reader


@dataclass(frozen=True, slots=True)
class _Asks:
    """Request properties needed to read turns."""

    deterministic: bool
    prompt_id: Callable[[int], str]
    category_of: Callable[[int], str]


def _turn_requests(begun: BegunCase, side: BegunSide) -> tuple[int, int]:
    """Requests in a turn of the case and of its other side."""
    return turn_requests((_streams(begun.case), _streams(side.case)), same_requests=side.terms != REFERENCE_TERMS)


def _streams(case: PlannedCase) -> int:
    return max(case.load.concurrency, 1) if case.load is not None else 1


def _resources(folder: Path, begun: BegunCase) -> CaseResources:
    """Resource use: as logged, else from readings since the case began."""
    found = _used(folder, begun)
    return with_unattributed(found, ServerProcesses.from_record(begun.server)) if begun.server else found


def _used(folder: Path, begun: BegunCase) -> CaseResources:
    if begun.played is not None:
        return CaseResources(begun.played.resources, begun.played.resources_absent)

    def lines() -> Iterator[dict[str, Any]]:
        try:
            for line in JournalReader(folder / _RESOURCES):
                at_ns = line.get("at_ns")
                if line.get("nodeid") == begun.filed and type(at_ns) is int and at_ns >= begun.at_ns:
                    yield line
        except FileNotFoundError:  # the machine was not sampled
            return

    return stored_resources(lines())


@dataclass(slots=True)
class _Requests:
    """Requests of one side in the journal, readable more than once."""

    folder: Path
    filed: str
    start: int
    end: int | None
    plan_notes: tuple[str, ...]
    """Notes of the plans, up to the last request that was read."""
    prompts: bool
    """Whether the journal names prompts."""
    in_turns: bool = False
    """Whether turns are read after the samples, from what was decoded for these."""
    _decoded: dict[tuple[int, int], Sample] = field(default_factory=dict)
    _prompts: dict[int, str] = field(default_factory=dict)
    _rows: dict[int, ScoredRow] = field(default_factory=dict)

    @property
    def prompt_of(self) -> Callable[[int], str] | None:
        """Lookup of prompts by request index, or None without prompts."""
        return self.prompt_id if self.prompts else None

    def prompt_id(self, index: int) -> str:
        """Prompt of a request that was read."""
        return self._prompts.get(index, "")

    def scored_row(self, index: int) -> ScoredRow:
        """What the row of a request that was read says of its answer."""
        return self._rows.get(index, ScoredRow())

    def samples(self) -> Iterator[Sample]:
        """Decode all requests, and add missing ones to ``samples.jsonl``."""
        return _written_too(self.folder / _SAMPLES, self.filed, map(self.sample, self._exchanges()))

    def sample(self, exchange: Exchange) -> Sample:
        """The decoded request; a measured one of a turn is decoded once."""
        key = exchange.index, exchange.started_ns
        sample = self._decoded.pop(key, None)
        if sample is None:
            sample = decode(exchange)
            if self.in_turns and exchange.phase is Phase.MEASURED:
                self._decoded[key] = sample
        return sample

    def measured(self) -> Iterator[Exchange]:
        """Requests of the measured phase."""
        return (exchange for exchange in self._exchanges() if exchange.phase is Phase.MEASURED)

    def _exchanges(self) -> Iterator[Exchange]:
        try:
            for record in JournalReader(self.folder / _JOURNAL, start=self.start, end=self.end):
                if record.get("nodeid") == self.filed:
                    try:
                        exchange = Exchange.from_record(record)
                    except (ValueError, KeyError, TypeError):  # a damaged line
                        continue
                    self._note(exchange, record)
                    yield exchange
        except FileNotFoundError:  # killed before the first request
            return

    def _note(self, exchange: Exchange, record: Mapping[str, Any]) -> None:
        prompt, notes = record.get("prompt"), record.get("plan_notes")
        if isinstance(prompt, str) and self.prompts:
            self._prompts[exchange.index] = prompt
        if "row" in record:
            self._rows[exchange.index] = ScoredRow.from_record(record["row"])
        if isinstance(notes, list):
            self.plan_notes = tuple(map(str, notes))


def _written_too(path: Path, nodeid: str, samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield the samples, and add missing ones to the file.

    If the file can't be written, the journal still holds them.
    """
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
    """Start times of the case's samples in the file, by phase."""
    there: dict[str, set[int]] = {}
    if path.exists():
        for record in JournalReader(path):
            started_ns = record.get("started_ns")
            if record.get("nodeid") == nodeid and isinstance(started_ns, int):
                there.setdefault(str(record.get("phase")), set()).add(started_ns)
    return there
