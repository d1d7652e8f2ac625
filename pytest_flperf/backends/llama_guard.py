"""Stands between us and a llama-server that we started: ends it, and its children, when we end, however we end.

A process of its own, because a killed one ends nothing.  It reads one line, ``{"command": […], "log": PATH}``, starts
the command, says ``{"pid": N}`` or ``{"error": TEXT}``, and waits for another line, for the end of its input, of its
parent or of the command, which it tells as ``{"exit": CODE}``.  A router's children end by themselves when the router's
end of a pipe closes; one that is in the middle of loading a model does not look at the pipe, and is ended from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["main"]

_GRACE_S: Final = 5.0
"""Time for a server to end by itself; one that answers somebody takes no longer, a router unloads its models."""
_LOOK_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    """Guard one command until it has ended, or is to end."""
    parent = os.getppid()
    start = json.loads(sys.stdin.buffer.readline() or b"null")
    if start is None:  # the parent died first
        return 0
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: over.set())
    try:
        process = _spawn(start["command"], Path(start["log"]))
    except OSError as error:
        _say({"error": error.strerror or type(error).__name__})
        return 1
    _say({"pid": process.pid})
    for waits in (sys.stdin.buffer.readline, process.wait):
        threading.Thread(target=_then, args=(waits, over), daemon=True).start()
    # A fork of the parent may hold the pipe open, so that its end is not seen.
    while not over.wait(_LOOK_S):
        if os.getppid() != parent:
            break
    _end(process)
    _say({"exit": process.returncode})
    sys.stdout.flush()
    os._exit(0)  # the thread that reads would keep the interpreter from ending


def _then(waits: Callable[[], object], over: threading.Event) -> None:
    with contextlib.suppress(OSError):
        waits()
    over.set()


def _spawn(command: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_follower(),  # noqa: PLW1509 - no thread runs yet
        )


def _follower() -> Callable[[], None] | None:
    """Lets the command end with us even if we are killed, where the system can do that."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return follow


def _end(process: subprocess.Popen[bytes]) -> None:
    import psutil

    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(OSError):
        process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    for child in family:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(family, _GRACE_S)


def _say(message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
