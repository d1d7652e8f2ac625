"""Standard streams of a command: closed, full and broken ones.

Each such problem is reported in one sentence.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pytest_flperf._text import printable
from pytest_flperf.commands.common import BAD_USAGE

__all__ = ["drained", "run_on_streams"]


class _Closed(io.TextIOBase):
    """Standard output closed by the shell (``>&-``).

    What is written to it is lost, so each write is an error.
    """

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Raise OSError."""
        del text
        raise OSError("it is closed")


def run_on_streams(command: Callable[[], int]) -> int:
    """Run a command; returns its exit status.

    The status is that of bad usage if not all of its output could be written.

    ``command`` may end with SystemExit, as argparse does.
    """
    _open_streams()
    ended: SystemExit | None = None
    told, status = False, BAD_USAGE  # 1 is a verdict of 'compare'
    try:
        status = command()
    except SystemExit as error:
        ended = error
    except OSError as error:  # the current folder is gone, no right to look, a full disk
        told = _complain(_words(error))
    lost = drained(sys.stdout)
    if lost:
        told = told or _complain(f"standard output can't be written: {lost}")
        status, ended = BAD_USAGE, None
    if isinstance(sys.stdout, _Closed):
        sys.stdout = None
    if drained(sys.stderr):
        status = status or BAD_USAGE
    if ended is not None:
        raise ended
    return status


def _complain(problem: str) -> bool:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"flperf: error: {printable(problem, 1_000)}\n".encode("ascii", "backslashreplace").decode())
    return True


def _open_streams() -> None:
    """Replace closed standard streams.

    Otherwise the next opened file would get their file descriptors.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process runs


def drained(stream: TextIO) -> str:
    """Flush a stream; returns why it failed, or an empty string.

    After a failure the rest is discarded, so that Python does not try again at exit.
    """
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()  # into nowhere: pytest restores the old file at its end
        return _words(error)
    return ""


def _words(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    place = getattr(error, "filename", None)
    return f"{place}: {reason}" if place else reason
