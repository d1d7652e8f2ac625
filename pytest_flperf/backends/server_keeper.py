"""The process between us and a server that we started: keeps its log, and ends it when we are gone.

Started as ``python -m pytest_flperf.backends.server_keeper`` by :mod:`pytest_flperf.backends.server_process`, never by
hand.  A process of its own, because a killed one ends nothing.  The first line of standard input says what to start; at
another line, at the end of the input, at SIGTERM, and when the parent is gone, the server and everything it started are
ended.  Standard output tells of it as JSON lines: ``pid``, then ``code``; ``error`` where it can't be started.
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
"""Of a log that was cut: why a server ended stands at its end."""
_LOOK_S: Final = 0.5
_GOING_S: Final = 10.0
"""A process that dies closes its files a while before it has no children any more: on a busy machine, a long one."""
_CLOSE_LOOK_S: Final = 0.01
_LAST_WORDS_S: Final = 0.5
"""A server's last lines are worth a moment, also where a child of it holds the other end of the pipe."""
_PR_SET_CHILD_SUBREAPER: Final = 36


def main() -> int:
    """Start what the first line asks for, and stay until it has ended or must."""
    wish: Mapping[str, Any] = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not wish:  # the parent died first
        return 0
    must_end, hung_up = threading.Event(), threading.Event()
    # Coming after the parent has died, this is how a machine that shuts down tells it.
    signal.signal(signal.SIGTERM, lambda *_: must_end.set())
    prctl = find_prctl()
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what outlives the server becomes our child, and is found at the end
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
        _say({"code": server.returncode})  # before what it leaves behind is ended: somebody waits for the news
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
        # It ends with us even if we are killed, where the system can do that.
        preexec_fn=None if prctl is None else lambda: follow_parent(prctl),  # noqa: PLW1509 - one thread yet
    )


def _say(what: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(what).encode() + b"\n")


def _follow(must_end: threading.Event, hung_up: threading.Event) -> None:
    """Until the parent says a word, or closes its end: a fork of it may hold that open."""
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
    # The pipe's other end may live on in a fork of the parent.
    while not must_end.wait(_LOOK_S) and not _is_alone(parent_pid):
        pass


def _is_alone(parent_pid: int, within_s: float = 0) -> bool:
    """Whether the parent is gone, or goes within so many seconds, where that can be seen."""
    if sys.platform == "win32":
        return False
    deadline = time.monotonic() + within_s
    while os.getppid() == parent_pid:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_CLOSE_LOOK_S)
    return True


def _end_tree(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask all politely, give them their time, and kill who is left."""
    import psutil

    deadline = time.monotonic() + grace_s
    tree = _descendants()
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace_s)
    # Without the server: who else waits for it takes its exit code away.
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
    """The server and what it started; on Linux also what left it for a life of its own."""
    import psutil

    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def _copy(stream: IO[bytes], path: str, secrets: list[str]) -> None:
    """What the server prints goes to its log: without the keys, and no more than a disk can bear."""
    from pytest_flperf.results.redaction import Redactor  # here, while the server starts

    redactor = Redactor(secrets)
    written, left_out = 0, 0
    last: deque[bytes] = deque(maxlen=_LAST_LINES)

    def write(line: bytes) -> int:
        with contextlib.suppress(OSError):  # a full disk is no reason to let the server block
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
    """The lines, and of one that is too long its parts: cut where no key is cut."""
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
    os._exit(main())  # nothing is left to finish, and no thread that waits may hold the end up
