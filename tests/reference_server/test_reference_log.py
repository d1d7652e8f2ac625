"""The log tells the truth, wherever the server runs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_client import QUESTION, ask, request_bytes

from pytest_flperf.clock import KERNEL_STAMPS_POSSIBLE
from pytest_flperf.reference_server import (
    LogEntry,
    OptionError,
    ReferenceConfig,
    ReferenceServer,
    ReferenceServerError,
    Schedule,
)

Serve = Callable[..., ReferenceServer]
SLACK_NS = 1_000_000_000


def wait_for(condition: Callable[[], Any], patience_s: float = 60.0) -> Any:
    """The first true thing that ``condition`` returns."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("in_thread", [True, False])
def test_the_log_agrees_with_a_bare_socket(serve: Serve, in_thread: bool) -> None:
    """What a client sent and received lies around what the log says, send by send."""
    server = serve(in_thread=in_thread)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as sock:
        before_ns = time.monotonic_ns()
        sock.sendall(request_bytes(QUESTION, headers="X-Request-Id: mine-7\r\n"))
        after_ns = time.monotonic_ns()
        received, reads = b"", []
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(65536)
            reads.append((time.monotonic_ns(), len(received)))
    (entry,) = server.log
    assert (entry.id, entry.number, entry.connection) == ("ref-00000001", 1, 1)
    assert entry.id.encode() in received
    assert (entry.request_id, entry.model, entry.stream, entry.status) == ("mine-7", "reference", True, 200)
    assert entry.prompt_head == "Hello"
    assert entry.prompt_hash == hashlib.sha256(b"Hello").hexdigest()[:16]
    assert entry.clock == ("kernel" if KERNEL_STAMPS_POSSIBLE else "user")
    # a kernel stamp is converted between clocks, which costs some microseconds of truth
    assert before_ns - 1_000_000 <= entry.first_byte_ns <= entry.last_byte_ns <= entry.read_ns
    assert entry.last_byte_ns <= after_ns + SLACK_NS
    assert sum(entry.bytes) == len(received)
    assert entry.kinds == ("head+role", *["text"] * 8, "finish+usage+done+end".replace("usage+", ""))
    assert entry.chunks == (0, *[1] * 8, 0)
    assert entry.text_ns == entry.sent_ns[1:9]
    assert entry.ttft_ms == pytest.approx((entry.sent_ns[1] - entry.last_byte_ns) / 1e6)
    assert entry.mean_gap_ms == pytest.approx((entry.sent_ns[8] - entry.sent_ns[1]) / 7e6)
    total = 0
    for sent_ns, size in zip(entry.sent_ns, entry.bytes, strict=True):
        total += size
        assert sent_ns <= next(read_ns for read_ns, length in reads if length >= total)
    assert (entry.ended, entry.partial, entry.sends) == ("complete", (), 10)


def test_a_request_in_two_parts(serve: Serve) -> None:
    """First and last byte are stamped apart, and the schedule counts from the last."""
    server = serve(ttft_ms=0)
    data = request_bytes(QUESTION)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as sock:
        sock.sendall(data[:40])
        time.sleep(0.05)
        sock.sendall(data[40:])
        assert sock.recv(100)
    entry = server.log[0]
    assert entry.last_byte_ns - entry.first_byte_ns > 40_000_000
    assert entry.due_ns[0] == entry.last_byte_ns


def test_a_client_that_does_not_read(serve: Serve) -> None:
    """A send that the kernel can't take whole is marked, the others go on, and no byte is lost."""
    server = serve(ttft_ms=0, itl_ms=0.05, tokens=400, chars_per_token=10_000)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(120)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(request_bytes(QUESTION))
        wait_for(lambda: server.log and server.log[0].partial)
        other = ask(server.port, QUESTION | {"flperf_reference": {"tokens": 2, "chars_per_token": 4}})
        assert other.text == "000 001 "
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(1 << 20)
    entry = server.log[0]
    assert entry.ended == "complete"
    assert sum(entry.bytes) == len(received)


def test_open_requests_are_in_the_log(serve: Serve) -> None:
    """A request that hangs is there, and has not ended."""
    server = serve(ttft_ms=60_000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as sock:
        sock.sendall(request_bytes(QUESTION))
        assert b"200 OK" in sock.recv(1000)
        (entry,) = server.log
        assert (entry.ended, entry.kinds) == ("", ("head+role",))
        assert entry.ttft_ms is None
    wait_for(lambda: server.log[0].ended == "client_closed")


def test_the_log_over_http(serve: Serve) -> None:
    """Another process can read the log, and clear it."""
    server = serve()
    ask(server.port, QUESTION)
    log = json.loads(ask(server.port, b"GET /flperf/log HTTP/1.1\r\nConnection: close\r\n\r\n").body)
    assert [LogEntry.from_json(entry | {"new": 1}) for entry in log["entries"]] == list(server.log)
    assert log["server"]["now_ns"] > log["entries"][0]["ended_ns"]
    assert ask(server.port, b"DELETE /flperf/log HTTP/1.1\r\nConnection: close\r\n\r\n").status == 200
    assert not server.log
    ask(server.port, QUESTION)
    assert [entry.number for entry in server.log] == [2]
    server.clear_log()
    assert not server.log


def test_the_log_as_a_file(serve: Serve, tmp_path: Path) -> None:
    """Each finished request is a line, at the latest when the server has ended, cleared or not."""
    path = tmp_path / "log.jsonl"
    config = ReferenceConfig(schedule=Schedule(ttft_ms=0, itl_ms=0, tokens=3), log_file=str(path))
    with ReferenceServer(config, in_thread=True) as server:
        ask(server.port, QUESTION | {"messages": [{"role": "user", "content": "\ud83d é\n"}]})
        ask(server.port, b"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\n\r\n")
        log = server.log
        server.clear_log()
    entries = [LogEntry.from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    assert entries == list(log)
    assert [entry.status for entry in entries] == [200, 400]
    assert entries[0].prompt_head == "\ud83d é\n"


def test_many_streams_at_once(serve: Serve) -> None:
    """Streams side by side each get their own answer, whole and in order."""
    server = serve(tokens=20)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server.port, QUESTION))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.text for answer in answers} == {"".join(f"{n:03d} " for n in range(20))}
    assert {answer.chunks[0]["id"] for answer in answers} == {entry.id for entry in server.log}


def test_a_child_serves_and_ends(serve: Serve) -> None:
    """In a child process it does the same, and is gone after stop."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=0, itl_ms=0, tokens=2))) as server:
        pid = server.pid
        assert pid != os.getpid()
        assert ask(server.port, QUESTION).text == "000 001 "
        server.reconfigure(ReferenceConfig(schedule=Schedule(ttft_ms=0, itl_ms=0, tokens=1)))
        assert ask(server.port, QUESTION).text == "000 "
        server.refuse()
        with pytest.raises(ConnectionRefusedError):
            ask(server.port, QUESTION)
        assert len(server.log) == 2
        assert server.cpu_s > 0
        assert server.troubles == ()
    with pytest.raises(ReferenceServerError, match="not running"):
        server.log  # noqa: B018
    server.stop()


def test_a_child_that_dies_says_so() -> None:
    """Commands to a server that was killed raise, and stop still works."""
    with ReferenceServer() as server:
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(ReferenceServerError, match="has ended"):
            wait_for(lambda: server.log and None)


@pytest.mark.parametrize("in_thread", [True, False])
def test_a_port_that_is_taken(in_thread: bool) -> None:
    """A server that can't listen says why."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = ReferenceConfig(port=other.getsockname()[1])
        with pytest.raises((ReferenceServerError, OSError), match="in use"):
            ReferenceServer(config, in_thread=in_thread).start()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_no_orphan_survives_its_parent() -> None:
    """The child ends when its parent was killed outright."""
    code = (
        "import sys, time\n"
        "from pytest_flperf.reference_server import ReferenceServer\n"
        "server = ReferenceServer().start()\n"
        "print(server.port, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        port = int(parent.stdout.readline())
        assert ask(port, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").status == 200
        parent.kill()
        parent.wait()

        def gone() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=120).close()
            except ConnectionRefusedError:
                return True
            except OSError:  # a busy machine lets it wait
                return False
            return False

        wait_for(gone)


def test_configs_go_through_json() -> None:
    """A config is the same after JSON, and a wrong one is refused by name."""
    config = ReferenceConfig.from_json(
        {"schedule": {"tokens": 3}, "fault": {"kind": "cut", "reset": True}, "models": ["a", "b"], "port": 0}
    )
    assert ReferenceConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(OptionError, match="did you mean 'schedule'"):
        ReferenceConfig.from_json({"shedule": {}})
    with pytest.raises(OptionError, match=r"config\.host: expected one of 127\.0\.0\.1, ::1"):
        ReferenceConfig(host="0.0.0.0")  # type: ignore[arg-type]  # noqa: S104


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl here to make a certificate with")
    return cert, key


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_tls(serve: Serve, certificate: tuple[str, str], framing: str) -> None:
    """Over TLS it serves the same, ends tidily, and its stamps are the user's."""
    cert, key = certificate
    schedule = Schedule(ttft_ms=5, itl_ms=1, tokens=8, framing=framing)  # type: ignore[arg-type]
    server = serve(ReferenceConfig(schedule=schedule, cert_file=cert, key_file=key))
    assert server.base_url.startswith("https://")
    context = ssl.create_default_context(cafile=cert)
    received = b""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=120) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as sock,
    ):
        data = request_bytes(QUESTION, headers="Connection: close\r\n")
        sock.sendall(data[:50])
        sock.sendall(data[50:])
        while piece := sock.recv(65536):
            received += piece
    assert received.count(b'"content":"0') == 8
    assert server.log[0].clock == "user"
    assert server.log[0].ended == "complete"
    assert ask(server.port, b"GET / HTTP/1.1\r\n\r\n").status == 0
