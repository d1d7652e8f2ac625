"""Recording of exchanges: on disk as requests finish, then decoded.

Until they are decoded, they are kept in memory as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pytest_flperf.loadgen.plan import KEPT_BYTES
from pytest_flperf.measurement.written_prompts import PromptOf, WrittenPrompts
from pytest_flperf.quality.rows import ExpectedOf, ScoredRow
from pytest_flperf.results.journal import LINE_LIMIT, Journal, json_characters
from pytest_flperf.results.records import PlannedCase
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import PROMPTS, RunFolder
from pytest_flperf.results.run_log import MASKED, BegunCase, BegunSide, Expected, PlayedCase, RunLog, SearchLoad
from pytest_flperf.stats.descriptive.request_values import RequestValues
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.sample import Sample

__all__ = ["BesideEach", "CaseRecording", "Recorder"]

_IN_MEMORY_BYTES: Final = 64 << 20
_LINE_ROOM: Final = LINE_LIMIT - (4 << 20)
"""For an answer and its reads; the rest is for the case's name and all else."""
_READ_CHARACTERS: Final = 64
"""Most that a read's time, lag and length take together."""
_LONGEST_ESCAPE: Final = 6


class Recorder:
    """The journal and the samples of a run.

    The journal gets every exchange at once, as it came; ``samples.jsonl`` follows when a case is decoded.  Without a
    folder (a notebook, a disk that can't be written) everything stays in memory.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        redactor: Redactor,
        *,
        in_memory_bytes: int = _IN_MEMORY_BYTES,
        most_values: int = 0,
    ) -> None:
        """Open the files.

        Args:
            folder: Where the files are; None: nothing is written.
            redactor: Masks secrets.
            in_memory_bytes: Limit of one case's answers kept in memory; those beyond it are read from the journal.
            most_values: Values of each metric to keep of a case, as of :class:`RequestValues`.

        """
        self._in_memory_bytes = in_memory_bytes
        self._most_values = most_values
        self._journal: Journal | None = folder.journal("journal.jsonl") if folder else None
        self._samples: Journal | None = folder.journal("samples.jsonl") if folder else None
        self._prompts: Journal | None = folder.journal(PROMPTS) if folder else None
        self._log = RunLog(folder)
        self.redactor = redactor

    def preparing(self, planned: PlannedCase) -> None:
        """Record that a case's model is about to be made ready."""
        self._log.preparing(planned)

    def case(self, nodeid: str) -> CaseRecording:
        """Begin to record a case."""
        return CaseRecording(
            nodeid,
            self._journal,
            self._samples,
            self._log,
            self.redactor,
            self._in_memory_bytes,
            self._most_values,
            self._prompts,
        )

    def close(self) -> None:
        """Close the files."""
        for journal in (self._journal, self._samples, self._prompts):
            if journal is not None:
                journal.close()
        self._log.close()


@dataclass(frozen=True, slots=True)
class BesideEach:
    """What the journal holds beside each request, since it can't be derived later."""

    plan_notes: Callable[[], tuple[str, ...]] = tuple
    """What the plans say by now."""
    prompt_of: Callable[[int], str] | None = None
    """Names the prompt of a measured request, where answers are scored by prompt."""
    rows: ExpectedOf | None = None
    """Tells what the row of a measured request says of its answer."""


NOTHING_BESIDE: Final = BesideEach()


class CaseRecording:
    """The exchanges of one case, in the order in which they finished."""

    def __init__(
        self,
        nodeid: str,
        journal: Journal | None,
        samples: Journal | None,
        log: RunLog,
        redactor: Redactor,
        in_memory_bytes: int = _IN_MEMORY_BYTES,
        most_values: int = 0,
        prompts: Journal | None = None,
    ) -> None:
        self.nodeid = nodeid
        self._journal = journal
        self._samples = samples
        self._prompts = prompts
        self._log = log
        self._redactor = redactor
        self._in_memory_bytes = in_memory_bytes
        self._kept: list[Exchange | None] = []  # None: to be read from the journal
        self._masked_rows: dict[int, tuple[ScoredRow, ScoredRow]] = {}  # by identity: a row may be asked many times
        self._written = bytearray()  # of each, whether the journal has it
        self._kept_bytes = 0
        self._early: dict[tuple[Phase, int, int], Sample] = {}
        self._start = _size(journal.path) if journal else 0
        self._beside_each = NOTHING_BESIDE
        self._noted: tuple[str, ...] = ()
        self.count = 0
        self.trouble = ""
        """Why not all of the requests could be read again; empty where all were."""
        self.values = RequestValues(most_values)
        """Values of single requests, once the case is summed up."""

    def begin(
        self,
        planned: PlannedCase,
        budgets: tuple[str, ...],
        *,
        beside_each: BesideEach = NOTHING_BESIDE,
        load: SearchLoad | None = None,
        beside: BegunSide | None = None,
        server: Mapping[str, Any] | None = None,
        expected: Expected | None = None,
    ) -> None:
        """Record what a recovery must know of the case.

        It is used where the case is never finished.

        Args:
            planned: What is known before its first request.
            budgets: What it will be judged by, as written.
            beside_each: As of :meth:`follow`.
            load: Which load of a search it is.
            beside: The other side that it is measured with.
            server: The processes that serve it, plain.
            expected: What answers shall be.

        """
        self.follow(beside_each)
        self._log.begun(
            BegunCase(
                planned,
                budgets,
                self._start,
                filed=self.nodeid,
                at_ns=time.monotonic_ns(),
                plan_notes=self._noted,
                prompts=beside_each.prompt_of is not None,
                load=load,
                beside=beside,
                server=server or {},
                expected=expected,
            )
        )

    def expected(self, expect: Mapping[str, Any] | None, *, by_rows: bool = False, by_hook: bool = False) -> Expected:
        """Expected answers, with secrets masked."""
        masked = self._redactor.value(expect)
        return Expected(masked, is_masked=masked != expect, by_rows=by_rows, by_hook=by_hook)

    def follow(self, beside_each: BesideEach) -> None:
        """Add to each journal entry what can't be derived later."""
        self._beside_each = beside_each
        self._noted = beside_each.plan_notes()

    def played(self, planned: PlannedCase, played: PlayedCase) -> None:
        """Record what is known after the last request.

        Only what stands in no other file.
        """
        self._log.played(planned, self.nodeid, played)

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange, secrets masked: on disk first."""
        exchange = replace(
            exchange,
            raw=self._without_secrets(exchange),
            detail=self._redactor.text(exchange.detail, 2_000),
        )
        fitting = _fitting(exchange)
        written = self._journal is not None and self._journal.append(self._record(fitting))
        self.count += 1
        self._kept_bytes += len(exchange.raw)
        on_disk_only = written and fitting is exchange and self._kept_bytes > self._in_memory_bytes
        self._kept.append(None if on_disk_only else exchange)
        self._written.append(written)

    def _record(self, exchange: Exchange) -> dict[str, Any]:
        record = {"nodeid": self.nodeid, **exchange.to_record()}
        beside = self._beside_each
        if exchange.phase is Phase.MEASURED:
            if beside.prompt_of is not None:
                record["prompt"] = beside.prompt_of(exchange.index)
            if beside.rows is not None:
                record["row"] = self.masked(beside.rows(exchange.index)).to_record()
        notes = beside.plan_notes()
        if notes != self._noted:
            self._noted = notes
            record["plan_notes"] = list(notes)
        return record

    def early(self, exchange: Exchange) -> Sample:
        """Decode an exchange before its case ends, secrets masked.

        What is measured next depends on it.  The sample is kept, so that :meth:`samples` doesn't decode it again; not
        beyond the limit of answers in memory.
        """
        sample = self._sample(replace(exchange, raw=self._without_secrets(exchange)))
        if self._kept_bytes <= self._in_memory_bytes:
            self._early[_key(exchange)] = sample
        return sample

    def masked_text(self, text: str) -> str:
        """A text with secrets masked."""
        return self._redactor.text(text)

    def masked(self, row: ScoredRow) -> ScoredRow:
        """A row with secrets masked; a masked expectation can't score."""
        known = self._masked_rows.get(id(row))
        if known is not None:
            return known[1]
        expect = self._redactor.value(row.expect)
        found = ScoredRow(
            None if expect != row.expect else expect,
            self._redactor.text(row.id),
            self._redactor.text(row.category),
            MASKED if expect != row.expect else row.refused,
        )
        self._masked_rows[id(row)] = row, found
        return found

    def samples(self) -> Iterator[Sample]:
        """Decode all exchanges, outside the measured part."""
        return (self._early.get(_key(exchange)) or self._sample(exchange) for exchange in self._exchanges())

    def filed(self, samples: Iterable[Sample], written: PromptOf | None = None) -> Iterator[Sample]:
        """Pass samples on, and add each to ``samples.jsonl``.

        ``written``: what measured requests asked, for judges; when all samples have passed, ``prompts.jsonl`` gets a
        line for each prompt.
        """
        prompts = WrittenPrompts(written if self._prompts is not None else None)
        for sample in samples:
            if self._samples is not None:
                self._samples.append({"nodeid": self.nodeid, **sample.to_record()})
            prompts.add(sample)
            yield sample
        if self._prompts is not None:
            for record in prompts.records(self._redactor.exact):
                self._prompts.append({"nodeid": self.nodeid, **record})

    def measured(self) -> Iterator[Exchange]:
        """The measured requests, in the order in which they ended."""
        return (exchange for exchange in self._exchanges() if exchange.phase is Phase.MEASURED)

    def _exchanges(self) -> Iterator[Exchange]:
        records = self._records() if None in self._kept else iter(())
        lost = 0
        for kept, written in zip(self._kept, self._written, strict=True):
            record = next(records, None) if written else None
            exchange = kept if kept is not None else _read(record)
            if exchange is None:
                lost += 1
            else:
                yield exchange
        if lost:
            self.trouble = f"{lost} requests of the case are gone: their journal was damaged while it was written"

    def _records(self) -> Iterator[dict[str, Any]]:
        assert self._journal is not None
        try:
            for record in self._journal.records(self._start):
                if record.get("nodeid") == self.nodeid:
                    yield record
        except OSError:
            return

    def _without_secrets(self, exchange: Exchange) -> bytes:
        return self._redactor.answer(exchange.raw, is_cut=exchange.left_out_bytes > 0)

    def _sample(self, exchange: Exchange) -> Sample:
        """The decoded exchange with secrets masked.

        The journal's bytes are masked as they came; a secret that was split over several chunks shows only here.
        """
        sample = decode(exchange)
        sample = replace(
            sample,
            output_text=self._redactor.exact(sample.output_text),
            reasoning_text=self._redactor.exact(sample.reasoning_text),
            tool_calls=tuple(
                replace(call, name=self._redactor.exact(call.name), arguments=self._redactor.exact(call.arguments))
                for call in sample.tool_calls
            ),
        )
        evidence = sample.evidence
        if evidence is None:
            return sample
        masked = replace(
            evidence,
            detail=self._redactor.text(evidence.detail, 1_000),
            body_head=self._redactor.text(evidence.body_head, 2_048),
        )
        return replace(sample, evidence=masked)


def _key(exchange: Exchange) -> tuple[Phase, int, int]:
    return exchange.phase, exchange.index, exchange.started_ns


def _read(record: dict[str, Any] | None) -> Exchange | None:
    try:
        return None if record is None else Exchange.from_record(record)
    except (ValueError, KeyError, TypeError):  # a damaged line
        return None


def _fitting(exchange: Exchange) -> Exchange:
    """The exchange, its answer cut to fit a journal line."""
    size = len(exchange.read_bytes) * _READ_CHARACTERS
    if size + len(exchange.raw) * _LONGEST_ESCAPE <= _LINE_ROOM or size + json_characters(exchange.raw) <= _LINE_ROOM:
        return exchange
    return exchange.cut(KEPT_BYTES, f"a line of the journal holds the first {KEPT_BYTES} bytes of the answer")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
