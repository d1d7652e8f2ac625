"""The process between us and a server that we started: keeps its log, and ends it when we are gone.

Started as ``python -m pytest_flperf.backends.server_keeper`` by :mod:`pytest_flperf.backends.server_process`, never by
hand.  The first line of standard input says what to start; when the input ends, for whatever reason, so do the server
and everything it started.  Standard output tells of it as JSON lines: ``pid``, then ``code``; ``error`` where it can't
be started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import psutil

from pytest_flperf.results.redaction import Redactor

__all__ = ["main"]

_LONGEST_LINE: Final = 64 << 10
_LONGEST_LOG: Final = 32 << 20
_LOOK_S: Final = 0.5
_LAST_WORDS_S: Final = 0.5
"""A server's last lines are worth a moment, also where a child of it holds the other end of the pipe."""
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def main() -> int:
    """Start what the first line asks for, and stay until it has ended or must."""
    wish: Mapping[str, Any] = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not wish:
        return 0
    must_end = threading.Event()
    # Coming after the parent has died, this is how a machine that shuts down tells it.
    signal.signal(signal.SIGTERM, lambda *_: must_end.set())
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what outlives the server becomes our child, and is found at the end
    try:
        server = _start(wish, prctl)
    except (OSError, ValueError) as error:
        _say({"error": str(error)})
        return 1
    _say({"pid": server.pid})
    copier = threading.Thread(target=_copy, args=(server.stdout, wish["log"], wish["secrets"]), daemon=True)
    copier.start()
    threading.Thread(target=_follow, args=(must_end,), daemon=True).start()
    _wait(server, must_end, wish["parent_pid"])
    if server.poll() is not None:
        copier.join(_LAST_WORDS_S)
        _say({"code": server.returncode})  # before what it leaves behind is ended: somebody waits for the news
    _end_tree(server, wish["grace_s"])
    copier.join(_LAST_WORDS_S)
    return 0


def _start(wish: Mapping[str, Any], prctl: Callable[[int, int], object] | None) -> subprocess.Popen[bytes]:
    die_with_us = None
    if prctl is not None:

        def die_with_us() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        wish["arguments"],
        cwd=wish["folder"],
        env=wish["environment"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        preexec_fn=die_with_us,  # noqa: PLW1509 - this process has one thread yet
    )


def _prctl() -> Callable[[int, int], object] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).prctl
    return lambda option, value: function(option, value, 0, 0, 0)


def _say(what: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(json.dumps(what).encode() + b"\n")
        sys.stdout.buffer.flush()


def _follow(must_end: threading.Event) -> None:
    """Until the parent closes its end, or is gone."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 1024):  # without a buffer, whose lock a thread that waits would hold for ever
            pass
    must_end.set()


def _wait(server: subprocess.Popen[bytes], must_end: threading.Event, parent_pid: int) -> None:
    def reap() -> None:
        server.wait()
        must_end.set()

    threading.Thread(target=reap, daemon=True).start()
    while not must_end.wait(_LOOK_S):
        # The pipe's other end may live on in a fork of the parent.
        if sys.platform != "win32" and os.getppid() != parent_pid:
            return


def _end_tree(server: subprocess.Popen[bytes], grace_s: float) -> None:
    tree = _descendants()
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace_s)
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.killpg(server.pid, signal.SIGKILL)
    for process in {*tree, *_descendants()}:
        with contextlib.suppress(psutil.Error):
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace_s)


def _descendants() -> list[psutil.Process]:
    """The server and what it started; on Linux also what left it for a life of its own."""
    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def _copy(stream: IO[bytes], path: str, secrets: list[str]) -> None:
    """What the server prints goes to its log: without the keys, and no more than a disk can bear."""
    redactor = Redactor(secrets)
    written = 0
    with contextlib.suppress(OSError, ValueError), Path(path).open("ab", buffering=0) as log:
        while line := stream.readline(_LONGEST_LINE):
            if written > _LONGEST_LOG:
                continue
            with contextlib.suppress(OSError):  # a full disk is no reason to let the server block
                written += log.write(redactor.text(line.decode("utf-8", "replace")).encode())
                if written > _LONGEST_LOG:
                    log.write(b"\n(the log was cut here)\n")


if __name__ == "__main__":
    os._exit(main())  # nothing is left to finish, and no thread that waits may hold the end up
