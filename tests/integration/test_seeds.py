"""A random test that failed can be repeated from what the run printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text(encoding="utf-8")
_RANDOM = """
from hypothesis import given, strategies as st
@given(st.lists(st.integers(0, 10**9), min_size=3))
def test_random(numbers):
    print("drew", numbers)
    assert {holds}
"""


@pytest.fixture
def random_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with our conftest, in which pytest runs without options of ours."""
    pytester.makeconftest(_CONFTEST)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:cacheprovider -p no:flperf -p no:randomly -p no:asyncio")
    return pytester


def seeds(result: pytest.RunResult) -> list[str]:
    """The seeds that a run printed."""
    return re.findall(r"--hypothesis-seed=(\d+)", result.stdout.str())


@pytest.mark.parametrize("options", [["-q"], [], ["-n", "1"]])
def test_the_seed_is_printed_and_repeats(random_tests: pytest.Pytester, options: list[str]) -> None:
    """With a failure, with and without -q and with workers; the same draws come again with it."""
    random_tests.makepyfile(_RANDOM.format(holds="False"))
    first = random_tests.runpytest_subprocess(*options)
    first.assert_outcomes(failed=1)
    assert len(seeds(first)) == (1 if "-q" in options else 2)
    (seed,) = set(seeds(first))
    again, other = (random_tests.runpytest_subprocess(*options, f"--hypothesis-seed={each}") for each in (seed, "1"))
    drawn = [[line for line in run.outlines if line.startswith("drew ")] for run in (first, again, other)]
    assert drawn[0]
    assert drawn[0] == drawn[1]
    assert set(seeds(other)) == {"1"}


def test_a_green_run_says_it_first(random_tests: pytest.Pytester) -> None:
    """Once, in the header; another run has another seed."""
    random_tests.makepyfile(_RANDOM.format(holds="True"))
    (one,), (two,) = (seeds(random_tests.runpytest_subprocess()) for _ in range(2))
    assert one != two
