"""Memory of a whole run, pytest and load process together, for an answer without end."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from tiny_runs import Done, Tiny

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20
MOST_MB = 300
_RUN = """
import resource, sys
from pathlib import Path
import pytest
code = pytest.main(sys.argv[1:])
unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
used = [resource.getrusage(who).ru_maxrss / unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
if sys.platform == "linux":  # where a process takes over the figure of the one that started it
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    used[0] = int(status["VmHWM"].split()[0]) / 1024
print("used", *used)
sys.exit(code)
"""


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str, finish: str | None = None) -> bytes:
    """A token as an event, in a chunk of its own."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")


SHORT = HEAD + event("a") + event("", "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
ONE_TOKEN = HEAD + event("first") + b'%x\r\ndata: {"choices":[{"delta":{"content":"' % (1 << 30)
LARGE = {
    "one token": (ONE_TOKEN, b"x" * MIB),
    "many chunks": (HEAD + event("first"), event("more") * 10_000),
    "a head": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * MIB),
}


def answer(sock: socket.socket, begin: bytes, block: bytes) -> None:
    """Answers every request shortly, and that of the case with 200 MB."""
    with contextlib.suppress(OSError), sock, sock.makefile("rb") as asked:
        while asked.readline():
            length = 0
            while line := asked.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            if b"LARGE" not in asked.read(length):
                sock.sendall(SHORT)
                continue
            sock.sendall(begin)
            for _ in range(200 * MIB // len(block)):
                sock.sendall(block)
            return


@pytest.fixture(params=LARGE)
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of such answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    threading.Thread(target=answer, args=(sock, *LARGE[request.param]), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_one_answer_of_200_mb_costs_300_mb_at_most(tiny: Tiny, base_url: str) -> None:
    """With the bound as it is; the case fails, and the journal has the request."""
    tiny.suite({"prompt": "LARGE", "prompt_cache": "reuse"})
    options = [
        "-p",
        "no:cacheprovider",
        "--flperf-suite=tiny.json",
        f"--flperf-base-url={base_url}",
        "--flperf-model=m",
    ]
    command = [sys.executable, "-c", _RUN, *options, "--flperf-lock-timeout=none"]
    ran = subprocess.run(command, cwd=tiny.folder, capture_output=True, text=True, timeout=300, check=False)
    done = Done(ran.returncode, ran.stdout + ran.stderr, tiny.folder)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "1 × answer_too_large" in done.case["message"]
    (kept,) = [line for line in done.journal() if line["phase"] == "measured"]
    assert kept["ending"] == "answer_too_large"
    (used,) = [line.split()[1:] for line in done.lines if line.startswith("used ")]
    assert sum(map(float, used)) < MOST_MB, used
