"""Two processes: whichever dies or dawdles, the other knows what to do."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from load_doubles import (
    ANSWER,
    HEAD,
    MS,
    RawServer,
    answering,
    deadlines,
    plan_of,
    read_request,
    request,
    samples,
    silent,
    token,
)

from pytest_flperf.loadgen.plan import Deadlines, Entry, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadProcessError, LoadSession
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.sample import Outcome

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def gone(pid: int, within_s: float = 60.0) -> bool:
    """Whether a process ends in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_a_load_process_that_dies_is_an_error_and_no_hang() -> None:
    """What was measured has been handed over; the rest is a LoadProcessError at once."""
    seen: list[Exchange] = []

    def kill(exchange: Exchange) -> None:
        seen.append(exchange)
        psutil.Process(session.pid).kill()

    with RawServer(answering(ANSWER)) as server, LoadSession() as session:
        with pytest.raises(LoadProcessError, match="the load process ended"):
            session.play(plan_of([request()] * 10_000, server.target), kill)
        assert seen
        assert not session.alive


def test_an_exception_in_the_middle_ends_the_load_process() -> None:
    """A journal that fails must not leave a plan playing on whose frames the next one would take for its own."""

    def fail(_exchange: Exchange) -> None:
        raise OSError("disk full")

    with RawServer(answering(ANSWER)) as server, LoadSession() as session:
        with pytest.raises(OSError, match="disk full"):
            session.play(plan_of([request()] * 1_000, server.target), fail)
        assert not session.alive


def test_too_few_entries_are_an_error_and_no_hang() -> None:
    """A plan that has fewer entries than it says is refused in words."""
    with RawServer(answering(ANSWER)) as server, LoadSession() as session:
        plan = RequestPlan((server.target,), deadlines(), 1, 3, (Entry(0, Phase.MEASURED, 0, True, request()),))
        with pytest.raises(ValueError, match="2 short of its total"):
            session.play(plan, lambda _exchange: None)


def test_stopping_is_quick_and_may_be_done_twice() -> None:
    """An idle load process is gone in half a second, without a trace."""
    session = LoadSession()
    pid = session.pid
    started = time.monotonic()
    session.stop()
    session.stop()
    assert time.monotonic() - started < 10, "the bound is for a busy machine"
    assert gone(pid)
    assert not session.alive


PARENT = """
    import sys, time
    sys.path[:0] = sys.argv[2:]
    from load_doubles import plan_of, request
    from pytest_flperf.loadgen.plan import Destination
    from pytest_flperf.loadgen.worker_client import LoadSession
    session = LoadSession()
    print(session.pid, flush=True)
    target = Destination(((2, ("127.0.0.1", int(sys.argv[1]))),))
    done = []
    try:
        session.play(plan_of([request()] * 100_000, target, concurrency=4), done.append)
    finally:
        print(len(done), {exchange.ending.value for exchange in done}, flush=True)
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT] if sys.platform != "win32" else [])
def test_no_load_process_outlives_its_parent(number: signal.Signals) -> None:
    """Whatever ends the measuring process ends the load process; what was under way is handed over, if it can be."""
    begun = threading.Semaphore(0)

    def endless(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(HEAD)
        begun.release()
        for _ in range(2_000):
            sock.sendall(token("a"))
            time.sleep(0.01)

    with RawServer(endless) as server:
        port = server.target.addresses[0][1][1]
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PARENT), str(port), str(Path(__file__).parent)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        for _ in range(4):
            assert begun.acquire(timeout=60.0)
        parent.send_signal(number)
        said, complaints = parent.communicate(timeout=60.0)
    assert gone(pid)
    assert parent.returncode != 0
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in complaints
        assert said.strip() == "4 {'cancelled'}"
    else:
        assert parent.returncode == -number


@posix
def test_ctrl_c_hands_over_what_was_measured() -> None:
    """The first SIGINT ends the plan: finished requests and cancelled ones all arrive, then KeyboardInterrupt comes."""
    seen: list[Exchange] = []

    def press(exchange: Exchange) -> None:
        seen.append(exchange)
        if len(seen) == 20:
            signal.raise_signal(signal.SIGINT)

    def sometimes(sock: socket.socket, number: int) -> None:
        if number == 1:
            silent(sock, number)
        answering(ANSWER)(sock, number)

    with RawServer(sometimes) as server, LoadSession() as session, pytest.raises(KeyboardInterrupt):
        session.play(plan_of([request()] * 100_000, server.target, concurrency=2), press)
    endings = [exchange.ending for exchange in seen]
    assert endings.count(Ending.COMPLETE) >= 20
    assert Ending.CANCELLED in endings
    assert len({exchange.index for exchange in seen}) == len(seen)
    assert {decode(exchange).outcome for exchange in seen} == {Outcome.OK, Outcome.CANCELLED}


def test_a_slow_parent_loses_nothing() -> None:
    """While the measuring process is busy, answers wait in the load process; all of them arrive, stamps untouched."""
    big = HEAD + token("x" * 500_000) + token("", "stop") + b"0\r\n\r\n"
    seen: list[Exchange] = []

    def dawdle(exchange: Exchange) -> None:
        if not seen:
            time.sleep(4.0)
        seen.append(exchange)

    with RawServer(answering(big)) as server, LoadSession() as session:
        stats = session.play(plan_of([request()] * 60, server.target, concurrency=4), dawdle)
    assert stats.finished == len(seen) == 60
    assert {decode(exchange).outcome for exchange in seen} == {Outcome.OK}
    assert stats.finished_ns - stats.started_ns < 3_900 * MS


def test_ticks_come_about_ten_times_a_second() -> None:
    """Neither for every request nor never."""
    ticks: list[float] = []

    def slow(sock: socket.socket, _number: int) -> None:
        while read_request(sock):
            time.sleep(0.01)
            sock.sendall(ANSWER)

    with RawServer(slow) as server, LoadSession() as session:
        started = time.monotonic()
        session.play(plan_of([request()] * 80, server.target), lambda _exchange: None, lambda: ticks.append(1.0))
        took = time.monotonic() - started
    assert took * 5 - 1 <= len(ticks) <= took * 10 + 1


def test_nothing_of_the_current_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with modules named like the standard library's can be measured."""
    for name in ("json", "socket", "select", "heapq", "struct", "ssl"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with RawServer(answering(ANSWER)) as server, LoadSession() as session:
        assert samples(session, plan_of([request()], server.target))[0].outcome is Outcome.OK


@posix
def test_no_file_number_is_left() -> None:
    """More streams than the system gives sockets for: those fail and say why, the others go on."""
    code = """
        import resource, sys
        sys.path[:0] = sys.argv[2:]
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
        from load_doubles import plan_of, played, request
        from pytest_flperf.loadgen.plan import Destination
        from pytest_flperf.loadgen.worker_client import LoadSession
        target = Destination(((2, ("127.0.0.1", int(sys.argv[1]))),))
        with LoadSession() as session:
            exchanges, _ = played(session, plan_of([request()] * 80, target, concurrency=40))
            again, _ = played(session, plan_of([request()] * 10, target, concurrency=2))
        refused = [e for e in exchanges if e.ending.value == "client_limit"]
        assert 0 < len(refused) < 80, len(refused)
        assert all("EMFILE" in e.detail and "ulimit -n" in e.detail for e in refused)
        assert {e.ending.value for e in exchanges} == {"client_limit", "complete"}
        assert {e.ending.value for e in again} == {"complete"}
    """

    def slowly(sock: socket.socket, _number: int) -> None:
        while read_request(sock):
            time.sleep(0.1)
            sock.sendall(ANSWER)

    with RawServer(slowly) as server:
        arguments = [str(server.target.addresses[0][1][1]), str(Path(__file__).parent)]
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], check=True, timeout=60.0)


def test_memory_does_not_grow_with_the_requests() -> None:
    """Thousands of requests, each over a connection of its own and with limits far away, leave nothing behind."""
    closing = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)

    def once(sock: socket.socket, _number: int) -> None:
        read_request(sock)
        sock.sendall(closing)

    hour = 3_600 * 10**9
    with RawServer(once) as server, LoadSession() as session:
        process = psutil.Process(session.pid)
        sizes = []
        for _ in range(3):
            plan = plan_of([request()] * 1_000, server.target, concurrency=4, limits=Deadlines(*[hour] * 5))
            assert session.play(plan, lambda _exchange: None).finished == 1_000
            sizes.append(process.memory_info().rss)
    assert sizes[2] - sizes[0] < 1_000_000


def test_a_load_process_that_breaks_has_last_words() -> None:
    """What it wrote to its standard error is in the message."""
    with LoadSession() as session:
        session._send("nonsense")
        with pytest.raises(LoadProcessError, match=r"its last words: .*_take_nonsense"):
            session.play(RequestPlan((), Deadlines(0, 0, 0, 0, 0), 1, 0, ()), lambda _exchange: None)


def test_last_words_are_short_and_printable() -> None:
    """The end of much is shown, and nothing in it can steer a terminal."""
    with LoadSession() as session:
        session._log.write(b"early\n" + b"x" * 100_000 + b"\n\x1b[2Jthe reason\x07\xff\n")
        session._log.flush()
        psutil.Process(session.pid).kill()
        with pytest.raises(LoadProcessError) as caught:
            session.play(RequestPlan((), Deadlines(0, 0, 0, 0, 0), 1, 0, ()), lambda _exchange: None)
    message = str(caught.value)
    assert "the reason" in message
    assert "early" not in message
    assert message.isprintable()
    assert len(message) < 5_000


@posix
def test_a_load_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every request must have ended long ago and none is heard of, that is an error and no hang."""
    monkeypatch.setattr("pytest_flperf.loadgen.queue._SILENCE_MARGIN_S", 0.5)
    limits = deadlines(connect=100 * MS, total=200 * MS)
    with RawServer(answering(ANSWER)) as server, LoadSession() as session:
        assert samples(session, plan_of([request()], server.target))[0].ok
        psutil.Process(session.pid).suspend()
        started = time.monotonic()
        with pytest.raises(LoadProcessError, match="said nothing for"):
            session.play(plan_of([request()], server.target, limits=limits), lambda _exchange: None)
        assert time.monotonic() - started < 60
        assert gone(session.pid)
