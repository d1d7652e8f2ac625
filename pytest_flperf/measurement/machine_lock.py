"""Machine lock: only one run measures on a machine.

It is a lock file; the OS releases the lock when the process exits.

One file for all users of the machine where that is possible (``/tmp`` on Linux and macOS, ``%ProgramData%`` on
Windows), because it is the processor and the GPU that are shared and not the account; else one for each user.
Containers with a ``/tmp`` of their own see each other's runs where ``FLPERF_LOCK_DIR`` names a folder that they share.

Our own code and not filelock: since 4.2.12 that refuses a file of another account in ``/tmp``, which is what is needed
here, and versions before it (3.24 to 3.29 were read) remove the file with each release.  The lock protects
measurements only: deleting the file or keeping it locked spoils or delays them, and gives access to nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

__all__ = ["LOCK_DIR", "LOCK_NAME", "Holder", "MachineLock"]

LOCK_DIR: Final = "FLPERF_LOCK_DIR"
"""Environment variable that names the folder of the lock file."""
LOCK_NAME: Final = "pytest-flperf.lock"
_TOKEN: Final = "FLPERF_LOCK_TOKEN"  # runs that the holder itself starts, and waits for, inherit it
_HELD_ELSEWHERE: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})
_TRIES: Final = 20
_RECORD_BYTES: Final = 4_096
_RECORD_BEGIN: Final = b'{"pid": '
_COMMAND_CHARACTERS: Final = 200
_LOCKED_BYTE: Final = 1 << 20  # Windows: beyond the record, because what is locked there can't be read by others
_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


@dataclass(frozen=True, slots=True)
class Holder:
    """Holder of the lock, by its own account.

    Any user of the machine may have written this.
    """

    pid: int
    since_s: float
    """When it took the lock, in seconds since 1970."""
    command: str
    token: str
    """The same for all processes of a run."""


class MachineLock:
    """The lock of this machine; one object for each process that measures."""

    def __init__(self, command: str, token: str | None = None) -> None:
        """Open nothing yet.

        Args:
            command: Shown to runs that wait; without secrets.
            token: Tells runs apart; None: another one for each object.

        """
        self._command = command[:_COMMAND_CHARACTERS]
        self._token = token or secrets.token_hex(8)
        self._fd: int | None = None
        self._signed = False
        self._former_token: str | None = None
        self._path: Path | None = None
        self.problem = ""
        """Why the lock could not be used; empty where it could."""

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def try_take(self) -> bool:
        """Take the lock if it is free.

        Also true where the lock can't be used at all; ``problem`` then says why.
        """
        if self._fd is not None:
            return True
        problems = []
        for folder in [self._path.parent] if self._path is not None else _folders():
            path = folder / LOCK_NAME
            try:
                fd = _take(path)
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}")
                continue
            self._path = path
            if fd is not None:
                self._fd = fd
                self._sign(fd)
            return fd is not None
        self.problem = "; ".join(problems)
        return True

    def holder(self) -> Holder | None:
        """Holder of the lock; None where it is free or unknown."""
        if self._path is None:
            return None
        try:
            fd = os.open(self._path, os.O_RDONLY | _FLAGS)
        except OSError:
            return None
        try:
            return _holder(json.loads(os.read(fd, _RECORD_BYTES)))
        except (OSError, ValueError, RecursionError):
            return None
        finally:
            os.close(fd)

    def is_ours(self, holder: Holder) -> bool:
        """Whether the holder is another process of this run."""
        return holder.token == self._token

    def is_outer(self, holder: Holder) -> bool:
        """Whether this run was started from within the holder's run.

        The holder waits for it then.
        """
        return holder.token == os.environ.get(_TOKEN)

    def release(self) -> None:
        """Release the lock; safe to call twice."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        if self._former_token is None:
            os.environ.pop(_TOKEN, None)
        else:
            os.environ[_TOKEN] = self._former_token
        if self._signed:
            with contextlib.suppress(OSError):  # opened for reading only
                os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):
            _unlock(fd)  # before closing: a process that a test forked may hold a copy of the descriptor
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _sign(self, fd: int) -> None:
        self._former_token = os.environ.get(_TOKEN)
        os.environ[_TOKEN] = self._token
        record = asdict(Holder(os.getpid(), time.time(), self._command, self._token))
        self._signed = _may_be_written(fd)
        with contextlib.suppress(OSError):  # a full disk, or a file that may only be read: locked all the same
            if not self._signed:
                return
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, json.dumps(record).encode("ascii"))


def _may_be_written(fd: int) -> bool:
    """Whether a file is empty or holds a holder's record.

    Anything else in it belongs to somebody, and stays.
    """
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        begin = os.read(fd, len(_RECORD_BEGIN))
    except OSError:
        return False
    return begin == _RECORD_BEGIN[: len(begin)]


def _folders() -> tuple[Path, ...]:
    """Folders for the lock file; the first usable one counts."""
    told = os.environ.get(LOCK_DIR)
    if told:
        return (Path(told),)
    own = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        shared = Path(os.environ.get("PROGRAMDATA") or own)
    else:
        shared = Path("/tmp")  # noqa: S108 - the one place that all users share; TMPDIR is often each user's own
    return tuple(dict.fromkeys((shared, own)))


def _take(path: Path) -> int | None:
    """Descriptor of the locked file; None where another process holds it.

    Raises OSError where it can't be locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _open(path)
    try:
        # One that was removed meanwhile guards nothing: whoever comes next makes another.
        if _lock(fd) and os.path.samestat(os.fstat(fd), path.lstat()):
            return fd
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _open(path: Path) -> int:
    """Open or create the lock file, writable for every user."""
    for _ in range(_TRIES):
        try:
            # Without O_CREAT: with it Linux refuses files of others in a folder like /tmp.
            return _open_there(path)
        except FileNotFoundError:
            pass
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
        except FileExistsError:
            continue
        if sys.platform != "win32":
            os.fchmod(fd, 0o666)  # whatever the umask
        return fd
    raise OSError(errno.EAGAIN, "it keeps disappearing")


def _open_there(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | _FLAGS)
    except PermissionError:
        fd = os.open(path, os.O_RDONLY | _FLAGS)  # enough to lock it
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link, whose file would be overwritten; remove it") from error
        raise
    problem = _not_ours(path, os.fstat(fd))
    if problem:
        os.close(fd)
        raise OSError(errno.EINVAL, problem)
    return fd


def _not_ours(path: Path, opened: os.stat_result) -> str:
    """Why a file can't be the lock file; empty where it can.

    Through a link, the holder's record would be written into another file.
    """
    if not stat.S_ISREG(opened.st_mode):
        return "not an ordinary file; remove it"
    if opened.st_nlink > 1:
        return "a hard link of another file, which would be overwritten; remove it"
    if path.is_symlink():  # where a link can't be refused when it is opened
        return "a symbolic link, whose file would be overwritten; remove it"
    return ""


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> bool:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _HELD_ELSEWHERE:
                return False
            raise
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD_ELSEWHERE:
                return False
            raise
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _holder(record: Any) -> Holder | None:
    """The record as a holder; None where it is none.

    Another user may have written anything there.
    """
    try:
        found = Holder(
            int(record["pid"]),
            float(record["since_s"]),
            str(record["command"])[:_COMMAND_CHARACTERS],
            str(record["token"]),
        )
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return found
