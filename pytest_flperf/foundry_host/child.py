"""Child processes: start, end with the parent, exit codes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import IO, Final, TypeAlias

__all__ = ["Prctl", "find_prctl", "follow_parent", "how_ended", "spawn_module"]

Prctl: TypeAlias = Callable[[int, int], object]

_PR_SET_PDEATHSIG: Final = 1


def spawn_module(
    module: str, *, stderr: IO[bytes] | int = subprocess.DEVNULL, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a Python module with pipes; raises OSError.

    It runs with this Python, and has pipes to and from it.

    Args:
        module: Name of a module with a ``__main__`` part.
        stderr: Target of its standard error.
        environment: Environment of the process; None: this one's.

    """
    return subprocess.Popen(
        # -P: no module of the current folder may stand in for one of ours.
        [sys.executable, "-P", "-X", "utf8", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        # Ctrl-C in the terminal is ours to handle.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def find_prctl() -> Prctl | None:
    """Linux's ``prctl`` with an option and a value; None elsewhere."""
    if sys.platform != "linux":
        return None
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).prctl
    return lambda option, value: function(option, value, 0, 0, 0)


def follow_parent(prctl: Prctl) -> None:
    """Have the OS kill this process when its parent thread ends.

    That is the *thread* of the parent that started this process.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def how_ended(code: int) -> str:
    """Exit code in words: ``was ended by SIGKILL``."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
