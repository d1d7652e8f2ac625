"""Location of the store, parsed from text.

Nothing heavy is imported before a database is needed.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pytest_flperf.errors import FlperfError
from pytest_flperf.results.redaction import Redactor

__all__ = [
    "DEFAULT_FILE",
    "NO_STORE",
    "PlaceError",
    "StoreError",
    "StorePlace",
    "StoreUnusableError",
    "store_in",
    "store_place",
]

DEFAULT_FILE: Final = "history.db"
"""In the folder of the runs."""
NO_STORE: Final = "none"
_POSTGRES: Final = frozenset({"postgresql+psycopg", "postgresql", "postgres"})
_EXPECTED: Final = "a file, sqlite:///FILE, postgresql+psycopg://USER@HOST/DATABASE or none"
_DRIVER: Final = "pip install 'pytest-flperf[postgres]'"


class PlaceError(FlperfError, ValueError):
    """Invalid location of a store: found and expected, without a password."""


class StoreError(FlperfError):
    """Store error: what failed, why, what to do; holds no password."""


class StoreUnusableError(StoreError):
    """Unusable store: locked, lost, full, damaged or not writable."""

    def __init__(self, text: str, *, lost: bool = False) -> None:
        """``lost``: the connection was cut, and a new one may work."""
        super().__init__(text)
        self.lost = lost


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Location of a store: a SQLite file or a PostgreSQL database."""

    kind: Literal["sqlite", "postgresql"]
    shown: str
    """For people: user and password are masked, what follows a ``?`` is left out."""
    path: Path | None = None
    """The file of SQLite."""
    url: str = field(default="", repr=False)
    """Of PostgreSQL, password and all."""
    password: str | None = field(default=None, repr=False)

    def is_there(self) -> bool:
        """Whether there is a store to read: a file, or any database.

        Raises:
            StoreError: The path is no file, or may not be accessed.

        """
        if self.path is None:
            return True
        try:
            self.path.stat()
            there = self.path.is_file()
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:  # no right to look, a file where a folder should be
            raise StoreError(f"{self.shown}: {getattr(error, 'strerror', None) or error}") from error
        if not there:
            raise StoreError(f"{self.shown} is not a file: expected a SQLite file, or a path where none exists yet")
        return True

    def masked(self, text: str) -> str:
        """``text`` without the password and anything that looks like one."""
        if self.password:
            text = text.replace(self.password, "***")
        return Redactor((self.password,)).text(text)


def store_in(folder: Path) -> StorePlace:
    """Location of the store in a folder of runs, where none is named."""
    file = folder / DEFAULT_FILE
    return StorePlace("sqlite", str(file), file)


def store_place(text: str, here: Path) -> StorePlace | None:
    """Parse the location of a store; None for ``none``.

    Args:
        text: A file, ``sqlite:///FILE``, ``postgresql+psycopg://…`` or ``none``.
        here: The folder that files are relative to.

    Raises:
        PlaceError: The text names no location, or the driver of its database is not installed.

    """
    text = text.strip()
    if text.lower() == NO_STORE:
        return None
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _file(text, text, here)
    if scheme == "sqlite":
        if not rest.startswith("/") or rest == "/" or "?" in rest:
            raise PlaceError(f"found {_short(text)}, expected sqlite:///FILE (four slashes before an absolute path)")
        return _file(rest[1:], text, here)
    if scheme not in _POSTGRES:
        raise PlaceError(f"found {_short(scheme + '://…')}, expected {_EXPECTED}")
    return _postgresql(text, rest)


def _file(name: str, text: str, here: Path) -> StorePlace:
    try:
        path = here / Path(name).expanduser()
        taken = path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name too long, ~nobody
        raise PlaceError(f"found {_short(text)}, expected {_EXPECTED}") from error
    if "\0" in name:
        raise PlaceError(f"found {_short(text)}, expected {_EXPECTED}")
    if taken:
        raise PlaceError(f"found {_short(text)}, which is a folder; expected a file, such as {name}/{DEFAULT_FILE}")
    return StorePlace("sqlite", str(path), path)


def _postgresql(text: str, rest: str) -> StorePlace:
    url = f"postgresql+psycopg://{rest}"
    try:
        parts = urllib.parse.urlsplit(url)
        port, password = parts.port, parts.password
        query = urllib.parse.parse_qs(parts.query)
    except ValueError as error:
        # the URL isn't quoted: what can't be read may hold its password anywhere
        raise PlaceError(
            "found a PostgreSQL URL that can't be read, expected "
            "postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; write special characters of a password as %XX"
        ) from error
    if port == 0 or not parts.path.strip("/"):
        raise PlaceError(
            f"found {_short(Redactor().text(text))}, expected postgresql+psycopg://USER@HOST:PORT/DATABASE with the "
            "name of a database"
        )
    _require_driver()
    password = urllib.parse.unquote(password) if password else next(iter(query.get("password", ())), None)
    user = "***@" if parts.username else ""  # as every URL is masked that is kept or shown
    host = (parts.hostname or (query.get("host") or [""])[0]) + (f":{port}" if port else "")
    shown = f"postgresql+psycopg://{user}{host}{parts.path}"
    return StorePlace("postgresql", shown, None, url, password)


def _require_driver() -> None:
    try:
        import psycopg
    except ImportError as error:  # not there, or there without libpq
        raise PlaceError(f"found a PostgreSQL URL, but its driver psycopg can't be imported: {_DRIVER}") from error
    del psycopg


def _short(text: str) -> str:
    return repr(text[:80])
