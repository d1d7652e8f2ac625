"""Bounded files: read whole, up to a size limit."""

from __future__ import annotations

import stat
from pathlib import Path

from pytest_flperf._text import harmless
from pytest_flperf.suite.errors import SuiteError, printable

__all__ = ["decoded", "display_path", "read_bytes"]


def display_path(path: Path) -> str:
    """Return *path* for messages, from the current folder if below it."""
    try:
        return harmless(str(path.relative_to(Path.cwd())))
    except (ValueError, OSError):
        return harmless(str(path))


def read_bytes(path: Path, what: str, most: int) -> bytes:
    """Return the content of the regular file *path*.

    Args:
        path: the file.
        what: its kind, for messages: ``"data set"``.
        most: its largest size, in bytes.

    Raises:
        SuiteError: it is missing, no regular file, unreadable or larger.

    """
    where = display_path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SuiteError(f"{where}: found a folder, expected a {what}")
        if not stat.S_ISREG(status.st_mode):  # a pipe may block, a device may never end
            raise SuiteError(f"{where}: found a device or pipe, expected a {what}")
        with path.open("rb") as file:
            raw = file.read(most + 1) if status.st_size <= most else b""
    except FileNotFoundError:
        raise SuiteError(f"{where}: no such file, expected a {what}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SuiteError(f"{where}: can't be read: {printable(reason)}") from None
    size = max(status.st_size, len(raw))
    if size > most:
        raise SuiteError(f"{where}: found {size / 1e6:,.1f} MB, expected a {what} of {most / 1e6:,.0f} MB at most")
    return raw


def decoded(raw: bytes, where: str, what: str) -> str:
    """Return *raw* as text, without a byte order mark.

    Raises:
        SuiteError: it is no UTF-8, or contains NUL bytes; the text begins with *where* and the line.

    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SuiteError(f"{where}: found UTF-16, expected a {what} in UTF-8")
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise SuiteError(f"{where}:{line}: found a binary file (a NUL byte), expected a {what} in UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SuiteError(
            f"{where}:{line}: found the byte 0x{raw[error.start]:02x}, expected a {what} in UTF-8"
        ) from None
