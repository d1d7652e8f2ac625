"""Processes that do what they are told: burn, take memory, start children."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Self

_CODE = """
import subprocess, sys, threading
kept, children = [], []
def burn():
    while True:
        pass
for line in sys.stdin:
    word, _, value = line.strip().partition(" ")
    if word == "burn":
        threading.Thread(target=burn, daemon=True).start()
    elif word == "take":
        kept.append(bytearray(b"x") * (int(value) << 20))
    elif word == "start":
        children.append(subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1]], stdin=subprocess.PIPE))
        children[-1].stdin.write((value + "\\n").encode())
        children[-1].stdin.flush()
    elif word == "stop":
        child = children.pop()
        child.kill()
        child.wait()
        child.stdin.close()
    elif word == "listen":
        import socket
        kept.append(socket.create_server((value, 0), family=socket.AF_INET6 if ":" in value else socket.AF_INET))
        print(kept[-1].getsockname()[1], flush=True)
        continue
    elif word == "share":
        import socket
        kept.append(socket.create_server(("127.0.0.1", int(value)), reuse_port=True))
        print(kept[-1].getsockname()[1], flush=True)
        continue
    print("done", flush=True)
"""


class Child:
    """A process; each method returns when it is done."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def tell(self, line: str) -> str:
        """Tell it what to do; its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def kill(self, *, reap: bool = True) -> None:
        """End it; without ``reap`` it stays a zombie until the end of the test."""
        self._process.kill()
        if reap:
            self._process.wait()

    def __enter__(self) -> Self:
        assert self.tell("hello") == "done"
        return self

    def __exit__(self, *_: object) -> None:
        import psutil

        if self._process.poll() is None:
            for child in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # it may end of itself in this moment
                    child.kill()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait for something to become true; what it became."""
    give_up_at = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(0.01)
    return found
