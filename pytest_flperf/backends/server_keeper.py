"""Server keeper: process that logs a server and ends it reliably.

It stands between us and a server that we started, and ends the server when we are gone.  It is a process of its own,
because a killed process can't clean up.

Started as ``python -m pytest_flperf.backends.server_keeper`` by :mod:`pytest_flperf.backends.server_process`, never by
hand.  The first line of standard input says what to start.  Another line, the end of the input, SIGTERM, or the exit of
the parent ends the server and everything it started.  Standard output reports JSON lines: ``pid``, then ``code``; or
``error`` if the server can't be started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from pytest_flperf.foundry_host.child import Prctl, find_prctl, follow_parent

if TYPE_CHECKING:
    import psutil

    from pytest_flperf.results.redaction import Redactor

__all__ = ["main"]

_LONGEST_LINE: Final = 64 << 10
_LONGEST_LOG: Final = 32 << 20
_LAST_LINES: Final = 40
"""Last lines to keep of a log that was cut: the reason for a server's exit is at its end."""
_LOOK_S: Final = 0.5
_GOING_S: Final = 10.0
"""A dying process closes its files some time before it has no children left: a long time on a busy machine."""
_CLOSE_LOOK_S: Final = 0.01
_LAST_WORDS_S: Final = 0.5
"""Wait for a server's last lines, even if a child of it keeps the pipe open."""
_PR_SET_CHILD_SUBREAPER: Final = 36


def main() -> int:
    """Start the server, and stay until it ends or must end."""
    wish: Mapping[str, Any] = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not wish:  # the parent died first
        return 0
    must_end, hung_up = threading.Event(), threading.Event()
    # SIGTERM may come after the parent has died: a machine that shuts down sends it.
    signal.signal(signal.SIGTERM, lambda *_: must_end.set())
    prctl = find_prctl()
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what outlives the server becomes our child, so that we can end it
    try:
        server = _start(wish, prctl)
    except (OSError, ValueError) as error:
        _say({"error": (error.strerror if isinstance(error, OSError) else None) or str(error)})
        return 1
    _say({"pid": server.pid})
    copier = threading.Thread(target=_copy, args=(server.stdout, wish["log"], wish["secrets"]), daemon=True)
    copier.start()
    threading.Thread(target=_follow, args=(must_end, hung_up), daemon=True).start()
    _wait(server, must_end, wish["parent_pid"])
    told = server.poll() is not None
    if told:
        copier.join(_LAST_WORDS_S)
        _say({"code": server.returncode})  # before its children are ended: the parent waits for this
    _end_tree(server, wish["grace_s"])
    copier.join(_LAST_WORDS_S)
    if not told:
        _say({"code": server.returncode})
    if _is_alone(wish["parent_pid"], _GOING_S if hung_up.is_set() else 0):
        shutil.rmtree(wish["private"], ignore_errors=True)
    return 0


def _start(wish: Mapping[str, Any], prctl: Prctl | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        wish["arguments"],
        cwd=wish["folder"],
        env=wish["environment"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        # Where the OS supports it, the server ends with us even if we are killed.
        preexec_fn=None if prctl is None else lambda: follow_parent(prctl),  # noqa: PLW1509 - one thread yet
    )


def _say(what: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(what).encode() + b"\n")


def _follow(must_end: threading.Event, hung_up: threading.Event) -> None:
    """Wait until the parent writes a line or closes its end.

    A fork of the parent may keep that end open.
    """
    word = b""
    with contextlib.suppress(OSError, ValueError):
        word = sys.stdin.buffer.readline()
    if not word:
        hung_up.set()
    must_end.set()


def _wait(server: subprocess.Popen[bytes], must_end: threading.Event, parent_pid: int) -> None:
    def reap() -> None:
        server.wait()
        must_end.set()

    threading.Thread(target=reap, daemon=True).start()
    # A fork of the parent may keep the pipe open.
    while not must_end.wait(_LOOK_S) and not _is_alone(parent_pid):
        pass


def _is_alone(parent_pid: int, within_s: float = 0) -> bool:
    """Whether the parent is gone, or goes within ``within_s`` seconds.

    False where that can't be seen.
    """
    if sys.platform == "win32":
        return False
    deadline = time.monotonic() + within_s
    while os.getppid() == parent_pid:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_CLOSE_LOOK_S)
    return True


def _end_tree(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """Terminate all processes, wait, and kill the rest."""
    import psutil

    deadline = time.monotonic() + grace_s
    tree = _descendants()
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace_s)
    # Without the server: another waiter would take its exit code away.
    others = [process for process in tree if process.pid != server.pid]
    psutil.wait_procs(others, max(deadline - time.monotonic(), 0.0))
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.killpg(server.pid, signal.SIGKILL)
    for process in {*tree, *_descendants()}:
        with contextlib.suppress(psutil.Error):
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(max(grace_s, 1.0))


def _descendants() -> list[psutil.Process]:
    """The server and its children; on Linux also detached ones."""
    import psutil

    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def _copy(stream: IO[bytes], path: str, secrets: list[str]) -> None:
    """Copy the server's output to its log.

    Keys are masked, and the size of the log is limited.
    """
    from pytest_flperf.results.redaction import Redactor  # here, while the server starts

    redactor = Redactor(secrets)
    written, left_out = 0, 0
    last: deque[bytes] = deque(maxlen=_LAST_LINES)

    def write(line: bytes) -> int:
        with contextlib.suppress(OSError):  # a full disk must not block the server
            return log.write(redactor.text(line.decode("utf-8", "replace")).encode())
        return 0

    with contextlib.suppress(OSError, ValueError), Path(path).open("ab", buffering=0) as log:
        for line in _whole_keys(stream, redactor):
            if written <= _LONGEST_LOG:
                written += write(line)
                continue
            left_out += 1
            last.append(line)
        if left_out > len(last):
            write(f"\n({left_out - len(last)} lines are left out here: the log was too long)\n".encode())
        for line in last:
            write(line)


def _whole_keys(stream: IO[bytes], redactor: Redactor) -> Iterator[bytes]:
    """Lines; a long one is split where no key is cut."""
    held = b""
    while line := stream.readline(_LONGEST_LINE):
        held += line
        if line.endswith(b"\n"):
            yield held
            held = b""
        else:
            held = redactor.data(held)
            kept = min(redactor.reach, len(held))
            if len(held) > kept:
                yield held[: len(held) - kept]
            held = held[len(held) - kept :]
    if held:
        yield held


if __name__ == "__main__":
    os._exit(main())  # nothing is left to do, and waiting threads must not delay the exit
