"""Run log ``run.jsonl``: recovers the results of a killed run.

It holds what the journal of requests doesn't say.  Kinds of lines: ``run`` at the start and when more is known of the
run, ``preparing`` for each case before its model is made ready, ``begun`` before the first request of a case (in a
search: of each load), ``played`` after its last one, ``result`` for each case that was judged.  Lines are appended as
things happen, so that a kill at any moment loses none that was written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_flperf.results.journal import Journal, JournalReader
from pytest_flperf.results.measured import LoopMs, ResourceUse
from pytest_flperf.results.records import CaseResult, PlannedCase, Run
from pytest_flperf.results.run_folder import RUN_LOG, RunFolder
from pytest_flperf.results.validation import checked_case, checked_planned, checked_run

__all__ = [
    "MASKED",
    "BegunCase",
    "BegunSide",
    "Expected",
    "Key",
    "LoggedRun",
    "PlayedCase",
    "RunLog",
    "SearchLoad",
    "read_run_log",
]

MASKED: Final = "the expected answer held something that looks like a key, which is not stored"
"""Why an answer is not scored again."""
_LARGEST_FILE: Final = 1 << 60
_MOST_LOOKS: Final = 10_000
_LARGEST_COUNT: Final = 1 << 64
_OVER: Final = ("concurrency", "rate")
Key: TypeAlias = tuple[str, str]
"""Node id and host: what tells cases apart."""


@dataclass(frozen=True, slots=True)
class SearchLoad:
    """One load of a search, and the range of the search."""

    over: str
    """``concurrency`` or ``rate``."""
    lowest: float
    highest: float
    load: float

    def to_record(self) -> dict[str, Any]:
        """The record as logged."""
        return {"over": self.over, "lowest": self.lowest, "highest": self.highest, "load": self.load}

    @classmethod
    def from_record(cls, record: Any) -> SearchLoad:
        """Read a logged record; raises KeyError, TypeError or ValueError."""
        loads = [float(record[name]) for name in ("lowest", "highest", "load")]
        if record["over"] not in _OVER or not all(math.isfinite(load) and load > 0 for load in loads):
            raise ValueError("not a load of a search")
        return cls(record["over"], *loads)


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected answers in full, which results hold cut."""

    value: Mapping[str, Any] | None
    """As a suite has it; None: anything."""
    is_masked: bool = False
    """Whether a text that looks like a key was masked: the rest can't be used for scoring."""
    by_rows: bool = False
    """Whether rows have expectations of their own, which the journal holds."""
    by_hook: bool = False
    """Whether the hook could score answers in its place: nobody else's scores are those of the run."""

    @classmethod
    def from_record(cls, record: Any) -> Expected | None:
        """Read the output of ``asdict``; None: a log of an older version.

        Raises KeyError or ValueError for any other record.
        """
        if record is None:
            return None
        value = record["value"]
        if not (value is None or isinstance(value, dict)):
            raise ValueError("no expectation")
        return cls(value, record["is_masked"] is True, record.get("by_rows") is True, record.get("by_hook") is True)


@dataclass(frozen=True, slots=True)
class BegunSide:
    """The other side of a case measured in turns, with its plan."""

    case: PlannedCase
    """The case as known before its first request."""
    filed: str
    """The name of its requests in the journal."""
    looks: tuple[int, ...]
    """Numbers of pairs after which the comparison is evaluated."""
    order_seed: int
    """Determines which side begins each pair."""
    shared_cache: bool = False
    terms: Mapping[str, Any] = field(default_factory=dict)
    """The terms by which the sides are compared."""
    expected: Expected | None = None

    def to_record(self) -> dict[str, Any]:
        """The record as logged."""
        return {
            "begun": self.case.to_dict(),
            "filed": self.filed,
            "looks": list(self.looks),
            "order_seed": self.order_seed,
            "shared_cache": self.shared_cache,
            "terms": dict(self.terms),
            "expected": None if self.expected is None else asdict(self.expected),
        }

    @classmethod
    def from_record(cls, record: Any) -> BegunSide:
        """Read a logged record; raises KeyError, TypeError or ValueError."""
        looks, seed, terms = tuple(record["looks"]), record["order_seed"], record["terms"]
        if not (0 < len(looks) <= _MOST_LOOKS and all(map(_is_count, (*looks, seed))) and isinstance(terms, dict)):
            raise ValueError("not a plan of turns")
        if list(looks) != sorted(set(looks)) or not looks[0]:
            raise ValueError("looks are out of order")
        filed, shared = str(record["filed"]), record["shared_cache"] is True
        expected = Expected.from_record(record.get("expected"))
        return cls(checked_planned(record["begun"]), filed, looks, seed, shared, terms, expected)


@dataclass(frozen=True, slots=True)
class PlayedCase:
    """A case after its last request, as far as only logged here."""

    trouble: str = ""
    """Why fewer requests were measured than planned; empty where all were."""
    out_of_time: bool = False
    notes: tuple[str, ...] = ()
    """Notes known before the case, and those of its plans and its server."""
    loop_ms: LoopMs | None = None
    loop_histogram: Mapping[str, int] = field(default_factory=dict)
    resources: Mapping[str, ResourceUse] = field(default_factory=dict)
    resources_absent: Mapping[str, str] = field(default_factory=dict)
    look: int = 0
    """Number of the last evaluation of its turns; 0: it was measured alone, or never evaluated."""
    pairs: int = 0
    """Pairs of turns at that evaluation."""

    def to_record(self) -> dict[str, Any]:
        """The record as logged."""
        return {
            "trouble": self.trouble,
            "out_of_time": self.out_of_time,
            "notes": list(self.notes),
            "loop_ms": None if self.loop_ms is None else self.loop_ms.to_dict(),
            "loop_histogram": dict(self.loop_histogram),
            "resources": {name: use.to_dict() for name, use in self.resources.items()},
            "resources_absent": dict(self.resources_absent),
            "look": self.look,
            "pairs": self.pairs,
        }

    @classmethod
    def from_record(cls, record: Any) -> PlayedCase:
        """Read a record; raises KeyError, TypeError, AttributeError or ValueError."""
        look, pairs, loop_ms = record["look"], record["pairs"], record["loop_ms"]
        if not (_is_count(look) and _is_count(pairs)):
            raise ValueError("not a number of turns")
        return cls(
            trouble=str(record["trouble"]),
            out_of_time=record["out_of_time"] is True,
            notes=tuple(map(str, record["notes"])),
            loop_ms=None if loop_ms is None else LoopMs.from_dict(loop_ms),
            loop_histogram=dict(record["loop_histogram"]),
            resources={name: ResourceUse.from_dict(use) for name, use in record["resources"].items()},
            resources_absent=dict(record["resources_absent"]),
            look=look,
            pairs=pairs,
        )


@dataclass(frozen=True, slots=True)
class BegunCase:
    """A case as it began; in a search, one of its loads."""

    case: PlannedCase
    budgets: tuple[str, ...]
    journal_start: int
    filed: str = ""
    """The name of its requests in the journal."""
    at_ns: int = 0
    """When it began, on the clock of its requests."""
    plan_notes: tuple[str, ...] = ()
    """Notes of its plans before the first request; the journal holds later ones."""
    prompts: bool = False
    """Whether the journal names the prompts of its requests."""
    load: SearchLoad | None = None
    beside: BegunSide | None = None
    played: PlayedCase | None = None
    """None: requests were still running."""
    earlier: tuple[BegunCase, ...] = ()
    """The loads of its search before this one."""
    server: Mapping[str, Any] = field(default_factory=dict)
    """The processes that served it, as builtins; empty: a log of an older version."""
    expected: Expected | None = None

    def to_record(self) -> dict[str, Any]:
        """The record as logged; later facts have lines of their own."""
        record: dict[str, Any] = {
            "begun": self.case.to_dict(),
            "budgets": list(self.budgets),
            "journal_start": self.journal_start,
            "filed": self.filed or self.case.nodeid,
            "at_ns": self.at_ns,
            "plan_notes": list(self.plan_notes),
            "prompts": self.prompts,
            "server": dict(self.server),
            "expected": None if self.expected is None else asdict(self.expected),
        }
        record |= {"load": self.load.to_record()} if self.load is not None else {}
        record |= {"beside": self.beside.to_record()} if self.beside is not None else {}
        return record


class RunLog:
    """Run log writer; never raises.

    Without a folder, or where it isn't writable, nothing is written.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        self._journal: Journal | None = folder.journal(RUN_LOG) if folder is not None else None

    def run(self, run: Run) -> None:
        """Log the run, without its cases, at start and later changes."""
        self._append({"run": replace(run, cases=()).to_dict()})

    def preparing(self, case: PlannedCase) -> None:
        """Log that a case's model is about to be made ready."""
        self._append({"preparing": case.to_dict()})

    def begun(self, begun: BegunCase) -> None:
        """Log that a case begins, or a load of a search."""
        self._append(begun.to_record())

    def played(self, case: PlannedCase, filed: str, played: PlayedCase) -> None:
        """Log the end of a case, or of a search's load.

        Its last request has ended.
        """
        self._append({"played": played.to_record(), "nodeid": case.nodeid, "host": case.host, "filed": filed})

    def result(self, case: CaseResult) -> None:
        """Log the result of a case that was judged."""
        self._append({"result": case.to_dict()})

    def close(self) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()

    def _append(self, record: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(record)


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """Contents of a run log."""

    run: Run | None = None
    """The run without its cases; None where the log has none."""
    begun: Mapping[Key, BegunCase] = field(default_factory=dict)
    """Cases that began and were not judged yet."""
    results: Mapping[Key, CaseResult] = field(default_factory=dict)
    preparing: Mapping[Key, PlannedCase] = field(default_factory=dict)
    """Cases whose model was being made ready."""


@dataclass(slots=True)
class _Reading:
    """State of a run log while it is read."""

    run: Run | None = None
    begun: dict[Key, BegunCase] = field(default_factory=dict)
    results: dict[Key, CaseResult] = field(default_factory=dict)
    preparing: dict[Key, PlannedCase] = field(default_factory=dict)

    def take(self, record: Mapping[str, Any]) -> None:
        """Apply one line of the log.

        Raises KeyError, TypeError, AttributeError or ValueError where the line is invalid.
        """
        if "run" in record:
            self.run = checked_run(record["run"])
        elif "preparing" in record:
            case = checked_planned(record["preparing"])
            self.preparing[case.nodeid, case.host] = case
        elif "begun" in record:
            self._begin(_begun_case(record))
        elif "played" in record:
            self._play((record["nodeid"], record["host"]), record["filed"], PlayedCase.from_record(record["played"]))
        elif "result" in record:
            case = checked_case(record["result"])
            self.results[case.nodeid, case.host] = case
            self.begun.pop((case.nodeid, case.host), None)
            self.preparing.pop((case.nodeid, case.host), None)

    def _begin(self, begun: BegunCase) -> None:
        key = begun.case.nodeid, begun.case.host
        before = self.begun.get(key)
        goes_on = before is not None and before.load is not None and begun.load is not None
        if before is not None and goes_on and begun.load != _first_load(before):
            begun = replace(begun, earlier=(*before.earlier, replace(before, earlier=())))
        self.begun[key] = begun
        self.preparing.pop(key, None)

    def _play(self, key: Key, filed: str, played: PlayedCase) -> None:
        begun = self.begun.get(key)
        if begun is not None and begun.filed == filed:
            self.begun[key] = replace(begun, played=played)


def _first_load(begun: BegunCase) -> SearchLoad | None:
    return (*begun.earlier, begun)[0].load


def read_run_log(path: Path) -> LoggedRun:
    """Read a run log; invalid lines are skipped.

    Raises OSError where the file can't be read.
    """
    found = _Reading()
    for record in JournalReader(path):
        try:
            found.take(record)
        # a line of a newer version, or a damaged one
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            continue
    return LoggedRun(found.run, found.begun, found.results, found.preparing)


def _begun_case(record: Mapping[str, Any]) -> BegunCase:
    """Read a line of a case that began; older versions wrote less."""
    case = checked_planned(record["begun"])
    start, at_ns, load, beside = (record.get(name) for name in ("journal_start", "at_ns", "load", "beside"))
    return BegunCase(
        case,
        budgets=tuple(map(str, record.get("budgets") or ())),
        # where the offset is invalid, start at the first byte: lines of other cases are skipped
        journal_start=start if type(start) is int and 0 <= start < _LARGEST_FILE else 0,
        filed=str(record.get("filed") or case.nodeid),
        at_ns=at_ns if type(at_ns) is int else 0,
        plan_notes=tuple(map(str, record.get("plan_notes") or ())),
        prompts=record.get("prompts") is True,
        load=None if load is None else SearchLoad.from_record(load),
        beside=None if beside is None else BegunSide.from_record(beside),
        server=dict(record.get("server") or {}),
        expected=Expected.from_record(record.get("expected")),
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_COUNT
