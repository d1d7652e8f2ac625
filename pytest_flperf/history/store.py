"""The store of runs: SQLite or PostgreSQL, through one code.  Importing this imports SQLAlchemy."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import sqlalchemy
from sqlalchemy import ColumnElement, Engine, RowMapping, delete, func, insert, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pytest_flperf.history.migrations import MIGRATIONS, Migration
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.rows import (
    Row,
    case_rows,
    document_row,
    log_rows,
    metric_rows,
    model_rows,
    read_document,
    resource_rows,
    run_row,
)
from pytest_flperf.history.surroundings import Surroundings
from pytest_flperf.history.tables import (
    CASES,
    DOCUMENTS,
    LOGS,
    METRICS,
    MODELS,
    OF_RUNS,
    RESOURCES,
    RUNS,
    SCHEMA,
)
from pytest_flperf.results.records import Run

__all__ = ["Added", "Store", "StoreError", "StoredRun"]

BUSY_S: Final = 5.0
"""How long to wait for another writer, which takes 20 ms for a run."""
_CONNECT_S: Final = 5
_WRITERS_LOCK: Final = 0x666C70657266  # "flperf"
_AT_ONCE: Final = 500
"""Parameters in one statement; SQLite's limit was 999 once."""
_AGAIN_S: Final = 0.02

_HINTS: Final = {
    "database is locked": ": another process has been writing to it for too long",
    "lock timeout": ": another process has been writing to it for too long",
    "not a database": ": it is no SQLite file, or a damaged one; move it away to begin a new one",
    "malformed": ": it is damaged; move it away to begin a new one",
    "readonly": ": it, or its folder, may not be written to",
    "read-only": ": it may not be written to",
    "disk i/o error": ": the disk may be full, or failing",
}
"""What stands behind a database's words, by a part of them."""

Added: TypeAlias = Literal["added", "replaced", "known"]


class StoreError(Exception):
    """What could not be done with the store, why, and what to do; no password in it."""


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


class Store:
    """An open store.  Every method raises StoreError; use as a context manager."""

    def __init__(
        self, place: StorePlace, *, busy_s: float = BUSY_S, migrations: Sequence[Migration] = MIGRATIONS
    ) -> None:
        """Connect, make what is missing, and bring older tables up to date.

        Args:
            place: Where it is.
            busy_s: How long to wait for another writer.
            migrations: The steps to the newest tables.

        """
        self._place = place
        self._busy_s = busy_s
        self._engine: Engine | None = None
        try:
            with self._told():
                self._engine = self._new_engine()
                self._connection = self._engine.connect()
                if place.kind == "sqlite":
                    self._set_up_sqlite()
                self._migrate(migrations)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection; a second time does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            with contextlib.suppress(SQLAlchemyError, OSError, AttributeError):
                self._connection.close()
            engine.dispose()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    # ---- writing

    def add(self, run: Run, about: Surroundings | None = None) -> Added:
        """Store a run, whole or not at all; ``known``: it is there already, word for word.

        A run that is there with other results (it was interrupted then, and recovered since) is replaced, and keeps
        its commit, job and folder where the new one has none.
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
                known = select(DOCUMENTS.c.digest).where(DOCUMENTS.c.run_key == found["run_key"])
                if self._connection.execute(known).scalar() == document["digest"]:
                    return "known"
                for name in ("git_commit", "git_branch", "ci_system", "ci_job", "ci_url", "folder"):
                    row[name] = found[name] if row[name] is None else row[name]
                self._delete([found["run_key"]])
            key = found["run_key"] if found is not None else self._next_key()
            self._connection.execute(insert(RUNS), {"run_key": key, **row})
            self._insert_parts(key, run, document)
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
            if rows:
                self._connection.execute(insert(table), [{"run_key": key, **row} for row in rows])

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest runs; the ids of those that went, oldest first."""
        with self._told(), self._writing():
            newest = select(RUNS.c.run_key, RUNS.c.id).order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
            gone = [tuple(each) for each in self._connection.execute(newest)][keep:]
            self._delete([key for key, _ in gone])
        if gone and self._place.kind == "sqlite":
            # gives the space back to the disk; while somebody else reads, it is kept for the runs to come
            with contextlib.suppress(DBAPIError):
                self._connection.exec_driver_sql("VACUUM")
        return [run_id for _, run_id in reversed(gone)]

    def _delete(self, keys: Sequence[int]) -> None:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for table in OF_RUNS:
                self._connection.execute(delete(table).where(table.c.run_key.in_(some)))

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
            wanted = wanted.where(RUNS.c.git_branch == branch)
        if suite is not None:
            wanted = wanted.where(_of_suite(suite))
        with self._told():
            return [_stored(row) for row in self._connection.execute(wanted).mappings()]

    def ids(self, name: str) -> list[str]:
        """The ids that a name means: itself, those that begin so, or the newest for ``latest``; oldest first."""
        with self._told():
            if name == "latest":
                return [run.id for run in self.runs(1)]
            if self._row_of(name) is not None:
                return [name]
            begins = func.substr(RUNS.c.id, 1, len(name)) == name
            found = select(RUNS.c.id).where(begins).order_by(RUNS.c.started_at, RUNS.c.run_key)
            return list(self._connection.execute(found).scalars())

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

    def _row_of(self, run_id: str) -> RowMapping | None:
        return self._connection.execute(select(RUNS).where(RUNS.c.id == run_id)).mappings().first()

    def _next_key(self) -> int:
        return int(self._connection.execute(select(func.coalesce(func.max(RUNS.c.run_key), 0))).scalar_one()) + 1

    # ---- the database

    def _new_engine(self) -> Engine:
        # Transactions are begun by us (see _writing): what the drivers do of themselves differs and begins too late.
        common: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "poolclass": sqlalchemy.pool.NullPool}
        if self._place.path is not None:
            self._place.path.parent.mkdir(parents=True, exist_ok=True)
            url = _sqlite_url(self._place.path)
            return sqlalchemy.create_engine(url, connect_args={"timeout": self._busy_s}, **common)
        arguments = {"connect_timeout": _CONNECT_S, "application_name": "flperf"}
        return sqlalchemy.create_engine(self._place.url, connect_args=arguments, **common)

    def _set_up_sqlite(self) -> None:
        """Readers and one writer beside each other; what was committed is there after a kill.

        ``synchronous=NORMAL`` waits for the disk when the log is moved into the file, not at each commit: a power
        failure may take the last run, and never more.
        """
        mode = self._connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        if mode != "wal" and not _read_only(self._place.path):
            self._patiently(lambda: self._connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar())
        self._connection.exec_driver_sql("PRAGMA synchronous=NORMAL")

    def _patiently(self, do: Callable[[], Any]) -> None:
        """Try again while others are at it: SQLite doesn't wait for the lock that a change of its mode needs."""
        until = time.monotonic() + self._busy_s
        while True:
            try:
                do()
            except DBAPIError as error:
                if "locked" not in str(error.orig) or time.monotonic() > until:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction, one at a time over all processes."""
        if self._place.kind == "sqlite":
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            self._connection.exec_driver_sql("BEGIN")
        try:
            if self._place.kind == "postgresql":
                self._connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(self._busy_s * 1000)}")
                self._connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
            yield
        except BaseException:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.exec_driver_sql("ROLLBACK")
            raise
        self._connection.exec_driver_sql("COMMIT")

    def _version(self) -> int:
        if not self._engine_has_schema():
            return 0
        found = self._connection.execute(select(func.max(SCHEMA.c.version))).scalar()
        return int(found or 0)

    def _engine_has_schema(self) -> bool:
        return bool(self._connection.dialect.has_table(self._connection, SCHEMA.name))

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        newest = len(migrations)
        if (found := self._version()) > newest:
            raise StoreError(
                f"{self._place.shown} has tables of version {found}, this flperf knows {newest}: it was written by a "
                "newer one; update pytest-flperf, or name another with --flperf-store (--store of a command)"
            )
        while found < newest:
            with self._writing():
                found = self._version()  # somebody else may have been faster
                if found >= newest:
                    return
                if found == 0 and not self._engine_has_schema():
                    self._connection.exec_driver_sql(
                        f"CREATE TABLE {SCHEMA.name} (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)"
                    )
                migrations[found](self._connection)
                found += 1
                applied_at = datetime.now(UTC).isoformat(timespec="seconds")
                self._connection.execute(insert(SCHEMA), {"version": found, "applied_at": applied_at})

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What a database says becomes a StoreError for people."""
        try:
            yield
        except DBAPIError as error:
            raise StoreError(self._in_words(error.orig or error)) from error
        except (SQLAlchemyError, OSError, ValueError, OverflowError) as error:
            raise StoreError(self._in_words(error)) from error

    def _in_words(self, error: BaseException) -> str:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        said = getattr(error, "strerror", None) or said
        lower = said.lower()
        hint = next((words for part, words in _HINTS.items() if part in lower), "")
        return self._place.masked(f"{self._place.shown}: {said}{hint}")


def _sqlite_url(path: Path) -> sqlalchemy.URL:
    """The file; where nothing may be written beside it, so that it can be read all the same."""
    if not _read_only(path):
        return sqlalchemy.URL.create("sqlite", database=str(path))
    # Readers share a file beside the store, which can't be made; without one there is nobody to share it with.
    shared = path.with_name(f"{path.name}-wal").exists()
    query = {"uri": "true", "mode": "ro", **({} if shared else {"immutable": "1"})}
    return sqlalchemy.URL.create("sqlite", database=path.absolute().as_uri(), query=query)


def _read_only(path: Path | None) -> bool:
    if path is None or not path.is_file():
        return False
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _of_suite(suite: str) -> ColumnElement[bool]:
    here = select(CASES.c.run_key).where(CASES.c.suite == suite)
    return RUNS.c.run_key.in_(here) | RUNS.c.suites.contains(json.dumps(suite), autoescape=True)


def _stored(row: RowMapping) -> StoredRun:
    values = {name: row[name] for name in StoredRun.__dataclass_fields__}
    values["suites"] = tuple(map(str, json.loads(row["suites"])))
    values["partial"] = bool(row["partial"])
    return StoredRun(**values)
