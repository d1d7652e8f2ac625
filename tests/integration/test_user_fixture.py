"""The ``flperf`` fixture in tests of one's own."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

RUN = "flperf.run(prompt='Hi', iterations=2, warmup=0, max_tokens=2"


def test_without_options(tiny: Tiny) -> None:
    """No option at all: an embedded model on the real runtime."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        def test_me(flperf):
            result = {RUN})
            assert result.ttft_ms.p50 < 60_000
            assert result.error_rate == 0
            assert result.passed
        """
    )
    done = tiny.run()
    assert done.ret == 0, done.text
    assert done.case["nodeid"] == "test_mine.py::test_me"
    assert done.case["target"]["backend"] != "openai"
    assert any("flperf: PASSED: 1 passed" in line for line in done.lines)


def test_several_runs(tiny: Tiny) -> None:
    """Each run is a row of its own, in the table and in the results."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN})\n    {RUN}, concurrency=2)")
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text
    assert [case["nodeid"] for case in done.cases] == ["test_mine.py::test_me", "test_mine.py::test_me #2"]
    assert sum(line.startswith("reference ") for line in done.lines) == 2


def test_missed_budget(tiny: Tiny) -> None:
    """A missed budget fails the test at once, unless the test wants to judge itself."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        def test_strict(flperf):
            {RUN}, budgets=["ttft_ms.max <= 0.001"])
            raise AssertionError("not reached")
        def test_lenient(flperf):
            result = {RUN}, budgets=["ttft_ms.max <= 0.001"], check=False)
            assert not result.passed
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed" in done.lines[-1]
    assert "not reached" not in done.text
    assert "ttft_ms.max" in done.text
    assert [case["outcome"] for case in done.cases] == ["failed", "failed"]


def test_failing_assert(tiny: Tiny) -> None:
    """Where the test's own assert fails, its cases have failed with it."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    result = {RUN})\n    assert result.ttft_ms.p50 < 0")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "failed"
    assert done.case["message"].startswith("AssertionError: assert ")


def test_marker(tiny: Tiny) -> None:
    """The marker chooses model, suite and scenario."""
    tiny.suite({"name": "greet", "iterations": 3})
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        @pytest.mark.flperf(model="reference", suite="tiny.json", scenario="greet")
        def test_me(flperf):
            assert flperf.model == "reference"
            assert flperf.run(iterations=2).case.requests.ok == 2
        """
    )
    done = tiny.run(tiny.at[0], "--strict-markers")
    assert done.ret == 0, done.text
    assert done.case["requests"]["ok"] == 2
    assert done.case["model"] == "reference"


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("modle='x'", "modle"),
        ("'x'", "'x'"),
        ("suite='quik'", "quick"),
        ("suite='quick', scenario='one-wrod'", "one-word"),
    ],
)
def test_wrong_marker(tiny: Tiny, marker: str, words: str) -> None:
    """Arguments that nobody reads are refused by name; so are unknown suites and scenarios, with the nearest."""
    tiny.pytester.makepyfile(
        test_mine=f"import pytest\n@pytest.mark.flperf({marker})\ndef test_me(flperf): pass\ndef test_you(): pass"
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert words in done.text
    assert "1 passed, 1 error" in done.lines[-1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [("iteration=3", "iterations"), ("iterations=-1", "iterations"), ("budgets=['ttft <= 3']", "ttft_ms")],
)
def test_wrong_setting(tiny: Tiny, settings: str, words: str) -> None:
    """A setting that no scenario can have fails the test with the nearest key."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    flperf.run(prompt='x', {settings})")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert words in done.text
    assert "suite/loading.py" not in done.text


def test_nothing_measured(tiny: Tiny) -> None:
    """A metric without a value can't be compared: the test fails; a metric that is none names the nearest."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import pytest
        def test_me(flperf):
            result = {RUN}, stream=False)
            with pytest.raises(AssertionError, match="no value of ttft_ms"):
                result.ttft_ms
            with pytest.raises(AttributeError, match="e2e_ms"):
                result.e2e_m
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text


def test_not_ready(tiny: Tiny) -> None:
    """A model that isn't there fails the test with the reason, and the case is an error."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN}, model='nope', check=False)")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "error"
    assert "404" in done.text
    assert "The above exception" not in done.text
