"""Store of runs: SQLite or PostgreSQL, with the same code.

Importing this module imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, RowMapping, Table, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from pytest_flperf.history.acceptances import Acceptances
from pytest_flperf.history.case_queries import CaseQueries
from pytest_flperf.history.database import StoreError, StoreUnusableError
from pytest_flperf.history.environment import Surroundings
from pytest_flperf.history.recent import RecentQueries
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
from pytest_flperf.history.series import SeriesQueries
from pytest_flperf.history.stored_values import checked_run_row, checked_text
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
"""Statuses of runs that measured everything they should."""

Added: TypeAlias = Literal["added", "replaced", "known"]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Stored run: everything the store knows of it except its results."""

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
    """Stored baseline: a run with a name."""

    name: str
    run_id: str
    set_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Result of pruning: ids of runs, oldest first."""

    gone: list[str]
    held: list[str]
    """Older runs that were kept: a baseline names them, or they are the baseline of a case."""


class Store(CaseQueries, SeriesQueries, RecentQueries, Acceptances):
    """An open store, used as a context manager.

    Every method raises StoreError.
    """

    # ---- writing

    def add(self, run: Run, about: Surroundings | None = None, values: CaseValues | None = None) -> Added:
        """Store a run, whole or not at all.

        ``known``: the same results are stored already; missing values are added.  A run that is stored with other
        results (it was interrupted then, and recovered since) is replaced, and keeps its commit, job and folder where
        the new one has none.  Where the connection is lost meanwhile, the call tries once more over a new one.

        Args:
            run: What was measured.
            about: Its commit, CI job and folder.
            values: Of single requests, by node id and host.

        """
        about, values = about or Surroundings(), values or {}
        tried: list[Added] = []
        try:
            return self._add(run, about, values, tried)
        except StoreUnusableError as error:
            if not error.lost:
                raise
        again = self._add(run, about, values, [])
        # Known, because only the answer to the commit was lost.
        return tried[0] if tried and again == "known" else again

    def _add(self, run: Run, about: Surroundings, values: CaseValues, tried: list[Added]) -> Added:
        """Add a run; ``tried`` gets the outcome before it is committed."""
        row, document = run_row(run, about), document_row(run)
        with self._told(), self._writing():
            found = self._row_of(row["id"])
            if found is not None:
                if found["started_at"] != row["started_at"]:
                    raise StoreError(
                        f"run {run.id} was not stored in {self._place.shown}: another run has that id, one that began "
                        f"{found['started_at']}"
                    )
                known = select(DOCUMENTS).where(DOCUMENTS.c.run_key == found["run_key"])
                if is_document(self._connection.execute(known).mappings().first(), document["digest"]):
                    self._insert_missing_values(found["run_key"], run, values)
                    return "known"
                for name in ("git_commit", "git_branch", "ci_system", "ci_job", "ci_url", "folder"):
                    row[name] = found[name] if row[name] is None else row[name]
                self._require_removing(RUNS, f"replace run {run.id}, which is stored with other results")
                self._delete([found["run_key"]])
            key = found["run_key"] if found is not None else self._next_key()
            self._connection.execute(insert(RUNS), {"run_key": key, **row})
            self._insert_parts(key, run, document)
            self._insert(VALUES, key, value_rows(run, values))
            tried.append("replaced" if found is not None else "added")
        return tried[0]

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
        """Remove old runs, but keep baselines.

        Kept are the newest runs, those that a baseline names, and those with a case's only baseline.  Otherwise a gate
        would find nothing to compare with once so many runs have failed.
        """
        with self._told(), self._writing():
            self._require_removing(RUNS, "prune")
            newest = select(RUNS.c.run_key, RUNS.c.id).order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
            found = [(key, checked_text(run_id, "id")) for key, run_id in self._connection.execute(newest)]
            older = found[keep:]
            named = set(self._connection.execute(select(BASELINES.c.run_id)).scalars())
            needed = self.only_baselines({key for key, _ in found[:keep]})
            gone = [each for each in older if each[1] not in named and each[0] not in needed]
            self._delete([key for key, _ in gone])
            stays = {run_id for _, run_id in found} - {run_id for _, run_id in gone}
            self.forget_acceptances(but=stays)
        if gone and self._place.kind == "sqlite":
            # returns the space to the disk; while another process reads, the space is kept for later runs
            with contextlib.suppress(DBAPIError):
                self._connection.exec_driver_sql("VACUUM")
        held = [run_id for key, run_id in reversed(older) if run_id in named or key in needed]
        return Pruned([run_id for _, run_id in reversed(gone)], held)

    def _delete(self, keys: Sequence[int]) -> None:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for table in OF_RUNS:
                self._connection.execute(delete(table).where(table.c.run_key.in_(some)))

    # ---- baselines

    def set_baseline(self, name: str, run_id: str) -> None:
        """Name a stored run; the run that had the name loses it."""
        row = {"name": name, "run_id": run_id, "set_at": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._told(), self._writing():
            if self._row_of(run_id) is None:
                raise StoreError(f"run {run_id} is not in the store {self._place.shown}")
            self._require_removing(BASELINES, "name a baseline")
            self._connection.execute(delete(BASELINES).where(BASELINES.c.name == name))
            self._connection.execute(insert(BASELINES), row)

    def remove_baseline(self, name: str) -> bool:
        """Remove a name, not its run; False without such a name."""
        with self._told(), self._writing():
            self._require_removing(BASELINES, "remove the name of a baseline")
            return self._connection.execute(delete(BASELINES).where(BASELINES.c.name == name)).rowcount > 0

    def baselines(self) -> list[StoredBaseline]:
        """All named baselines, sorted by name."""
        with self._told():
            rows = self._connection.execute(select(BASELINES).order_by(BASELINES.c.name)).mappings()
            return [_named(row) for row in rows]

    def baseline(self, name: str) -> StoredBaseline | None:
        """The baseline with this name; None without one."""
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
        """The ids that a name can mean, oldest first.

        The id itself, the ids that begin with it, or for ``latest`` the newest.
        """
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
        """The row of a run; None where the run isn't stored."""
        with self._told():
            row = self._row_of(run_id)
            return None if row is None else _stored(row)

    def document(self, run_id: str) -> str | None:
        """The JSON of a run's ``results.json``; None where it isn't stored."""
        of_run = select(DOCUMENTS).join(RUNS, RUNS.c.run_key == DOCUMENTS.c.run_key).where(RUNS.c.id == run_id)
        with self._told():
            row = self._connection.execute(of_run).mappings().first()
            if row is None:
                return None
            try:
                return read_document(dict(row))
            except ValueError as error:
                raise StoreError(f"{self._place.shown}: run {run_id} can't be read: {error}") from error

    def newest(
        self, suites: Sequence[str], *, branch: str | None = None, but: str | None = None, latest: str | None = None
    ) -> str | None:
        """The id of the newest complete run of exactly these suites.

        A complete run measured everything it should, whatever its verdict.

        Args:
            suites: Their refs, in the run's order.
            branch: Only a run of this branch.
            but: The id of a run that doesn't count.
            latest: Only a run that began at this time or before, written like stored times.

        """
        wanted = select(RUNS.c.id).where(RUNS.c.suites == json.dumps(list(suites)), RUNS.c.finished_at.is_not(None))
        wanted = wanted.where(RUNS.c.status.in_(COMPARABLE), RUNS.c.partial.is_(False))
        if branch is not None:
            wanted = wanted.where(RUNS.c.git_branch == as_stored(branch))
        if but is not None:
            wanted = wanted.where(RUNS.c.id != but)
        if latest is not None:
            wanted = wanted.where(RUNS.c.started_at <= latest)
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
        """Values of a case's single requests, by metric, in sending order.

        Those of the requests that were sent first.  Empty where none are stored: the run was imported without its
        samples, or by an older version.
        """
        return self.all_values(run_id).get((as_stored(nodeid), as_stored(host)), {})

    def all_values(self, run_id: str) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
        """Values of all cases of a run, by node id and host."""
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

    def _next_key(self) -> int:
        return int(self._connection.execute(select(func.coalesce(func.max(RUNS.c.run_key), 0))).scalar_one()) + 1


def _of_suite(suite: str) -> ColumnElement[bool]:
    here = select(CASES.c.run_key).where(CASES.c.suite == suite)
    return RUNS.c.run_key.in_(here) | RUNS.c.suites.contains(json.dumps(suite), autoescape=True)


def _stored(row: RowMapping) -> StoredRun:
    return StoredRun(**checked_run_row(row))


def _named(row: RowMapping) -> StoredBaseline:
    return StoredBaseline(**{name: checked_text(row[name], name) for name in StoredBaseline.__dataclass_fields__})
