"""Frames, signals and cancelling: the talk between the two processes, without the second one."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_doubles import ANSWER, RawServer, answering, deadlines, plan_of, played, request, silent

import pytest_flperf.loadgen.worker
from pytest_flperf.loadgen.channel import ChannelClosedError, FrameReader, FrameWriter
from pytest_flperf.loadgen.interrupts import Interrupts
from pytest_flperf.loadgen.plan import Destination, Entry, RequestPlan
from pytest_flperf.loadgen.poller import Poller, _Selector, new_poller
from pytest_flperf.loadgen.worker import Player
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.wire.exchange import Phase

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@contextlib.contextmanager
def player_in_a_thread() -> Iterator[tuple[FrameReader, FrameWriter, socket.socket]]:
    """A player in a thread of this process: our end of its channel."""
    ours, theirs = socket.socketpair()
    ours.settimeout(120)
    theirs.setblocking(False)
    player = Player(FrameReader(theirs), FrameWriter(theirs), theirs.fileno())

    def run() -> None:
        with contextlib.suppress(ChannelClosedError), theirs, contextlib.closing(player):
            player.run()

    thread = threading.Thread(target=run)
    thread.start()
    with ours:
        yield FrameReader(ours), FrameWriter(ours), ours
    thread.join(120)


def frames_of(reader: FrameReader) -> list[tuple[object, ...]]:
    """The frames up to and with the next "done"."""
    frames: list[tuple[object, ...]] = []
    while not frames or frames[-1][0] != "done":
        frames += reader.read()
    return frames


def ask(writer: FrameWriter, target: Destination, count: int) -> None:
    """Have a plan played."""
    writer.write(("plan", [(list(target.addresses), None)], (0, 0, 0, 0, 0), 1 << 20, 2, count))
    writer.write(("entries", [(number, "measured", 0, True, request(), None) for number in range(count)]))


@pytest.mark.parametrize("poller", [new_poller, _Selector], ids=["best", "selectors"])
def test_a_cancel_that_comes_too_late_stops_nothing(
    poller: Callable[[], Poller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It crosses the end of its plan on the way: no second end is said, and the next plan is played whole."""
    monkeypatch.setattr(pytest_flperf.loadgen.worker, "new_poller", poller)
    with RawServer(answering(ANSWER)) as server, player_in_a_thread() as (reader, writer, ours):
        for _ in range(3):
            ask(writer, server.target, 5)
            assert [frame[0] for frame in frames_of(reader)] == ["exchange"] * 5 + ["done"]
            writer.write(("cancel",))
            ours.settimeout(0.1)
            with pytest.raises(ChannelClosedError) as silence:
                reader.read()
            assert isinstance(silence.value.__cause__, TimeoutError)
            ours.settimeout(120)


def test_each_plan_ends_once() -> None:
    """A plan that ends with a connection that can't be opened says so once, and not the next plan's end as well."""
    with (
        RawServer(lambda sock, _number: sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), tls_name="localhost") as server,
        player_in_a_thread() as (reader, writer, ours),
    ):
        target = [(list(server.target.addresses), "localhost")]
        for number in range(10):
            writer.write(("plan", target, (0, 0, 0, 0, 0), 1 << 20, 1, 1))
            writer.write(("entries", [(number, "measured", 0, True, request(), None)]))
            assert [frame[0] for frame in frames_of(reader)] == ["exchange", "done"]
        ours.settimeout(0.1)
        with pytest.raises(ChannelClosedError) as silence:
            reader.read()
        assert isinstance(silence.value.__cause__, TimeoutError)


def test_cancelling_before_the_first_request() -> None:
    """A plan that is stopped while it connects, or while requests wait for a connection, ends all the same."""
    with RawServer(silent, tls_name="localhost") as server, player_in_a_thread() as (reader, writer, _):
        writer.write(("plan", [(list(server.target.addresses), "localhost")], (0, 0, 0, 0, 0), 1 << 20, 2, 5))
        writer.write(("entries", [(number, "measured", 0, True, request(), None) for number in range(5)]))
        time.sleep(0.1)
        writer.write(("cancel",))
        assert frames_of(reader)[-1][5] == 0
        ask(writer, Destination(()), 3)
        frames = frames_of(reader)
        assert [frame[-7] for frame in frames[:-1]] == ["connect_refused"] * 3


@given(
    frames=st.lists(
        st.tuples(st.text(max_size=5), st.binary(max_size=40), st.lists(st.integers(), max_size=3)), max_size=6
    ),
    step=st.integers(1, 30),
    together=st.booleans(),
)
def test_frames_survive_any_splitting(frames: list[tuple[object, ...]], step: int, *, together: bool) -> None:
    """However the channel cuts them, the same frames come out in order, sent one by one or together."""

    class Pieces:
        """A socket that keeps what is sent and gives it back in pieces."""

        def __init__(self) -> None:
            self.data = b""

        def send(self, data: memoryview) -> int:
            self.data += bytes(data[:step])
            return min(step, len(data))

        def recv(self, _size: int) -> bytes:
            piece, self.data = self.data[:step], self.data[step:]
            if not piece:
                raise BlockingIOError
            return piece

    pieces = Pieces()
    writer, reader = FrameWriter(pieces), FrameReader(pieces)  # type: ignore[arg-type]
    for frame in frames:
        (writer.add if together else writer.write)(frame)
    writer.flush()
    assert not writer.waiting
    taken: list[object] = []
    while pieces.data:
        taken += reader.read()
    assert taken == frames
    assert reader.read() == []


def test_small_frames_are_sent_together_and_large_ones_alone() -> None:
    """A call for each small frame would cost more than the frame."""
    sizes: list[int] = []

    class Socket:
        """A socket that takes everything."""

        def send(self, data: memoryview) -> int:
            sizes.append(len(data))
            return len(data)

    writer = FrameWriter(Socket())  # type: ignore[arg-type]
    for size in (10, 10, 200_000, 10, 60_000, 60_000):
        writer.add((bytes(size),))
    writer.flush()
    assert [size // 10_000 for size in sizes] == [0, 20, 6, 6]


@posix
def test_interrupts_are_held_back_and_then_take_their_course(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals wait for the end of the block, unless one comes seconds later; what is ignored stays ignored."""
    reached = False
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:  # noqa: PT012 (leaving the block is what raises)
        signal.raise_signal(signal.SIGINT)
        assert interrupts.pending
        reached = True
    assert reached
    reached = False
    with pytest.raises(KeyboardInterrupt), Interrupts():  # noqa: PT012
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        reached = True
    assert reached
    monkeypatch.setattr("pytest_flperf.loadgen.interrupts._PATIENCE_S", 0.0)
    with pytest.raises(KeyboardInterrupt), Interrupts():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        reached = False
    assert reached
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert not interrupts.pending
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGINT) is before


@posix
def test_a_signal_while_handlers_are_exchanged_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is raised in the middle of leaving leaves no handler behind that keeps the next for ever."""
    seen: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    exchange = signal.signal

    def interrupted(number: int, handler: object) -> object:
        done = exchange(number, handler)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
        return done

    try:
        with pytest.raises(KeyboardInterrupt), Interrupts():
            monkeypatch.setattr(signal, "signal", interrupted)
        monkeypatch.undo()
        signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_interrupts_are_left_alone_outside_the_main_thread() -> None:
    """Python sets handlers in the main thread only; a plan can be played in any."""
    with RawServer(answering(ANSWER)) as server, LoadSession() as session:
        results: list[int] = []
        thread = threading.Thread(
            target=lambda: results.append(len(played(session, plan_of([request()], server.target))[0]))
        )
        thread.start()
        thread.join(120)
    assert results == [1]


def test_an_entry_is_never_shown_with_its_key() -> None:
    """The bytes of a request hold the key: they are in no repr of an entry or plan."""
    entry = Entry(0, Phase.MEASURED, 0, True, b"Authorization: Bearer hunter2")
    plan = RequestPlan((Destination(()),), deadlines(), 1, 1, (entry,))
    assert "hunter2" not in repr(plan)
