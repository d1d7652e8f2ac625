"""``--flperf-budget`` with ``run.…``: a test of its own, everywhere where pytest tells of tests."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.integration.run_budgets import RUN_NODEID

MET, MISSED = "--flperf-budget=run.wall_s <= 15min", "--flperf-budget=run.cases_failed <= -0"
TOO_LONG = "--flperf-budget=run.wall_s <= 0"
WAYS = pytest.mark.parametrize("way", [(), ("-n1",)], ids=["plain", "n1"])


def counted(done: Done) -> str:
    """The counts of pytest's last line."""
    return done.counts.strip("= ").partition(" in ")[0]


@WAYS
def test_met(tiny: Tiny, way: tuple[str, ...]) -> None:
    """Passed as a test, exit 0, in results and summary; the budgets of the cases don't hold it."""
    done = tiny.measure(MET, MISSED, *way)
    assert done.ret == 0, done.text
    assert counted(done) == "2 passed"
    assert [each["met"] for each in done.results["run"]["budgets"]] == [True, True]
    assert [each["metric"] for each in done.case["budgets"]] == ["error_rate"]
    assert "run: budget run.wall_s <= 15min: met (" in done.text


@pytest.mark.parametrize(
    "more", [(), ("-n1",), ("-x",), ("--maxfail=1",), ("-p", "no:cacheprovider"), ("-q",), ("-v",)], ids=" ".join
)
def test_missed(tiny: Tiny, more: tuple[str, ...]) -> None:
    """Exit 1, a FAILED line with limit and value, run status failed, though every case passed."""
    done = tiny.measure(TOO_LONG, *more)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert any(line.startswith(f"FAILED {RUN_NODEID} - the run missed run.wall_s <= 0 (") for line in done.lines)
    assert counted(done) == "1 failed, 1 passed"
    assert done.case["outcome"] == "passed"
    assert done.results["run"]["status"] == "failed"
    assert "1 of the run's 1 budgets missed" in done.text
    assert "200%" not in done.text


def test_after_a_failure_that_ends_the_run(tiny: Tiny) -> None:
    """``-x``: what was measured by then is judged."""
    tiny.suite({"budgets": ["ttft_ms.p50 <= 0"]}, {"name": "two"})
    done = tiny.measure("--flperf-budget=run.cases_failed <= 0", "-x")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert counted(done) == "2 failed"
    (verdict,) = done.results["run"]["budgets"]
    assert (verdict["value"], verdict["n"]) == (1, 1)


def test_junit(tiny: Tiny) -> None:
    """A testcase of its own, with the text of the verdict."""
    done = tiny.measure(TOO_LONG, "--junitxml=junit.xml")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    tests = {test.get("name"): test for test in ET.parse(tiny.folder / "junit.xml").iter("testcase")}
    assert set(tests) == {"one[reference]", "run-budgets"}
    failure = tests["run-budgets"].find("failure")
    assert failure is not None
    assert "MISSED  run.wall_s <= 0" in str(failure.text)


def test_nobody_remembers_it(tiny: Tiny) -> None:
    """``--lf`` after a missed run budget finds nothing that failed, and runs all."""
    assert tiny.measure(TOO_LONG).ret == pytest.ExitCode.TESTS_FAILED
    again = tiny.measure("--lf")
    assert again.ret == 0
    assert "no previously failed tests" in again.text


def test_nothing_to_judge(tiny: Tiny) -> None:
    """Collecting only, and a selection of nothing: no such test."""
    for arguments, status in ((("--co",), 0), (("-k", "nosuch"), pytest.ExitCode.NO_TESTS_COLLECTED)):
        done = tiny.measure(TOO_LONG, *arguments)
        assert done.ret == status, done.text
        assert RUN_NODEID not in done.text


def test_without_a_terminal(tiny: Tiny) -> None:
    """``-p no:terminal``: the exit status is the same."""
    assert tiny.measure(TOO_LONG, "-p", "no:terminal").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("run.eror_rate <= 1%", "did you mean run.error_rate?"),
        ("run.wall_s <= 5 parsecs", "unit 'parsecs' doesn't fit run.wall_s"),
    ],
)
def test_refused(tiny: Tiny, budget: str, words: str) -> None:
    """A run budget that can't be read ends the run before it begins."""
    tiny.suite()
    assert words in tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-budget={budget}")


def test_not_in_a_suite(tiny: Tiny) -> None:
    """A suite's cases have no run: the message says where such a budget goes."""
    tiny.suite({"budgets": ["run.wall_s <= 5"]})
    assert "give it with --flperf-budget" in tiny.refused("--flperf-suite=tiny.json", *tiny.at)


def test_own_tests(tiny: Tiny) -> None:
    """They hold for tests that measure by the fixture, and are silent where no test does."""
    tiny.pytester.makepyfile("def test_it(flperf):\n    flperf.run('Hi', iterations=1, warmup=0, max_tokens=2)\n")
    done = tiny.run(*tiny.at, TOO_LONG)
    assert counted(done) == "1 failed, 1 passed"
    tiny.pytester.makepyfile("def test_it():\n    pass\n")
    assert counted(tiny.run(*tiny.at, TOO_LONG)) == "1 passed"
