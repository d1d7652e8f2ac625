"""The lock that lets one run at a time measure on a machine."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_flperf.measurement.machine_lock import LOCK_DIR, LOCK_NAME, MachineLock

HOLD = (
    "import sys; from pytest_flperf.measurement.machine_lock import MachineLock; lock = MachineLock('the other');"
    " print(lock.try_take(), flush=True); sys.stdin.read()"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own, as far as the lock goes."""
    monkeypatch.setenv(LOCK_DIR, str(tmp_path / "lock"))
    return tmp_path / "lock"


@pytest.fixture
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    del folder
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "True\n"
        yield it
        it.kill()


def test_one_at_a_time(other: subprocess.Popen[str]) -> None:
    """It is not to be had while another process has it, which says who it is; it is when that has let go."""
    with MachineLock("mine") as lock:
        assert not lock.try_take()
        holder = lock.holder()
        assert holder is not None
        assert (holder.pid, holder.command) == (other.pid, "the other")
        assert not lock.is_ours(holder)
        assert not lock.is_outer(holder)
        other.communicate("")
        assert lock.try_take()
        assert lock.held
        again = lock.holder()
        assert again is not None
        assert again.pid == os.getpid()
    assert not lock.held


def test_a_killed_holder_blocks_nobody(other: subprocess.Popen[str]) -> None:
    """The system lets go for a process that dies, whatever it left in the file."""
    other.kill()
    other.wait()
    with MachineLock("mine") as lock:
        assert lock.try_take()
        assert lock.problem == ""


def test_released_twice_and_taken_again(folder: Path) -> None:
    """Letting go is harmless twice, and leaves no account of a holder."""
    lock = MachineLock("mine")
    assert lock.try_take()
    assert lock.try_take(), "by the one that has it"
    lock.release()
    lock.release()
    assert lock.holder() is None
    assert (folder / LOCK_NAME).read_bytes() == b""
    with MachineLock("another") as next_one:
        assert next_one.try_take()


def test_runs_within_a_run(folder: Path) -> None:
    """A run that a test of the holder's starts, in its process or in another, knows the holder; strangers don't."""
    del folder
    ask = (
        "from pytest_flperf.measurement.machine_lock import MachineLock; lock = MachineLock('inner');"
        " print(lock.try_take(), lock.is_outer(lock.holder()))"
    )
    with MachineLock("outer") as outer:
        assert outer.try_take()
        inner = MachineLock("inner")
        assert not inner.try_take()
        holder = inner.holder()
        assert holder is not None
        assert inner.is_outer(holder)
        said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
        assert said == "False True\n"
        stranger = {name: value for name, value in os.environ.items() if name != "FLPERF_LOCK_TOKEN"}
        said = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=stranger
        ).stdout
        assert said == "False False\n"
    assert "FLPERF_LOCK_TOKEN" not in os.environ


def test_workers_of_one_run(folder: Path) -> None:
    """Processes with the same token know each other."""
    del folder
    with MachineLock("one", "token") as one, MachineLock("two", "token") as two:
        assert one.try_take()
        assert not two.try_take()
        holder = two.holder()
        assert holder is not None
        assert two.is_ours(holder)


@posix
def test_every_user_may_take_it(folder: Path) -> None:
    """The file is made for all, whatever the umask; one that may only be read can be locked all the same."""
    former = os.umask(0o077)
    try:
        with MachineLock("first") as lock:
            assert lock.try_take()
    finally:
        os.umask(former)
    path = folder / LOCK_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    path.chmod(0o444)
    with MachineLock("second") as one, MachineLock("third") as two:
        assert one.try_take()
        assert not two.try_take()


@posix
def test_all_users_share_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It does not follow TMPDIR, which is often each user's own."""
    from pytest_flperf.measurement import machine_lock

    monkeypatch.delenv(LOCK_DIR)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert machine_lock._folders() == (Path("/tmp"), tmp_path)  # noqa: S108


@posix
@pytest.mark.parametrize("kind", ["folder", "link", "hard link", "dangling link", "pipe", "a file as folder"])
def test_what_is_in_the_way(folder: Path, kind: str) -> None:
    """Where the file can't be had, measuring goes on and the problem is known; nothing is written through a link."""
    victim = folder.parent / "victim"
    victim.write_text("precious")
    path = folder / LOCK_NAME
    if kind == "a file as folder":
        folder.write_text("")
    else:
        folder.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(victim)
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(folder.parent / "nothing")
    elif kind == "pipe":
        os.mkfifo(path)
    with MachineLock("mine") as lock:
        assert lock.try_take()
        assert not lock.held
        assert str(folder) in lock.problem
        assert lock.holder() is None
    assert victim.read_text() == "precious"
    assert not (folder.parent / "nothing").exists()
    if kind.endswith("link"):
        assert "link" in lock.problem
        assert "remove it" in lock.problem


@posix
def test_a_hard_link_that_comes_later_is_no_harm(folder: Path) -> None:
    """A name that somebody gives the lock file while it is held makes the next one refuse it, and loses no file."""
    with MachineLock("first") as first:
        assert first.try_take()
        (folder.parent / "link").hardlink_to(folder / LOCK_NAME)
        with MachineLock("second") as second:
            assert second.try_take()
            assert not second.held
            assert "hard link" in second.problem


def test_a_file_of_somebody_is_not_emptied(folder: Path) -> None:
    """A file of the lock's name with anything else in it is locked and left as it is."""
    folder.mkdir()
    path = folder / LOCK_NAME
    path.write_text("precious")
    with MachineLock("mine") as lock, MachineLock("other") as other:
        assert lock.try_take()
        assert lock.held
        assert not other.try_take()
        assert other.holder() is None
    assert path.read_text() == "precious"


@posix
def test_a_removed_file_guards_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on a file that was removed before it was locked is not taken for the lock."""
    from pytest_flperf.measurement import machine_lock

    with MachineLock("first") as first:
        assert first.try_take()
    lock_it = machine_lock._lock
    removed: list[int] = []

    def remove_and_lock(fd: int) -> bool:
        if not removed:
            removed.append(fd)
            (folder / LOCK_NAME).unlink()
        return lock_it(fd)

    monkeypatch.setattr(machine_lock, "_lock", remove_and_lock)
    with MachineLock("second") as second:
        assert not second.try_take()
        assert second.try_take()
        assert (folder / LOCK_NAME).exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"pid": "x"}',
        '{"pid": NaN, "since_s": 1, "command": 1, "token": 2}',
        "[" * 4_000,
        "\udcff\x00",
        json.dumps({"pid": 1, "since_s": 1e999, "command": "x" * 9_000, "token": "t"}),
    ],
)
def test_strange_accounts(folder: Path, text: str) -> None:
    """Whatever another user has written into the file is no holder, and no error."""
    folder.mkdir()
    (folder / LOCK_NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    lock = MachineLock("mine")
    lock._path = folder / LOCK_NAME
    assert lock.holder() is None


@posix
def test_forked_children_hold_nothing(folder: Path) -> None:
    """A child that a test forked and that lives on has a copy of the descriptor: the lock is free all the same."""
    del folder
    lock = MachineLock("mine")
    assert lock.try_take()
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock._fd] if lock._fd is not None else [])
    try:
        lock.release()
        with MachineLock("next") as next_one:
            assert next_one.try_take()
            assert next_one.held
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
