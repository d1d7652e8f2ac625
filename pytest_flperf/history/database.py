"""Database connection with migrations: SQLite or PostgreSQL.

Importing this module imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy
from sqlalchemy import Engine, Table, func, insert, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from pytest_flperf.history.database_errors import HINTS, LOST_HINT, NO_PRIVILEGE, code_of, is_busy, is_crowded
from pytest_flperf.history.migrations import MIGRATIONS, Migration
from pytest_flperf.history.place import StoreError, StorePlace, StoreUnusableError
from pytest_flperf.history.tables import SCHEMA

__all__ = ["BUSY_S", "Database", "StoreError", "StoreUnusableError"]

BUSY_S: Final = 5.0
"""How long to wait for another writer; writing a run takes 20 ms."""
_CONNECT_S: Final = 5
_LEAST_CONNECT_S: Final = 2
"""Libpq accepts no shorter timeout."""
_PATIENCE: Final = 12
"""In a line of writers that gets on, and for a migration, how many times as long as for one writer to wait."""
_WRITERS_LOCK: Final = 0x666C70657266  # "flperf"
_AGAIN_S: Final = 0.02
_CONNECT_AGAIN_S: Final = 0.25
_IDLE_S: Final = 10.0
"""A connection that was idle for so long may have been cut, and is tested before it is used."""
_TELL_AFTER_S: Final = 1.0


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
            busy_s: How long to wait for another writer, and for a connection that was lost.  In a line of writers
                that gets on, twelve times as long.
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
                self._connect_in_line()
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

    def _connect_in_line(self) -> None:
        """Connect; waits for others to leave where the server takes no more connections."""
        until = time.monotonic() + self._busy_s * _PATIENCE
        while True:
            try:
                self._connect()
            except DBAPIError as error:
                if not is_crowded(error) or time.monotonic() > until:
                    raise
                time.sleep(random.uniform(_AGAIN_S, _CONNECT_AGAIN_S))  # noqa: S311 - so that not all come back at once
            else:
                return

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
        until = time.monotonic() + self._busy_s * _PATIENCE
        while True:
            try:
                do()
            except DBAPIError as error:
                if not is_busy(error) or time.monotonic() > until:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    @contextlib.contextmanager
    def _writing(self, *, busy_s: float | None = None) -> Iterator[None]:
        """A write transaction, one at a time over all processes.

        ``busy_s``: how long to wait for one other writer; None: as the store was opened.
        """
        self._begin_in_line(self._busy_s if busy_s is None else busy_s)
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        self._connection.exec_driver_sql("COMMIT")

    def _begin_in_line(self, busy_s: float) -> None:
        """Begin to write; waits on while the writers before get on.

        Fifty writers may take longer than one of them: what counts is that the store changes meanwhile.
        """
        until = time.monotonic() + busy_s * _PATIENCE
        seen = self._progress()
        while True:
            try:
                self._begin(busy_s)
            except DBAPIError as error:
                if not is_busy(error) or time.monotonic() > until or (now := self._progress()) == seen:
                    raise
                seen = now
            else:
                return

    def _begin(self, busy_s: float) -> None:
        if self._place.kind == "sqlite":
            self._connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(busy_s * 1000)}")
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        self._connection.exec_driver_sql("BEGIN")
        try:
            self._connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(busy_s * 1000)}")
            self._connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            self._connection.exec_driver_sql("ROLLBACK")

    def _progress(self) -> int:
        """A number that changes when another connection writes.

        In PostgreSQL the next transaction's number: a writer that waits has none yet.
        """
        sqlite, postgres = "PRAGMA data_version", "SELECT txid_snapshot_xmax(txid_current_snapshot())"
        statement = sqlite if self._place.kind == "sqlite" else postgres
        return int(self._connection.exec_driver_sql(statement).scalar() or 0)

    def _require_removing(self, table: Table, what: str) -> None:
        """Refuse what a role that may only add can't do; raises StoreError."""
        if self._place.kind == "postgresql":
            may = select(func.has_table_privilege(table.name, "DELETE"))
            if not self._connection.execute(may).scalar():
                raise StoreError(
                    f"{self._place.shown}: its role may only add runs, and can't {what}: use one that may delete, too"
                )

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
        try:
            while found < newest:
                with self._writing(busy_s=self._busy_s * _PATIENCE):  # somebody else may be at it
                    found = self._step(migrations)
        except DBAPIError as error:
            if code_of(error.orig) != NO_PRIVILEGE:
                raise
            there = f"its tables are of version {found}" if found else "it has no tables yet"
            raise StoreUnusableError(
                f"{self._place.shown}: {there}, this flperf needs version {newest}, and its role may not change "
                "tables: open it once as their owner ('flperf history --store=URL'), then try again"
            ) from error

    def _step(self, migrations: Sequence[Migration]) -> int:
        """Make the next migration, if there is one; returns the version."""
        found = self._version()  # somebody else may have been faster
        if found >= len(migrations):
            return found
        if found == 0 and not self._engine_has_schema():
            self._connection.exec_driver_sql(
                f"CREATE TABLE {SCHEMA.name} (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)"
            )
        migrations[found](self._connection)
        applied_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._connection.execute(insert(SCHEMA), {"version": found + 1, "applied_at": applied_at})
        return found + 1

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
            raise StoreUnusableError(words + LOST_HINT * lost, lost=lost) from error
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
        hint = HINTS.get(code_of(error), "")
        return self._place.masked(f"{self._place.shown}: {said}{hint}")


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
