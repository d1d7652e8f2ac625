"""A database of tables that are brought up to date: SQLite or PostgreSQL.  Importing this imports SQLAlchemy."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pytest_flperf.history.migrations import MIGRATIONS, Migration
from pytest_flperf.history.place import StoreError, StorePlace
from pytest_flperf.history.tables import SCHEMA

__all__ = ["BUSY_S", "Database", "StoreError"]

BUSY_S: Final = 5.0
"""How long to wait for another writer, which takes 20 ms for a run."""
_CONNECT_S: Final = 5
_WRITERS_LOCK: Final = 0x666C70657266  # "flperf"
_AGAIN_S: Final = 0.02

_BUSY_HINT: Final = ": another process has been writing to it for too long"
_DISK_HINT: Final = ": the disk may be full, or failing"
_HINTS: Final[Mapping[int | str, str]] = {
    sqlite3.SQLITE_BUSY: _BUSY_HINT,
    sqlite3.SQLITE_LOCKED: _BUSY_HINT,
    sqlite3.SQLITE_NOTADB: ": it is no SQLite file, or a damaged one; move it away to begin a new one",
    sqlite3.SQLITE_CORRUPT: ": it is damaged; move it away to begin a new one",
    sqlite3.SQLITE_READONLY: ": it, or its folder, may not be written to",
    sqlite3.SQLITE_IOERR: _DISK_HINT,
    sqlite3.SQLITE_FULL: _DISK_HINT,
    "55P03": _BUSY_HINT,
    "25006": ": it may not be written to",
}
"""What stands behind a database's words, by SQLite's result codes and PostgreSQL's SQLSTATEs."""


class Database:
    """An open database.  Every method raises StoreError; use as a context manager."""

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

    @property
    def shown(self) -> str:
        """Where it is, for people, without user and password."""
        return self._place.shown

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
                if _code(error.orig) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > until:
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
        except TypeError as error:  # older versions of SQLAlchemy, of a text where bytes should be
            raise StoreError(f"{self._place.shown}: its rows are damaged: {self._place.masked(str(error))}") from error

    def _in_words(self, error: BaseException) -> str:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        said = getattr(error, "strerror", None) or said
        hint = _HINTS.get(_code(error), "")
        return self._place.masked(f"{self._place.shown}: {said}{hint}")


def _code(error: object) -> int | str:
    """What kind of error a database's is, whatever its words are; 0 where it has no code."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly where
    return getattr(error, "sqlstate", None) or 0


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
