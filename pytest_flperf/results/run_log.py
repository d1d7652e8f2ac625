"""``run.jsonl``: what must be known beside the journal to make results of a run that nobody could finish.

Kinds of lines: ``run`` when it begins and where more is known of it, ``preparing`` for each case before its model is
made ready, ``begun`` before the first request of a case (of a search: of each load), ``played`` after its last one,
``result`` for each case that was judged.  They are appended as things happen, so that a kill at any moment loses none
that was there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_flperf.results.journal import Journal, JournalReader
from pytest_flperf.results.measured import LoopMs, ResourceUse
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.validation import checked_case, checked_run

__all__ = [
    "RUN_LOG",
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

RUN_LOG: Final = "run.jsonl"
_LARGEST_FILE: Final = 1 << 60
_MOST_LOOKS: Final = 10_000
_LARGEST_COUNT: Final = 1 << 64
_OVER: Final = ("concurrency", "rate")
Key: TypeAlias = tuple[str, str]
"""Node id and host: what tells cases apart."""


@dataclass(frozen=True, slots=True)
class SearchLoad:
    """One load of a search, and between which loads it looks."""

    over: str
    """``concurrency`` or ``rate``."""
    lowest: float
    highest: float
    load: float

    def to_record(self) -> dict[str, Any]:
        """As it is logged."""
        return {"over": self.over, "lowest": self.lowest, "highest": self.highest, "load": self.load}

    @classmethod
    def from_record(cls, record: Any) -> SearchLoad:
        """The inverse; raises KeyError, TypeError or ValueError."""
        loads = [float(record[name]) for name in ("lowest", "highest", "load")]
        if record["over"] not in _OVER or not all(math.isfinite(load) and load > 0 for load in loads):
            raise ValueError("no load of a search")
        return cls(record["over"], *loads)


@dataclass(frozen=True, slots=True)
class Expected:
    """What answers shall be, whole: results hold it cut."""

    value: Mapping[str, Any] | None
    """As a suite has it; None: anything."""
    is_masked: bool = False
    """Whether it held what looks like a key, which is not kept: nothing can be scored by the rest."""

    @classmethod
    def from_record(cls, record: Any) -> Expected | None:
        """The inverse of ``asdict``; None: a log of a version before.  Raises KeyError or ValueError for no such."""
        if record is None:
            return None
        value = record["value"]
        if not (value is None or isinstance(value, dict)):
            raise ValueError("no expectation")
        return cls(value, record["is_masked"] is True)


@dataclass(frozen=True, slots=True)
class BegunSide:
    """The other side of a case that is measured turn by turn, and how the turns were planned."""

    case: CaseResult
    """What is known of it before its first request."""
    filed: str
    """Under which name its requests are in the journal."""
    looks: tuple[int, ...]
    """After how many pairs they are looked at."""
    order_seed: int
    """Says which side begins each pair."""
    shared_cache: bool = False
    terms: Mapping[str, Any] = field(default_factory=dict)
    """By what the sides are compared."""
    expected: Expected | None = None

    def to_record(self) -> dict[str, Any]:
        """As it is logged."""
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
        """The inverse; raises KeyError, TypeError or ValueError."""
        looks, seed, terms = tuple(record["looks"]), record["order_seed"], record["terms"]
        if not (0 < len(looks) <= _MOST_LOOKS and all(map(_is_count, (*looks, seed))) and isinstance(terms, dict)):
            raise ValueError("no plan of turns")
        if list(looks) != sorted(set(looks)) or not looks[0]:
            raise ValueError("looks are in no order")
        filed, shared = str(record["filed"]), record["shared_cache"] is True
        expected = Expected.from_record(record.get("expected"))
        return cls(checked_case(record["begun"]), filed, looks, seed, shared, terms, expected)


@dataclass(frozen=True, slots=True)
class PlayedCase:
    """What is known of a case after its last request, and stands in no other file."""

    trouble: str = ""
    """Why fewer requests were measured than planned; empty where all were."""
    out_of_time: bool = False
    notes: tuple[str, ...] = ()
    """Those of what was known before, and what its plans and its server said."""
    loop_ms: LoopMs | None = None
    loop_histogram: Mapping[str, int] = field(default_factory=dict)
    resources: Mapping[str, ResourceUse] = field(default_factory=dict)
    resources_absent: Mapping[str, str] = field(default_factory=dict)
    look: int = 0
    """The how many-th look at its turns was the last one; 0: it was measured alone, or there was none."""
    pairs: int = 0
    """Of turns, as of that look."""

    def to_record(self) -> dict[str, Any]:
        """As it is logged."""
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
        """The inverse; raises KeyError, TypeError, AttributeError or ValueError."""
        look, pairs, loop_ms = record["look"], record["pairs"], record["loop_ms"]
        if not (_is_count(look) and _is_count(pairs)):
            raise ValueError("no number of turns")
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
    """A case as it was when it began; of a search, one of its loads."""

    case: CaseResult
    budgets: tuple[str, ...]
    journal_start: int
    filed: str = ""
    """Under which name its requests are in the journal."""
    at_ns: int = 0
    """When it began, on the clock of its requests."""
    plan_notes: tuple[str, ...] = ()
    """What its plans said before the first request; the journal says what they said later."""
    prompts: bool = False
    """Whether the journal names the prompts of its requests."""
    load: SearchLoad | None = None
    beside: BegunSide | None = None
    played: PlayedCase | None = None
    """None: requests were under way."""
    earlier: tuple[BegunCase, ...] = ()
    """The loads of its search before this one."""
    server: Mapping[str, Any] = field(default_factory=dict)
    """The processes that served it, plain; empty: a log of a version before."""
    expected: Expected | None = None

    def to_record(self) -> dict[str, Any]:
        """As it is logged; what is known later has lines of its own."""
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
    """Writes the lines; without a folder, or where it can't be written, it writes none and nothing raises."""

    def __init__(self, folder: RunFolder | None) -> None:
        self._journal: Journal | None = folder.journal(RUN_LOG) if folder is not None else None

    def run(self, run: Run) -> None:
        """A run begins, or more is known of it; its cases are left out."""
        self._append({"run": replace(run, cases=()).to_dict()})

    def preparing(self, case: CaseResult) -> None:
        """The model of a case is about to be made ready."""
        self._append({"preparing": case.to_dict()})

    def begun(self, begun: BegunCase) -> None:
        """A case begins, or a load of a search."""
        self._append(begun.to_record())

    def played(self, case: CaseResult, filed: str, played: PlayedCase) -> None:
        """The last request of a case has ended; of a search, of one of its loads."""
        self._append({"played": played.to_record(), "nodeid": case.nodeid, "host": case.host, "filed": filed})

    def result(self, case: CaseResult) -> None:
        """A case was judged."""
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
    """A run log, read."""

    run: Run | None = None
    """Without cases; None where the log doesn't say."""
    begun: Mapping[Key, BegunCase] = field(default_factory=dict)
    """Cases that began and were not judged since."""
    results: Mapping[Key, CaseResult] = field(default_factory=dict)
    preparing: Mapping[Key, CaseResult] = field(default_factory=dict)
    """Cases whose model was being made ready."""


@dataclass(slots=True)
class _Reading:
    """A log, as far as it has been read."""

    run: Run | None = None
    begun: dict[Key, BegunCase] = field(default_factory=dict)
    results: dict[Key, CaseResult] = field(default_factory=dict)
    preparing: dict[Key, CaseResult] = field(default_factory=dict)

    def take(self, record: Mapping[str, Any]) -> None:
        """A line of it; raises KeyError, TypeError, AttributeError or ValueError where it is none."""
        if "run" in record:
            self.run = checked_run(record["run"])
        elif "preparing" in record:
            case = checked_case(record["preparing"])
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
    """Read a log; what is none of its lines is passed over.  Raises OSError where the file can't be read."""
    found = _Reading()
    for record in JournalReader(path):
        try:
            found.take(record)
        # a line of a newer version, or a damaged one
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            continue
    return LoggedRun(found.run, found.begun, found.results, found.preparing)


def _begun_case(record: Mapping[str, Any]) -> BegunCase:
    """A line of a case that began; versions before wrote less of it."""
    case = checked_case(record["begun"])
    start, at_ns, load, beside = (record.get(name) for name in ("journal_start", "at_ns", "load", "beside"))
    return BegunCase(
        case,
        budgets=tuple(map(str, record.get("budgets") or ())),
        # of what is no byte of a file, its first: lines of other cases are passed over
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
