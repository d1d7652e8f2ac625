"""Two runs don't measure at once: the machine's lock and ``--flperf-lock-timeout``."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from fault_doubles import PytestRun, until, write_suite
from plugin_compat import WORKERS, OtherRun
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.measurement.machine_lock import LOCK_NAME
from pytest_flperf.session import machine_lock as locking

NANO = "--flperf-model=flperf-nano"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock that no other test has touched."""
    monkeypatch.setenv("FLPERF_LOCK_DIR", str(tmp_path / "lock"))
    return tmp_path / "lock" / LOCK_NAME


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("more", [(), ("-q",)])
def test_a_second_run_waits(tiny: Tiny, lock_file: Path, workers: tuple[str, ...], more: tuple[str, ...]) -> None:
    """It says for whom, sends nothing meanwhile, and measures when the other has ended, killed or not."""
    del lock_file
    tiny.suite()
    tiny.pytester.makeconftest(
        "import pathlib\ndef pytest_runtest_setup(): pathlib.Path(__file__).with_name('begun').touch()"
    )
    asked: list[int] = []
    with OtherRun() as other, RecordingServer() as server:

        def end() -> None:
            until((tiny.folder / "begun").exists, "the first case")
            time.sleep(0.5)
            asked.append(len(server.bodies))
            other.end()

        thread = threading.Thread(target=end)
        thread.start()
        run = tiny.run_apart if workers else tiny.run  # what workers say while they wait goes past sys.stderr
        done = run(*workers, "--flperf-suite=tiny.json", *server.at, *more)
        thread.join()
        assert done.ret == 0, done.text
        assert asked == [0], done.text
        assert len(server.bodies) == 2
        (waiting,) = [line for line in done.lines if "flperf: waiting" in line]
        assert f"pid {other.pid} has been measuring on this machine since " in waiting
        assert "(the other run)" in waiting
        assert "up to 10 min (--flperf-lock-timeout)" in waiting
        assert sum("flperf: waited" in line for line in done.lines) == 1


@posix
def test_nothing_is_started_while_a_run_waits(tmp_path: Path, lock_file: Path) -> None:
    """No runtime is started and no model is loaded beside the measurements of the other run."""
    del lock_file
    write_suite(tmp_path, {"name": "one"})
    with OtherRun() as other, PytestRun(tmp_path, NANO) as run:
        until(lambda: "flperf: waiting" in run.output, "the line that says so")
        time.sleep(0.5)
        assert psutil.Process(run.process.pid).children(recursive=True) == []
        other.end()
        assert run.end() == 0
        assert run.outcomes() == {"one": "passed"}


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_interrupted(tmp_path: Path, lock_file: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the waiting: exit 2, nothing written."""
    del lock_file
    write_suite(tmp_path, {"name": "one"})
    with OtherRun(), PytestRun(tmp_path, NANO) as run:
        until(lambda: "flperf: waiting" in run.output, "the line that says so")
        run.signal(number)
        assert run.end() == 2
        assert "Traceback" not in run.output
        assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("workers", WORKERS)
def test_waiting_has_an_end(tiny: Tiny, lock_file: Path, workers: tuple[str, ...]) -> None:
    """After the time every case is an error of set-up that says who measures; it is waited for once."""
    del lock_file
    tiny.suite({"name": "a"}, {"name": "b"})
    with OtherRun() as other, RecordingServer() as server:
        begun = time.monotonic()
        options = ("--flperf-suite=tiny.json", *server.at, "--flperf-lock-timeout=1s")
        done = tiny.run(*workers, *options)
        assert time.monotonic() - begun < 120
        assert not server.bodies
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "2 errors" in done.text
    assert [case["outcome"] for case in done.cases] == ["error", "error"]
    for case in done.cases:
        assert case["message"].startswith(f"not measured: pid {other.pid} has been measuring on this machine since ")
        assert "waited 1 s; --flperf-lock-timeout" in case["message"]
    assert "not run" in done.text
    assert done.results["run"]["status"] == "not_measured"


def test_not_waiting_at_all(tiny: Tiny, lock_file: Path) -> None:
    """``0`` fails at once; the user's other tests run."""
    del lock_file
    tiny.suite()
    tiny.pytester.makepyfile(
        test_mine="def test_me(flperf):\n    flperf.run(prompt='Hi', iterations=1)\ndef test_you(): pass"
    )
    with OtherRun():
        begun = time.monotonic()
        done = tiny.measure("--flperf-lock-timeout=0", "test_mine.py")
        assert time.monotonic() - begun < 120
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed, 1 error" in done.counts
    assert "flperf: waiting" not in done.text


@pytest.mark.parametrize("how", ["option", "ini"])
def test_the_lock_switched_off(tiny: Tiny, lock_file: Path, how: str) -> None:
    """``none`` measures beside others and leaves their lock alone."""
    before = lock_file.parent.exists()
    if how == "ini":
        tiny.pytester.makeini("[pytest]\nflperf_lock_timeout = none")
    option = ("--flperf-lock-timeout=None",) if how == "option" else ()
    done = tiny.measure(*option)
    assert done.ret == 0, done.text
    assert lock_file.parent.exists() == before
    with OtherRun():
        assert tiny.measure(*option).ret == 0


def test_the_command_line_wins(tiny: Tiny, lock_file: Path) -> None:
    """The option goes before its ini twin."""
    del lock_file
    tiny.pytester.makeini("[pytest]\nflperf_lock_timeout = none")
    with OtherRun():
        assert tiny.measure("--flperf-lock-timeout=0").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "options",
    [
        ("--flperf-suite=tiny.json", "--flperf-model=m", "--co"),
        ("--flperf-suite=tiny.json", "--flperf-model=m", "--setup-plan"),
        ("--flperf-suite=tiny.json", "--flperf-model=m", "--flperf-dry-run"),
        ("--flperf-suite=tiny.json", "--flperf-model=m", "-k", "nothing"),
        ("--flperf-list-suites",),
        ("test_mine.py",),
    ],
)
def test_what_does_not_measure_does_not_wait(tiny: Tiny, lock_file: Path, options: tuple[str, ...]) -> None:
    """Collecting, listing and sessions without a case neither take the lock nor wait for it."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine="def test_me(): pass")
    tiny.run(*options)
    assert not lock_file.exists()
    with OtherRun():
        done = tiny.run(*options, "--flperf-lock-timeout=0")
    assert done.ret in (0, pytest.ExitCode.NO_TESTS_COLLECTED), done.text
    assert "measures on this machine" not in done.text


def test_let_go_at_the_end(tiny: Tiny, lock_file: Path) -> None:
    """The lock is held while the session measures and is free after it, also where a case failed."""
    tiny.suite({"budgets": ["ttft_ms.max <= 0.001"]})
    for _ in range(2):
        assert tiny.measure("--flperf-lock-timeout=0").ret == pytest.ExitCode.TESTS_FAILED
    assert lock_file.read_bytes() == b""


@posix
def test_a_killed_run_blocks_nobody(tmp_path: Path, lock_file: Path) -> None:
    """SIGKILL in the middle of a case: the next run measures without a second's wait."""
    write_suite(tmp_path, {"name": "long", "iterations": 2_000, "max_tokens": 40})
    with PytestRun(tmp_path, NANO) as run:
        run.wait_measured("long", 5)
        assert f'"pid": {run.process.pid},' in lock_file.read_text()
        run.signal(signal.SIGKILL)
        run.process.wait()
    write_suite(tmp_path, {"name": "after"})
    with PytestRun(tmp_path, NANO, "--flperf-lock-timeout=0") as run:
        assert run.end() == 0


@pytest.mark.parametrize("how", ["tiny.run", "tiny.run_apart"])
def test_a_run_within_a_run(tiny: Tiny, lock_file: Path, how: str) -> None:
    """A test that measures and then runs pytest on a suite does not wait for itself."""
    del lock_file
    tiny.suite()
    inner = ["--flperf-suite=tiny.json", *tiny.at, "--flperf-lock-timeout=0", "-p", "no:cacheprovider"]
    call = {
        "tiny.run": f"assert pytest.main({inner!r}) == 0",
        "tiny.run_apart": f"assert subprocess.run([sys.executable, '-m', 'pytest', *{inner!r}]).returncode == 0",
    }[how]
    tiny.pytester.makepyfile(
        test_mine=f"""
        import subprocess, sys, pytest
        def test_me(flperf):
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
            {call}
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
        """
    )
    done = tiny.run(*tiny.at, "test_mine.py")
    assert done.ret == 0, done.text


def test_workers_of_one_run_take_turns(tiny: Tiny, lock_file: Path) -> None:
    """Tests with the fixture under ``-n2``: no two cases are measured at once, and nobody waits for the other's end."""
    del lock_file
    tiny.pytester.makepyfile(
        test_mine="""
        import pathlib, time, pytest
        @pytest.mark.parametrize("number", range(6))
        def test_me(flperf, worker_id, number):
            flperf.run(prompt="Hi", iterations=20, warmup=0, max_tokens=2)
            here = pathlib.Path(__file__).parent
            (here / worker_id).touch()
            other = here / {"gw0": "gw1", "gw1": "gw0"}[worker_id]
            deadline = time.monotonic() + 60
            while not other.exists():
                assert time.monotonic() < deadline, "the other worker can't measure before this one ends"
                time.sleep(0.02)
        """
    )
    done = tiny.run(*tiny.at, "-n2", "--flperf-lock-timeout=0.5s")
    assert done.ret == 0, done.text
    spans: dict[str, list[int]] = {}
    for line in done.journal():
        spans.setdefault(line["nodeid"], []).extend((line["started_ns"], line["finished_ns"]))
    ordered = sorted((min(moments), max(moments)) for moments in spans.values())
    assert len(ordered) == 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ordered))


def test_a_heartbeat(tiny: Tiny, lock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every so often a line says that it still waits."""
    del lock_file
    monkeypatch.setattr(locking, "_SAY_EVERY_S", 0.4)
    with OtherRun() as other:
        done = tiny.measure("--flperf-lock-timeout=3")
    beats = [line for line in done.lines if line.startswith("flperf: waited") and f"so far: pid {other.pid}" in line]
    assert 2 <= len(beats) <= 8, done.text


def test_no_terminal(tiny: Tiny, lock_file: Path) -> None:
    """With ``-p no:terminal`` nothing is printed, and the waiting is the same."""
    del lock_file
    with OtherRun():
        done = tiny.measure("-p", "no:terminal", "--flperf-lock-timeout=0.3")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "flperf:" not in done.text


def test_no_secret_is_told(tiny: Tiny, lock_file: Path) -> None:
    """What others are told of the command holds no key, and no control character."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import pathlib
        def test_me(flperf):
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
            text = pathlib.Path({str(lock_file)!r}).read_text()
            assert "pytest" in text
            assert "abcdefghijklmnop" not in text
        """
    )
    done = tiny.run(*tiny.at, "-k", "not sk-abcdefghijklmnop")
    assert done.ret == 0, done.text


def test_a_lock_that_cannot_be(tiny: Tiny, lock_file: Path) -> None:
    """Where no lock can be had the run measures, and its results say that it may not have been alone."""
    lock_file.parent.write_text("in the way")
    done = tiny.measure("-v")
    assert done.ret == 0, done.text
    (note,) = [note for note in done.case["notes"] if note.startswith("no lock: ")]
    assert str(lock_file.parent) in note
    assert "note: no lock" in done.text


@pytest.mark.parametrize("value", ["-1", "soon", "nan", "inf", "1e3", "31d", "1m1h", "5 5", "1s1s", "", "9" * 300, "٣"])
def test_wrong_timeouts(tiny: Tiny, value: str) -> None:
    """What is no time is refused, with what is one."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-lock-timeout={value}")
    assert "--flperf-lock-timeout: found" in message
    assert "expected" in message
    assert len(message) < 250


def test_wrong_timeout_in_the_ini_file(tiny: Tiny) -> None:
    """The ini twin is checked as well."""
    tiny.pytester.makeini("[pytest]\nflperf_lock_timeout = soon")
    tiny.suite()
    assert "soon" in tiny.refused("--flperf-suite=tiny.json", *tiny.at)


def test_our_own_tests_wait_for_nobody() -> None:
    """Runs that these tests make have a lock of their own."""
    assert os.environ["FLPERF_LOCK_DIR"]
