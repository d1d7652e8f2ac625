"""Atomic writes: a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

__all__ = ["append_file", "write_file"]


def write_file(path: Path, content: bytes) -> str:
    """Write a file and its folders; the error, or an empty text.

    Never raises.  Writes a temporary file next to it and calls ``os.replace``, without fsync: the file can be made
    again.  Replaces the target of a link, not the link; an existing path that is no plain file (a pipe,
    ``/dev/stdout``) is written to.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_symlink():  # what it points to can't be found: a link to itself
            return os.strerror(errno.ELOOP)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as file:
                file.write(content)
            return ""
        return _replace(target, content)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return getattr(error, "strerror", None) or str(error)


def append_file(path: Path, content: bytes) -> str:
    """Append to a file; the error, or an empty text.

    Creates the file where it is missing.  Never raises.
    """
    try:
        with path.open("ab") as file:
            file.write(content)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def _replace(target: Path, content: bytes) -> str:
    temporary = target.with_name(f".flperf-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return ""
