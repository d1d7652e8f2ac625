"""Database errors: codes of SQLite and PostgreSQL, and hints for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import DBAPIError

__all__ = ["HINTS", "LOST_HINT", "NO_PRIVILEGE", "code_of", "is_busy", "is_crowded"]

NO_PRIVILEGE: Final = "42501"
"""PostgreSQL's SQLSTATE."""
_LOCK_TIMEOUT: Final = "55P03"
_CROWDED: Final = ("too many clients", "too many connections", "reserved for")
_BUSY_HINT: Final = ": another process has been writing to it for too long"
LOST_HINT: Final = ": the connection was lost"
_DISK_HINT: Final = ": the disk may be full, or failing"
HINTS: Final[Mapping[int | str, str]] = {
    sqlite3.SQLITE_BUSY: _BUSY_HINT,
    sqlite3.SQLITE_LOCKED: _BUSY_HINT,
    sqlite3.SQLITE_NOTADB: ": it is not a SQLite file, or is damaged; move it away to start a new one",
    sqlite3.SQLITE_CORRUPT: ": it is damaged; move it away to start a new one",
    sqlite3.SQLITE_READONLY: ": it or its folder is not writable",
    sqlite3.SQLITE_IOERR: _DISK_HINT,
    sqlite3.SQLITE_FULL: _DISK_HINT,
    _LOCK_TIMEOUT: _BUSY_HINT,
    "25006": ": it is not writable",
    NO_PRIVILEGE: ": its role lacks the privilege",
    "3F000": ": its role has no schema to create tables in",
}
"""Hints appended to a database's error message, by SQLite result code and PostgreSQL SQLSTATE."""


def code_of(error: object) -> int | str:
    """Error code of the database, whatever its message; 0 without a code."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly where
    return getattr(error, "sqlstate", None) or 0


def is_busy(error: DBAPIError) -> bool:
    """Whether another writer was in the way."""
    return code_of(error.orig) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, _LOCK_TIMEOUT)


def is_crowded(error: DBAPIError) -> bool:
    """Whether a server takes no more connections.

    Libpq has no code for that.  Where the server speaks another language, there is no waiting.
    """
    said = str(error.orig)
    return any(words in said for words in _CROWDED)
