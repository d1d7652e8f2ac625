"""The store of runs: SQLite or PostgreSQL, through one code.  Importing this imports SQLAlchemy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Column, ColumnElement, RowMapping, Table, delete, func, insert, literal_column, select
from sqlalchemy.exc import DBAPIError

from pytest_flperf.history.database import Database, StoreError
from pytest_flperf.history.rows import (
    CaseValues,
    Row,
    as_stored,
    case_rows,
    document_row,
    is_document,
    log_rows,
    metric_rows,
    model_rows,
    read_document,
    read_values,
    resource_rows,
    run_row,
    value_rows,
)
from pytest_flperf.history.stored_values import checked_run_row, checked_text
from pytest_flperf.history.surroundings import Surroundings
from pytest_flperf.history.tables import (
    BASELINES,
    CASES,
    DOCUMENTS,
    LOGS,
    METRICS,
    MODELS,
    OF_RUNS,
    RESOURCES,
    RUNS,
    VALUES,
)
from pytest_flperf.results.records import Run

__all__ = ["COMPARABLE", "Added", "Pruned", "Store", "StoreError", "StoredBaseline", "StoredRun"]

_AT_ONCE: Final = 500
"""Parameters in one statement; SQLite's limit was 999 once."""

COMPARABLE: Final = ("passed", "failed")
"""Verdicts of runs that measured what they were to measure."""
_NODE_HEAD: Final = "substr(flperf_cases.nodeid, 1, 400)"
_NODE_TAIL: Final = "substr(flperf_cases.nodeid, 401)"
_NODE_CHARACTERS: Final = 400
"""The head of a node id has an index, which databases know again only where it is written so; beside it no condition on
the whole id, which SQLite would put into the head's, and then find no index."""
_INFINITE: Final = 1e300
_STATISTICS: Final = frozenset({"mean", "p50", "p90", "p95", "p99", "min", "max"})
_OF_CASES: Final = frozenset({"request_rate", "goodput", "tps_total"})
_FIRST_PAGE: Final = 40
_LARGER: Final = 4

Added: TypeAlias = Literal["added", "replaced", "known"]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What the store knows of a run beside its results."""

    id: str
    started_at: str
    finished_at: str | None
    status: str
    partial: bool
    suites: tuple[str, ...]
    cases: int
    cases_passed: int
    fingerprint: str
    git_commit: str | None
    git_branch: str | None
    ci_system: str | None
    ci_job: str | None
    ci_url: str | None
    folder: str | None


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    """A run that somebody gave a name."""

    name: str
    run_id: str
    set_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What came of a pruning: ids of runs, oldest first."""

    gone: list[str]
    held: list[str]
    """Older ones that stayed because a baseline names them."""


class Store(Database):
    """An open store.  Every method raises StoreError; use as a context manager."""

    # ---- writing

    def add(self, run: Run, about: Surroundings | None = None, values: CaseValues | None = None) -> Added:
        """Store a run, whole or not at all; ``known``: it is there already, word for word.

        A run that is there with other results (it was interrupted then, and recovered since) is replaced, and keeps
        its commit, job and folder where the new one has none.  One that is known gets its values where it has none.

        Args:
            run: What was measured.
            about: What it belongs to.
            values: Of single requests, by node id and host.

        """
        row, document = run_row(run, about or Surroundings()), document_row(run)
        with self._told(), self._writing():
            found = self._row_of(row["id"])
            if found is not None:
                if found["started_at"] != row["started_at"]:
                    raise StoreError(
                        f"run {run.id} is not stored in {self._place.shown}: another run has that id, which began "
                        f"{found['started_at']}"
                    )
                known = select(DOCUMENTS).where(DOCUMENTS.c.run_key == found["run_key"])
                if is_document(self._connection.execute(known).mappings().first(), document["digest"]):
                    self._insert_missing_values(found["run_key"], run, values or {})
                    return "known"
                for name in ("git_commit", "git_branch", "ci_system", "ci_job", "ci_url", "folder"):
                    row[name] = found[name] if row[name] is None else row[name]
                self._delete([found["run_key"]])
            key = found["run_key"] if found is not None else self._next_key()
            self._connection.execute(insert(RUNS), {"run_key": key, **row})
            self._insert_parts(key, run, document)
            self._insert(VALUES, key, value_rows(run, values or {}))
        return "replaced" if found is not None else "added"

    def _insert_parts(self, key: int, run: Run, document: Row) -> None:
        for table, rows in (
            (DOCUMENTS, [document]),
            (CASES, case_rows(run)),
            (METRICS, metric_rows(run)),
            (RESOURCES, resource_rows(run)),
            (MODELS, model_rows(run)),
            (LOGS, log_rows(run)),
        ):
            self._insert(table, key, rows)

    def _insert(self, table: Table, key: int, rows: Sequence[Row]) -> None:
        if rows:
            self._connection.execute(insert(table), [{"run_key": key, **row} for row in rows])

    def _insert_missing_values(self, key: int, run: Run, values: CaseValues) -> None:
        count = select(func.count()).select_from(VALUES).where(VALUES.c.run_key == key)
        if values and not self._connection.execute(count).scalar():
            self._insert(VALUES, key, value_rows(run, values))

    def prune(self, keep: int) -> Pruned:
        """Remove all but the newest runs, and those that a baseline names."""
        with self._told(), self._writing():
            newest = select(RUNS.c.run_key, RUNS.c.id).order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
            older = [(key, checked_text(run_id, "id")) for key, run_id in self._connection.execute(newest)][keep:]
            named = set(self._connection.execute(select(BASELINES.c.run_id)).scalars())
            gone = [each for each in older if each[1] not in named]
            self._delete([key for key, _ in gone])
        if gone and self._place.kind == "sqlite":
            # gives the space back to the disk; while somebody else reads, it is kept for the runs to come
            with contextlib.suppress(DBAPIError):
                self._connection.exec_driver_sql("VACUUM")
        held = [run_id for _, run_id in reversed(older) if run_id in named]
        return Pruned([run_id for _, run_id in reversed(gone)], held)

    def _delete(self, keys: Sequence[int]) -> None:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for table in OF_RUNS:
                self._connection.execute(delete(table).where(table.c.run_key.in_(some)))

    # ---- baselines

    def set_baseline(self, name: str, run_id: str) -> None:
        """Give a stored run a name, in place of the run that had it."""
        row = {"name": name, "run_id": run_id, "set_at": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._told(), self._writing():
            if self._row_of(run_id) is None:
                raise StoreError(f"run {run_id} is not in the store {self._place.shown}")
            self._connection.execute(delete(BASELINES).where(BASELINES.c.name == name))
            self._connection.execute(insert(BASELINES), row)

    def remove_baseline(self, name: str) -> bool:
        """Take a name away, and leave the run; False where there is no such name."""
        with self._told(), self._writing():
            return self._connection.execute(delete(BASELINES).where(BASELINES.c.name == name)).rowcount > 0

    def baselines(self) -> list[StoredBaseline]:
        """All of them, by name."""
        with self._told():
            rows = self._connection.execute(select(BASELINES).order_by(BASELINES.c.name)).mappings()
            return [_named(row) for row in rows]

    def baseline(self, name: str) -> StoredBaseline | None:
        """The one of this name."""
        with self._told():
            row = (
                self._connection.execute(select(BASELINES).where(BASELINES.c.name == as_stored(name)))
                .mappings()
                .first()
            )
            return None if row is None else _named(row)

    # ---- reading

    def runs(self, limit: int | None = None, *, suite: str | None = None, branch: str | None = None) -> list[StoredRun]:
        """Runs, newest first.

        Args:
            limit: How many at most; None: all.
            suite: Only those with cases of this suite, by its name or ref.
            branch: Only those of this branch.

        """
        wanted = select(RUNS).order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc()).limit(limit)
        if branch is not None:
            wanted = wanted.where(RUNS.c.git_branch == as_stored(branch))
        if suite is not None:
            wanted = wanted.where(_of_suite(suite))
        with self._told():
            return [_stored(row) for row in self._connection.execute(wanted).mappings()]

    def ids(self, name: str) -> list[str]:
        """The ids that a name means: itself, those that begin so, or the newest for ``latest``; oldest first."""
        name = as_stored(name)
        with self._told():
            if name == "latest":
                return [run.id for run in self.runs(1)]
            if self._row_of(name) is not None:
                return [name]
            begins = func.substr(RUNS.c.id, 1, len(name)) == name
            found = select(RUNS.c.id).where(begins).order_by(RUNS.c.started_at, RUNS.c.run_key)
            return [checked_text(run_id, "id") for run_id in self._connection.execute(found).scalars()]

    def stored(self, run_id: str) -> StoredRun | None:
        """What is known of a run beside its results; None where it isn't there."""
        with self._told():
            row = self._row_of(run_id)
            return None if row is None else _stored(row)

    def document(self, run_id: str) -> str | None:
        """The whole results of a run, the JSON of ``results.json``; None where it isn't there."""
        of_run = select(DOCUMENTS).join(RUNS, RUNS.c.run_key == DOCUMENTS.c.run_key).where(RUNS.c.id == run_id)
        with self._told():
            row = self._connection.execute(of_run).mappings().first()
            if row is None:
                return None
            try:
                return read_document(dict(row))
            except ValueError as error:
                raise StoreError(f"{self._place.shown}: run {run_id} can't be read: {error}") from error

    def newest(self, suites: Sequence[str], *, branch: str | None = None, but: str | None = None) -> str | None:
        """The id of the newest run of exactly these suites that measured all it was to measure, whatever its verdict.

        Args:
            suites: Their refs, in the run's order.
            branch: Only one of this branch.
            but: The id of a run that doesn't count.

        """
        wanted = select(RUNS.c.id).where(RUNS.c.suites == json.dumps(list(suites)), RUNS.c.finished_at.is_not(None))
        wanted = wanted.where(RUNS.c.status.in_(COMPARABLE), RUNS.c.partial.is_(False))
        if branch is not None:
            wanted = wanted.where(RUNS.c.git_branch == as_stored(branch))
        if but is not None:
            wanted = wanted.where(RUNS.c.id != but)
        with self._told():
            found = self._connection.execute(wanted.order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc()).limit(1))
            return found.scalar()

    def branches(self) -> list[str]:
        """The branches of the stored runs, that of the newest first."""
        newest = func.max(RUNS.c.started_at)
        wanted = select(RUNS.c.git_branch).where(RUNS.c.git_branch.is_not(None)).group_by(RUNS.c.git_branch)
        with self._told():
            found = self._connection.execute(wanted.order_by(newest.desc())).scalars()
            return [checked_text(branch, "git_branch") for branch in found]

    def values(self, run_id: str, nodeid: str, host: str) -> dict[str, tuple[float, ...]]:
        """Of a case's request metrics the values of single requests, those that were sent first, in that order.

        Empty where none are stored: the run was imported without its samples, or by an older version.
        """
        return self.all_values(run_id).get((as_stored(nodeid), as_stored(host)), {})

    def all_values(self, run_id: str) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
        """The values of all cases of a run, by node id and host."""
        wanted = (
            select(CASES.c.nodeid, CASES.c.host, VALUES.c.name, VALUES.c.content)
            .join(RUNS, RUNS.c.run_key == CASES.c.run_key)
            .join(VALUES, (VALUES.c.run_key == CASES.c.run_key) & (VALUES.c.case_no == CASES.c.case_no))
            .where(RUNS.c.id == run_id)
        )
        found: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
        with self._told():
            for nodeid, host, name, content in self._connection.execute(wanted):
                try:
                    found.setdefault((nodeid, host), {})[name] = read_values(content)
                except ValueError as error:
                    raise StoreError(f"{self._place.shown}: run {run_id} can't be read: {error}") from error
        return found

    def earlier(
        self,
        nodeid: str,
        fingerprint: str,
        metric: str,
        limit: int = 20,
        *,
        before: str | None = None,
        statistic: str | None = "p50",
        conditions: str | None = None,
    ) -> tuple[float, ...]:
        """A number of a case in earlier runs on machines that are alike, newest first.

        Args:
            nodeid: The case.
            fingerprint: Of the machine (see ``surroundings.fingerprint``).
            metric: Its name.
            limit: How many at most.
            before: The id of the run before which they began, itself left out; None: the newest.
            statistic: Of the metric's values: one of those in the table of metrics; None: the metric is one number
                for a case.  Of what is in no table there are none.
            conditions: Under which it was measured (see ``conditions.conditions_of``); None: under any.  Where a row
                doesn't say, it counts.

        Cases that were cut short don't count, nor numbers that are infinite because requests failed.

        """
        name = statistic or metric
        if name not in (_STATISTICS if statistic is not None else _OF_CASES):
            return ()
        column = (METRICS if statistic is not None else CASES).c[name]
        alike = select(RUNS.c.run_key).where(RUNS.c.fingerprint == fingerprint)
        found: list[float] = []
        with self._told():
            if before is not None and (row := self._row_of(before)) is not None:
                earlier = RUNS.c.started_at < row["started_at"]
                same_time = (RUNS.c.started_at == row["started_at"]) & (RUNS.c.run_key < row["run_key"])
                alike = alike.where(earlier | same_time)
            newest_first = alike.order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
            # Page by page: what is wanted is among the newest, and of all runs a case has ten thousand rows.
            seen, page = 0, max(_FIRST_PAGE, limit)
            while len(found) < limit:
                keys = self._connection.execute(newest_first.limit(page).offset(seen)).scalars().all()
                found += self._numbers(nodeid, metric, column, keys, conditions)
                if len(keys) < page:
                    break
                seen, page = seen + page, min(_LARGER * page, _AT_ONCE)
        return tuple(found[:limit])

    def _numbers(
        self, nodeid: str, metric: str, column: Column[Any], keys: Sequence[int], conditions: str | None
    ) -> list[float]:
        """Of a case in these runs, in their order."""
        if not keys:
            return []
        node = as_stored(nodeid)
        wanted = select(CASES.c.run_key, column)
        if column.table is METRICS:
            wanted = wanted.join(
                METRICS, (CASES.c.run_key == METRICS.c.run_key) & (CASES.c.case_no == METRICS.c.case_no)
            ).where(METRICS.c.name == metric)
        wanted = (
            wanted.where(literal_column(_NODE_HEAD) == node[:_NODE_CHARACTERS])
            .where(literal_column(_NODE_TAIL) == node[_NODE_CHARACTERS:])
            .where(CASES.c.run_key.in_(keys), CASES.c.partial.is_(False), column < _INFINITE)
        )
        if conditions is not None:
            wanted = wanted.where(CASES.c.conditions.is_(None) | (CASES.c.conditions == conditions))
        place = {key: number for number, key in enumerate(keys)}
        rows = sorted(self._connection.execute(wanted), key=lambda row: place[row[0]])
        return [number for _, number in rows]

    def _row_of(self, run_id: str) -> RowMapping | None:
        return self._connection.execute(select(RUNS).where(RUNS.c.id == run_id)).mappings().first()

    def _next_key(self) -> int:
        return int(self._connection.execute(select(func.coalesce(func.max(RUNS.c.run_key), 0))).scalar_one()) + 1


def _of_suite(suite: str) -> ColumnElement[bool]:
    here = select(CASES.c.run_key).where(CASES.c.suite == suite)
    return RUNS.c.run_key.in_(here) | RUNS.c.suites.contains(json.dumps(suite), autoescape=True)


def _stored(row: RowMapping) -> StoredRun:
    return StoredRun(**checked_run_row(row))


def _named(row: RowMapping) -> StoredBaseline:
    return StoredBaseline(**{name: checked_text(row[name], name) for name in StoredBaseline.__dataclass_fields__})
