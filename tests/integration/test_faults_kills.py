"""Processes that are killed, hang or are interrupted, on the real Foundry Local runtime."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest
from fault_doubles import HOST, LOAD, PytestRun, until, write_suite

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer
from pytest_flperf.session.recovery import recover

LONG = {"name": "long", "iterations": 2_000, "max_tokens": 40}
AFTER = {"name": "after"}
NANO = "--flperf-model=flperf-nano"

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"), pytest.mark.slow]


def test_a_host_that_is_killed_fails_its_case_only(tmp_path: Path) -> None:
    """The case fails with its outcome and the host's log; a new host serves the next case."""
    write_suite(tmp_path, LONG, AFTER)
    with PytestRun(tmp_path, NANO) as run:
        run.wait_measured("long", 5)
        run.child(HOST).kill()
        assert run.end() == 1
        assert run.outcomes() == {"long": "failed", "after": "passed"}
        failed = run.case("long")
        assert {"connection_lost", "connect_refused"} & failed["requests"]["by_outcome"].keys()
        assert failed["requests"]["total"] < 2_000
        assert "was ended by SIGKILL" in failed["message"]
        assert "Last lines of its log" in failed["message"]
        assert "Traceback" not in run.output


def test_a_host_that_hangs_ends_in_time(tmp_path: Path) -> None:
    """Requests run into their deadline, the rest is not sent, the next case has a new host."""
    write_suite(tmp_path, LONG, AFTER)
    with PytestRun(tmp_path, NANO, "--flperf-timeout=5") as run:
        run.wait_measured("long", 5)
        run.child(HOST).send_signal(signal.SIGSTOP)
        assert run.end() == 1
        assert run.outcomes() == {"long": "failed", "after": "passed"}
        failed = run.case("long")
        assert failed["requests"]["by_outcome"]["total_timeout"] >= 3
        assert "in a row" in failed["message"]


def test_a_load_process_that_is_killed_fails_its_case_only(tmp_path: Path) -> None:
    """The case says so, what was measured counts, the next case has a new load process."""
    write_suite(tmp_path, LONG, AFTER)
    with PytestRun(tmp_path, NANO) as run:
        run.wait_measured("long", 5)
        run.child(LOAD).kill()
        assert run.end() == 1
        assert run.outcomes() == {"long": "failed", "after": "passed"}
        assert run.case("long")["requests"]["ok"] >= 5
        assert "the load process ended" in run.case("long")["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_measured(tmp_path: Path, number: signal.Signals) -> None:
    """Exit 2, INTERRUPTED, the partial case in table, results, journal and samples; no process is left."""
    write_suite(tmp_path, {"name": "before"}, LONG, AFTER)
    with PytestRun(tmp_path, NANO) as run:
        run.wait_measured("long", 5)
        run.signal(number)
        assert run.end() == 2
        assert "(INTERRUPTED)" in run.output
        assert run.results["run"]["status"] == "interrupted"
        assert run.outcomes() == {"before": "passed", "long": "error"}
        partial = run.case("long")
        assert partial["requests"]["ok"] >= 5
        assert partial["message"].startswith("INTERRUPTED after")
        journal, samples = run.records("journal.jsonl"), run.records("samples.jsonl")
        assert len(journal) == len(samples)
        measured = [record for record in journal if record["phase"] == "measured" and "::long[" in record["nodeid"]]
        assert sum(record["ending"] != "cancelled" for record in measured) == partial["requests"]["total"]
        assert partial["requests"]["by_outcome"].get("cancelled", 0) <= 1
        assert partial["requests"]["failed"] == 0, "what we ended ourselves is no fault of the server"
        assert not any(path.name.startswith("flperf") for path in run.temp.iterdir())


def test_an_interrupt_in_turns_keeps_both_sides(tmp_path: Path) -> None:
    """The comparison as of the last look is in table and results, the samples of both sides are on disk."""
    write_suite(tmp_path, LONG, AFTER)
    with PytestRun(tmp_path, NANO, "--flperf-against=same", "--flperf-max-iterations=100000") as run:
        run.wait_measured("long", 60)
        run.signal(signal.SIGINT)
        assert run.end() == 2
        assert "compared with same" in run.output
        partial = run.case("long")
        assert partial["message"].startswith("INTERRUPTED after")
        assert " of " not in partial["message"], "nobody knows how many there would have been"
        (against,) = partial["against"]
        assert against["pairs"] >= 12
        assert {each["metric"] for each in against["comparisons"]} >= {"ttft_ms", "tpot_ms"}
        sides = {record["nodeid"] for record in run.records("samples.jsonl") if record["phase"] == "measured"}
        assert len([each for each in sides if "::long[" in each]) == 2


def test_an_interrupt_reaches_the_table_through_xdist(tmp_path: Path) -> None:
    """Ctrl-C goes to controller and worker: the case that the worker was measuring is in table and results."""
    write_suite(tmp_path, {"name": "before"}, LONG, AFTER)
    with PytestRun(tmp_path, NANO, "-n1") as run:
        run.wait_measured("long", 5)
        run.signal_group(signal.SIGINT)
        assert run.end() == 2
        assert "(INTERRUPTED)" in run.output
        assert run.outcomes() == {"before": "passed", "long": "error"}
        assert run.case("long")["requests"]["ok"] >= 5
        assert run.case("long")["message"].startswith("INTERRUPTED after")


def test_an_interrupt_before_anything_is_measured(tmp_path: Path) -> None:
    """Ctrl-C while the runtime starts: exit 2 and no process is left."""
    write_suite(tmp_path, LONG)
    with PytestRun(tmp_path, NANO) as run:
        run.child(HOST)
        run.signal(signal.SIGINT)
        assert run.end() == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_a_model_is_made_ready(tmp_path: Path, number: signal.Signals) -> None:
    """Marked INTERRUPTED in table and results, with the case that was under way and no other."""
    write_suite(tmp_path, LONG, AFTER)
    silent = ReferenceConfig(fault=Fault(FaultKind.HANG_BEFORE_HEADERS))
    with ReferenceServer(silent, in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        with PytestRun(tmp_path, *at) as run:
            until(lambda: server.log, "the verifying request")
            run.signal(number)
            assert run.end() == 2
            assert "(INTERRUPTED)" in run.output
            assert "results: reports" in run.output
            assert run.results["run"]["status"] == "interrupted"
            assert run.outcomes() == {"long": "error"}
            assert run.case("long")["message"] == "INTERRUPTED while its model was made ready"


def test_a_kill_leaves_no_orphan_and_a_readable_journal(tmp_path: Path) -> None:
    """SIGKILL of pytest: host and load process end by themselves; the next run starts clean."""
    write_suite(tmp_path, LONG)
    with PytestRun(tmp_path, NANO) as run:
        children: list[psutil.Process] = [run.child(HOST), run.child(LOAD)]
        run.wait_measured("long", 5)
        run.signal(signal.SIGKILL)
        run.process.wait()
        until(lambda: not any(_lives(child) for child in children), "the end of host and load process")
        assert run.measured("long") >= 5
        (folder,) = (tmp_path / "reports").iterdir()
        (recovered,) = recover(folder).cases
        assert recovered.requests.total == run.measured("long")
        assert recovered.message.startswith("INTERRUPTED after")
    write_suite(tmp_path, AFTER)
    with PytestRun(tmp_path, NANO) as run:
        assert run.end() == 0
        assert not any(path.name.startswith("flperf") for path in run.temp.iterdir())


def test_stopping_at_the_first_failure_ends_every_process(tmp_path: Path) -> None:
    """``-x``: exit 1, the rest is not run, nothing is left."""
    write_suite(tmp_path, {"name": "bad", "budgets": ["ttft_ms.p50 <= 0"]}, AFTER)
    with PytestRun(tmp_path, NANO, "-x") as run:
        run.child(HOST)
        assert run.end() == 1
        assert run.outcomes() == {"bad": "failed"}


def test_a_report_folder_that_is_a_file(tmp_path: Path) -> None:
    """The run goes on, one line says that nothing is written, the exit status is the verdict's."""
    write_suite(tmp_path, AFTER)
    (tmp_path / "reports").write_text("in the way", encoding="utf-8")
    with PytestRun(tmp_path, NANO) as run:
        assert run.end() == 0
        assert run.output.count("nothing was written") == 1
        assert "PASSED" in run.output


def test_a_report_folder_that_vanishes(tmp_path: Path) -> None:
    """The run goes on and says what is not written."""
    import shutil

    write_suite(tmp_path, {**LONG, "iterations": 400}, AFTER)
    with PytestRun(tmp_path, NANO) as run:
        run.wait_measured("long", 5)
        shutil.rmtree(tmp_path / "reports")
        assert run.end() == 0
        assert "results.json was not written" in run.output
        assert "Traceback" not in run.output


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
