"""``--flperf-max-time`` stops cleanly and marks the run partial."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from fault_doubles import PytestRun, write_suite
from plugin_compat import WORKERS, OtherRun, enough_s, invite
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.results.records import load_schema

ENDLESS = {"name": "endless", "iterations": 1_000_000, "think_time_s": 0.02}
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.mark.parametrize("workers", WORKERS)
def test_partial(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """What was measured counts, the case under way is cut short, the others are not begun; all of it is said."""
    tiny.suite({"name": "before"})
    options = ("--flperf-suite=tiny.json", *tiny.at, "-rs")
    limit_s = enough_s(lambda: tiny.run(*workers, *options))
    tiny.suite({"name": "before"}, ENDLESS, {"name": "after"}, {"name": "later"})
    begun = time.monotonic()
    done = tiny.run(*workers, *options, f"--flperf-max-time={limit_s}s")
    assert limit_s / 2 <= time.monotonic() - begun < 3 * limit_s + 300
    assert done.ret == 0, done.text
    assert "1 passed, 3 skipped" in done.counts
    before, endless, after, later = done.cases
    assert [case["outcome"] for case in done.cases] == ["passed", "skipped", "skipped", "skipped"]
    assert [case["partial"] for case in done.cases] == [False, True, True, True]
    count = endless["requests"]["total"]
    assert 1 <= count < 1_000_000
    over = f"--flperf-max-time={limit_s}s is over"
    cut = f"cut short after {count} of 1000000 requests: {over}; every budget is met so far"
    assert endless["message"] == cut
    assert endless["metrics"]["ttft_ms"]["n"] == endless["requests"]["ok"] == count
    not_run = f"not measured: {over}"
    assert after["message"] == later["message"] == not_run
    assert before["requests"]["ok"] == 1
    run = done.results["run"]
    assert (run["partial"], run["status"]) == (True, "passed")
    assert any("flperf (PARTIAL)" in line for line in done.lines)
    assert "flperf: PARTIAL, PASSED as far as measured: 1 passed, 3 skipped" in done.lines
    assert "flperf: PASSED" not in done.text
    assert f"endless: {cut}" in done.lines
    assert f"2 of 4 cases {not_run}" in done.lines
    assert sum("not run" in line for line in done.lines) == 2
    assert sum(line.startswith("SKIPPED ") for line in done.lines) >= 2
    jsonschema.validate(done.results, load_schema())
    measured = [line for line in done.journal() if line["phase"] == "measured"]
    assert len(measured) == 1 + count
    assert {line["ending"] for line in measured} == {"complete"}


def test_a_whole_run_is_not_partial(tiny: Tiny) -> None:
    """Where the time was enough nothing is marked."""
    done = tiny.measure("--flperf-max-time=1h30m")
    assert done.ret == 0, done.text
    assert done.results["run"]["partial"] is False
    assert done.case["partial"] is False
    assert "PARTIAL" not in done.text


@pytest.mark.parametrize("more", ["-q", "-v"])
def test_the_mark_at_every_verbosity(tiny: Tiny, more: str) -> None:
    """The verdict never says PASSED without PARTIAL; ``-v`` gives each case's reason."""
    limit_s = enough_s(tiny.measure)
    tiny.suite(ENDLESS, {"name": "after"})
    done = tiny.measure(f"--flperf-max-time={limit_s}s", more)
    assert done.ret == 0, done.text
    (verdict,) = [line for line in done.lines if line.startswith("flperf: PARTIAL, PASSED as far as measured")]
    assert verdict.endswith("2 skipped")
    if more == "-v":
        assert f"SKIPPED (not measured: --flperf-max-time={limit_s}s is over)" in done.text


def test_a_missed_budget_stays_missed(tiny: Tiny) -> None:
    """A case that is cut short is judged by what was measured: exit 1 where that misses a budget."""
    limit_s = enough_s(tiny.measure)
    tiny.suite(ENDLESS, {"name": "after"})
    done = tiny.measure(f"--flperf-max-time={limit_s}s", "--flperf-budget=ttft_ms.max <= 0.001")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert [case["outcome"] for case in done.cases] == ["failed", "skipped"]
    assert done.cases[0]["partial"]
    assert done.cases[0]["notes"][0].startswith("cut short after ")
    assert "note: cut short after" in done.text
    assert "flperf: PARTIAL, FAILED: 1 failed, 1 skipped" in done.lines
    assert done.results["run"]["partial"]


@pytest.mark.parametrize("workers", WORKERS)
def test_nothing_measured_is_no_pass(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """Where the time was over before the first request every case is an error, and nothing was sent."""
    tiny.suite({"name": "a"}, {"name": "b"})
    with RecordingServer() as server:
        done = tiny.run(*workers, "--flperf-suite=tiny.json", *server.at, "--flperf-max-time=1ms")
        assert not server.bodies
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "2 errors" in done.counts
    for case in done.cases:
        assert case["outcome"] == "error"
        assert case["message"] == "not measured: --flperf-max-time=1ms is over, and nothing was measured before"
    assert done.results["run"]["status"] == "not_measured"
    assert done.results["run"]["partial"]


def test_time_that_ends_in_the_warm_up(tiny: Tiny) -> None:
    """Only warm-up requests: nothing was measured, so no pass."""
    limit_s = enough_s(tiny.measure)
    tiny.suite({"warmup": 100_000})
    done = tiny.measure(f"--flperf-max-time={limit_s}s")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["requests"]["total"] == 0
    assert done.case["requests"]["warmup"] > 0
    assert done.case["message"].startswith("not measured: ")


@pytest.mark.parametrize("check", [True, False])
def test_tests_with_the_fixture(tiny: Tiny, check: bool) -> None:
    """A test whose measurement is cut short is skipped, the next one too; tests that measure nothing run."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        def test_long(flperf):
            flperf.run(prompt="Hi", iterations=1_000_000, max_tokens=2, check={check})
            raise AssertionError("not reached")
        def test_next(flperf):
            flperf.run(prompt="Hi", iterations=1)
            raise AssertionError("not reached")
        def test_other():
            pass
        """
    )
    limit_s = enough_s(lambda: tiny.run(*tiny.at, "-k", "test_next"))
    done = tiny.run(*tiny.at, f"--flperf-max-time={limit_s}s")
    assert done.ret == 0, done.text
    assert "1 passed, 2 skipped" in done.counts
    assert [case["outcome"] for case in done.cases] == ["skipped", "skipped"]
    assert all(case["partial"] for case in done.cases)
    assert done.results["run"]["partial"]


def test_ini_twin(tiny: Tiny) -> None:
    """The limit can stand in the ini file; the command line wins."""
    tiny.pytester.makeini("[pytest]\nflperf_max_time = 1ms")
    assert tiny.measure().ret == pytest.ExitCode.TESTS_FAILED
    assert tiny.measure("--flperf-max-time=5m").ret == 0


def test_it_bounds_the_wait_for_another_run(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time spent waiting for the lock counts."""
    monkeypatch.setenv("FLPERF_LOCK_DIR", str(tmp_path / "lock"))
    with OtherRun():
        begun = time.monotonic()
        done = tiny.measure("--flperf-max-time=1s")
        assert time.monotonic() - begun < 60
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "--flperf-max-time=1s is over" in done.case["message"]


def test_a_rerun_without_time_hides_no_failure(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that failed and can't be run again in time stays no pass."""
    invite(monkeypatch, "rerunfailures")
    tiny.suite({"name": "good"})
    options = ("--flperf-suite=tiny.json", *tiny.at, "--reruns=1")
    limit_s = enough_s(lambda: tiny.run(*options))
    tiny.suite({"name": "good"}, {**ENDLESS, "budgets": ["ttft_ms.max <= 0.001"]})
    done = tiny.run(*options, f"--flperf-max-time={limit_s}s")
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    good, endless = done.cases
    assert good["outcome"] == "passed"
    assert endless["outcome"] == "error"
    assert endless["message"].endswith("and its earlier try did not pass")
    assert any(note.startswith("an earlier try: failed") for note in endless["notes"])


@posix
def test_on_the_real_runtime(tmp_path: Path) -> None:
    """The model is let go of and no process is left; a model that would come next is not loaded."""
    write_suite(tmp_path, {"name": "one"})

    def once() -> None:
        with PytestRun(tmp_path, "--flperf-model=flperf-nano") as run:
            assert run.end() == 0

    limit_s = enough_s(once)
    write_suite(tmp_path, {**ENDLESS, "max_tokens": 40}, {"name": "after"})
    with PytestRun(tmp_path, "--flperf-model=flperf-nano,flperf-micro", f"--flperf-max-time={limit_s}s") as run:
        assert run.end() == 0
        cold = {record["nodeid"] for record in run.records("journal.jsonl") if record["phase"] == "cold"}
        assert cold == {"robust.json::endless[flperf-nano]"}
        cases = run.results["cases"]
        assert [case["outcome"] for case in cases] == ["skipped"] * 4
        assert cases[0]["requests"]["ok"] > 5
        assert run.results["run"]["partial"]
        assert "INTERRUPTED" not in run.output
        assert json.loads((run.report / "results.json").read_text())["run"]["finished_at"]


@pytest.mark.parametrize(
    "value",
    ["0", "0s", "-1", "soon", "nan", "inf", "1e3", "31d", "1m1h", "5 5", "30m1h", "", " ", "9" * 300, "٣", "1y"],
)
def test_wrong_times(tiny: Tiny, value: str) -> None:
    """What is no time is refused, with what is one."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-max-time={value}")
    assert "--flperf-max-time: found" in message
    assert "expected" in message
    assert len(message) < 250


def test_wrong_time_without_a_suite(tiny: Tiny) -> None:
    """The option is checked also where no suite runs."""
    assert "--flperf-max-time" in tiny.refused("--flperf-max-time=soon")
