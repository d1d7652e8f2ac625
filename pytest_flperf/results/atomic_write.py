"""Files at a place of the user's choice, written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

__all__ = ["append_file", "write_file"]


def write_file(path: Path, content: bytes) -> str:
    """Write a file, its folders included; why it is not written, or an empty text.  Nothing raises.

    A temporary file beside it and ``os.replace``, without fsync: it can be made again.  What a link points to is
    replaced, not the link; what is there and no plain file (a pipe, ``/dev/stdout``) is written to.
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
    """Add to a file, making it where it is missing; why nothing was added, or an empty text.  Nothing raises."""
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
