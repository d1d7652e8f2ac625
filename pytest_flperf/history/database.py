"""Database connection with migrations: SQLite or PostgreSQL.

Importing this module imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from pytest_flperf.history.migrations import MIGRATIONS, Migration
from pytest_flperf.history.place import StoreError, StorePlace, StoreUnusableError
from pytest_flperf.history.tables import SCHEMA

__all__ = ["BUSY_S", "Database", "StoreError", "StoreUnusableError"]

BUSY_S: Final = 5.0
"""How long to wait for another writer; writing a run takes 20 ms."""
_CONNECT_S: Final = 5
_LEAST_CONNECT_S: Final = 2
"""Libpq accepts no shorter timeout."""
_WRITERS_LOCK: Final = 0x666C70657266  # "flperf"
_AGAIN_S: Final = 0.02
_CONNECT_AGAIN_S: Final = 0.25
_IDLE_S: Final = 10.0
"""A connection that was idle for so long may have been cut, and is tested before it is used."""
_TELL_AFTER_S: Final = 1.0

_BUSY_HINT: Final = ": another process has been writing to it for too long"
_LOST_HINT: Final = ": the connection was lost"
_DISK_HINT: Final = ": the disk may be full, or failing"
_HINTS: Final[Mapping[int | str, str]] = {
    sqlite3.SQLITE_BUSY: _BUSY_HINT,
    sqlite3.SQLITE_LOCKED: _BUSY_HINT,
    sqlite3.SQLITE_NOTADB: ": it is not a SQLite file, or is damaged; move it away to start a new one",
    sqlite3.SQLITE_CORRUPT: ": it is damaged; move it away to start a new one",
    sqlite3.SQLITE_READONLY: ": it or its folder is not writable",
    sqlite3.SQLITE_IOERR: _DISK_HINT,
    sqlite3.SQLITE_FULL: _DISK_HINT,
    "55P03": _BUSY_HINT,
    "25006": ": it is not writable",
    "42501": ": its role lacks the privilege",
    "3F000": ": its role has no schema to create tables in",
}
"""Hints appended to a database's error message, by SQLite result code and PostgreSQL SQLSTATE."""


class Database:
    """An open database, used as a context manager.

    Every method raises StoreError.
    """

    def __init__(
        self,
        place: StorePlace,
        *,
        busy_s: float = BUSY_S,
        migrations: Sequence[Migration] = MIGRATIONS,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        """Connect, create missing tables, and migrate older ones.

        Args:
            place: Where the database is.
            busy_s: How long to wait for another writer, and for a connection that was lost.
            migrations: The steps to the newest tables.
            on_wait: Called once, from another thread and with one line, where an operation takes long.

        """
        self._place = place
        self._busy_s = busy_s
        self._on_wait = on_wait
        self._engine: Engine | None = None
        self._inside = False  # of what is told
        self._used_s = time.monotonic()
        try:
            with self._told():
                self._engine = self._new_engine()
                self._connect()
                self._migrate(migrations)
        except BaseException:
            self.close()
            raise

    @property
    def shown(self) -> str:
        """Location for people, without user and password."""
        return self._place.shown

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
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
        patience_s = _CONNECT_S if self._busy_s >= _CONNECT_S else _LEAST_CONNECT_S
        arguments = {"connect_timeout": patience_s, "application_name": "flperf"}
        return sqlalchemy.create_engine(self._place.url, connect_args=arguments, **common)

    def _connect(self) -> None:
        assert self._engine is not None
        self._connection = self._engine.connect()
        if self._place.kind == "sqlite":
            self._set_up_sqlite()

    def _connect_again(self) -> None:
        """Reconnect where the connection was lost, or may have been.

        Retries for ``busy_s``, so that a restarted server has time to come up.
        """
        lost = self._connection.invalidated
        if not lost and self._place.kind == "postgresql" and time.monotonic() - self._used_s > _IDLE_S:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except DBAPIError as error:
                lost = error.connection_invalidated
        if not lost:
            return
        with contextlib.suppress(SQLAlchemyError):
            self._connection.close()
        until = time.monotonic() + self._busy_s
        while True:
            try:
                self._connect()
            except DBAPIError:
                if time.monotonic() > until:
                    raise
                time.sleep(_CONNECT_AGAIN_S)
            else:
                return

    def _set_up_sqlite(self) -> None:
        """Set SQLite to WAL mode: readers and one writer at a time.

        What was committed survives a kill.  ``synchronous=NORMAL`` waits for the disk when the log is moved into the
        file, not at each commit: a power failure may lose the last run, and never more.
        """
        mode = self._connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        if mode != "wal" and not _read_only(self._place.path):
            self._patiently(lambda: self._connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar())
        self._connection.exec_driver_sql("PRAGMA synchronous=NORMAL")

    def _patiently(self, do: Callable[[], Any]) -> None:
        """Retry while the database is busy.

        SQLite doesn't wait for the lock that a change of its journal mode needs.
        """
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
        """A write transaction, one at a time over all processes."""
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
                f"{self._place.shown} has tables of version {found}, but this flperf only knows {newest}: a newer "
                "one wrote it; update pytest-flperf, or name another with --flperf-store (--store of a command)"
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
        """Translate database errors to StoreError; reconnect first where needed."""
        if self._inside:
            yield
            return
        self._inside = True
        waiting = self._begin_to_wait()
        try:
            if self._engine is not None:
                self._connect_again()
            yield
        except (DataError, IntegrityError) as error:
            raise StoreError(self._in_words(error.orig or error)) from error
        except DBAPIError as error:
            words = self._in_words(error.orig or error)
            lost = error.connection_invalidated or self._lost
            raise StoreUnusableError(words + _LOST_HINT * lost, lost=lost) from error
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnusableError(self._in_words(error), lost=self._lost) from error
        except (ValueError, OverflowError) as error:
            raise StoreError(self._in_words(error)) from error
        except TypeError as error:  # older versions of SQLAlchemy, of a text where bytes should be
            raise StoreError(f"{self._place.shown}: its rows are damaged: {self._place.masked(str(error))}") from error
        finally:
            self._inside = False
            self._used_s = time.monotonic()
            if waiting is not None:
                waiting.cancel()

    @property
    def _lost(self) -> bool:
        connection = getattr(self, "_connection", None)
        return connection is not None and connection.invalidated

    def _begin_to_wait(self) -> threading.Timer | None:
        """A timer that reports a long wait, unless it is cancelled before."""
        if self._on_wait is None:
            return None
        waiting = threading.Timer(_TELL_AFTER_S, self._tell_waiting)
        waiting.daemon = True
        waiting.start()
        return waiting

    def _tell_waiting(self) -> None:
        tell, self._on_wait = self._on_wait, None
        if tell is not None:
            tell(f"waiting for {self._place.shown}: another process may be using it")

    def _in_words(self, error: BaseException) -> str:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        said = getattr(error, "strerror", None) or said
        hint = _HINTS.get(_code(error), "")
        return self._place.masked(f"{self._place.shown}: {said}{hint}")


def _code(error: object) -> int | str:
    """Error code of the database, whatever its message; 0 without a code."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly where
    return getattr(error, "sqlstate", None) or 0


def _sqlite_url(path: Path) -> sqlalchemy.URL:
    """URL of a SQLite file; read-only where it can't be written.

    A file in a folder without write access can be read all the same.
    """
    if not _read_only(path):
        return sqlalchemy.URL.create("sqlite", database=str(path))
    # Readers share a file next to the store, which can't be created here.  Where it is missing, nothing else reads.
    shared = path.with_name(f"{path.name}-wal").exists()
    query = {"uri": "true", "mode": "ro", **({} if shared else {"immutable": "1"})}
    return sqlalchemy.URL.create("sqlite", database=path.absolute().as_uri(), query=query)


def _read_only(path: Path | None) -> bool:
    if path is None or not path.is_file():
        return False
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
