"""Servers of several processes, as they are met: pre-forked workers, idle children, shared ports, daemons."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

_CODE = """
import os, socket, subprocess, sys, time

kept = []

def work(megabytes=0, share=0.6):
    kept.append(bytearray(b"x") * (megabytes << 20))
    say("worker", os.getpid())
    while True:
        until = time.process_time() + share * 0.02
        while time.process_time() < until:
            pass
        time.sleep((1 - share) * 0.02)

def rest():
    say("idle", os.getpid())
    time.sleep(600)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def fork(do, *arguments):
    pid = os.fork()
    if not pid:
        do(*arguments)
    return pid

def listen(port=0):
    found = socket.socket()
    if port or sys.argv[1] == "shared-port":
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(("127.0.0.1", port))
    found.listen()
    kept.append(found)
    return found

form = sys.argv[1]
if form == "shared-port":
    first = listen()
    port = first.getsockname()[1]
    say("port", port)
    if not os.fork():
        first.close()
        # without a parent in common but the launcher, as processes of a service manager
        subprocess.Popen([sys.executable, "-c", sys.argv[2], "other-of-port", sys.argv[2], str(port)])
        os._exit(0)
    os.wait()
    work(20)
elif form == "other-of-port":
    listen(int(sys.argv[3]))
    work(30)
server = listen()
os.set_inheritable(server.fileno(), True)
say("port", server.getsockname()[1])
if form == "pre-fork":
    for megabytes in (60, 80):
        fork(work, megabytes)
    rest()
elif form == "idle-child":
    fork(rest)
    work(50)
elif form == "idle-grandchild":
    if not fork(fork, rest):
        os._exit(0)
    work(50)
elif form == "daemon":
    if fork(work, 50):
        os._exit(0)
elif form == "passed-on":
    worker = [sys.executable, "-c", sys.argv[2], "worker", sys.argv[2]]
    subprocess.Popen(worker, pass_fds=[server.fileno()])
    server.close()
    say("idle", os.getpid())
    time.sleep(600)
elif form == "worker":
    server.close()
    work(50)
elif form == "pipe":
    subprocess.Popen([sys.executable, "-c", sys.argv[2], "pipe-parent", sys.argv[2]]).wait()
    rest()
elif form == "pipe-parent":
    server.close()
    subprocess.Popen([sys.executable, "-c", sys.argv[2], "worker", sys.argv[2]])
"""


class Forked:
    """A server that has begun."""

    def __init__(self, process: subprocess.Popen[str], workers: int) -> None:
        """Wait until it listens and so many workers work."""
        self.port = 0
        self.workers: list[int] = []
        self.idle: list[int] = []
        assert process.stdout is not None
        while not self.port or len(self.workers) < workers:
            word, _, value = process.stdout.readline().partition(" ")
            assert word, "the server has ended"
            if word == "port":
                self.port = self.port or int(value)
            else:
                (self.workers if word == "worker" else self.idle).append(int(value))


@contextlib.contextmanager
def forked(form: str, workers: int = 1) -> Iterator[Forked]:
    """A server of a form, ended with all of its processes."""
    command = [sys.executable, "-c", _CODE, form, _CODE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield Forked(process, workers)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
