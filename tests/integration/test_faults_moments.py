"""Signals at random moments: nothing that was measured is lost, nobody is left behind, the next run is clean."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fault_doubles import HOST, LOAD, PytestRun, until, write_suite

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import Run
from pytest_flperf.session.recovery import RecoveryError, recover

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"), pytest.mark.slow]

SCENARIOS = [{"name": name, "iterations": 60, "max_tokens": 8} for name in ("one", "two", "three")]
MOMENTS = range(int(os.environ.get("FLPERF_TEST_MOMENTS", "3")))
"""Each is a run of its own; before a release a few hundred are worth their time."""
LATEST_S = 2.0
"""Moments are drawn from the time in which a run loads, measures and ends; before it there is no plugin of ours."""
HAND_OVER_NS = 100_000_000
"""What ended so shortly before a process was killed may not have reached the disk."""


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A server that knows which requests it answered."""
    schedule = Schedule(ttft_ms=3, itl_ms=0.5, tokens=8)
    with ReferenceServer(ReferenceConfig(schedule=schedule), in_thread=True) as running:
        yield running


def strike(run: PytestRun, whom: str, number: signal.Signals, moment_s: float) -> int:
    """Send the signal at that moment, if there is still somebody to get it; when, on the monotonic clock."""
    until(lambda: "test session starts" in run.output or run.process.poll() is not None, "the session's start")
    time.sleep(moment_s)
    if run.process.poll() is None:
        if whom == "pytest":
            run.signal(number)
        else:
            for process in run.children_of(whom):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
    return time.monotonic_ns()


def recovered(run: PytestRun) -> Run | None:
    """The run from its folder; None where it was ended before it had one."""
    folders = [path for path in (run.folder / "reports").glob("*-robust-*") if not path.is_symlink()]
    if not folders:
        return None
    try:
        return recover(folders[0])
    except RecoveryError:
        assert not run.records("journal.jsonl"), "requests without a run"
        return None


def check_files(run: PytestRun) -> None:
    """Every line of the journal counts in the recovered results, and has its sample."""
    found = recovered(run)
    if found is None:
        return
    measured = [line for line in run.records("journal.jsonl") if line["phase"] == "measured"]
    ended = [line for line in measured if line["ending"] != "cancelled"]
    assert sum(case.requests.total for case in found.cases) == len(ended)
    samples = {(line["nodeid"], line["started_ns"]) for line in run.records("samples.jsonl")}
    assert {(line["nodeid"], line["started_ns"]) for line in measured} <= samples


@pytest.mark.parametrize("seed", MOMENTS)
def test_on_the_real_runtime(tmp_path: Path, seed: int) -> None:
    """Pytest, its load process or the host gets a signal: what was measured is there, and no process is left."""
    draw = random.Random(seed)
    whom = draw.choice(["pytest", "pytest", LOAD, HOST])
    number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    write_suite(tmp_path, *SCENARIOS)
    with PytestRun(tmp_path, "--flperf-model=flperf-nano") as run:
        strike(run, whom, number, draw.uniform(0, LATEST_S))
        status = run.end_somehow()
        # A signal after pytest's own end, or before its beginning, gets Python's words; but never a trace into us.
        assert "pytest_flperf/" not in run.output.partition("Traceback")[2], run.output
        assert "INTERNALERROR" not in run.output
        if whom != "pytest":
            assert status in (0, 1), run.output
        check_files(run)
    if seed % 5 == 0:
        with PytestRun(tmp_path, "--flperf-model=flperf-nano", "-k", "one") as run:
            assert run.end() == 0, run.output


@pytest.mark.parametrize("seed", MOMENTS)
def test_against_a_server_that_knows(tmp_path: Path, server: ReferenceServer, seed: int) -> None:
    """What the server had answered when the signal came is on disk."""
    draw = random.Random(1000 + seed)
    number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    write_suite(tmp_path, *SCENARIOS)
    before = len(server.log)
    with PytestRun(tmp_path, f"--flperf-base-url={server.base_url}", "--flperf-model=reference") as run:
        struck_ns = strike(run, "pytest", number, draw.uniform(0, LATEST_S))
        run.end_somehow()
        complete = [entry.ended_ns for entry in list(server.log)[before:] if entry.ended == "complete"]
        answered = [ended_ns for ended_ns in complete if ended_ns < struck_ns - HAND_OVER_NS]
        assert len(run.records("journal.jsonl")) >= len(answered)
        check_files(run)
