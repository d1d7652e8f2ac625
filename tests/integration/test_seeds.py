"""A random test that failed can be repeated from what the run printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
_OTHERS = (
    "flperf",
    "cacheprovider",
    "asyncio",
    "anyio",
    "benchmark",
    "html",
    "randomly",
    "random_order",
    "rerunfailures",
)
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
    for name in ("conftest.py", "few_plugins.py"):
        (pytester.path / name).write_text((_TESTS / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in _OTHERS))
    return pytester


def seeds(result: pytest.RunResult) -> list[str]:
    """The seeds that a run printed."""
    return re.findall(r"--hypothesis-seed=(\d+)", result.stdout.str())


@pytest.mark.parametrize("options", [["-q"], ["-n", "1"]])
def test_the_seed_is_printed_and_repeats(random_tests: pytest.Pytester, options: list[str]) -> None:
    """With a failure, with -q and with workers; the same draws come again with it."""
    random_tests.makepyfile(_RANDOM.format(holds="False"))
    first = random_tests.runpytest_subprocess(*options)
    first.assert_outcomes(failed=1)
    (seed,) = set(seeds(first))
    again = random_tests.runpytest_subprocess(*options, f"--hypothesis-seed={seed}")
    drawn = [[line for line in run.outlines if line.startswith("drew ")] for run in (first, again)]
    assert drawn[0]
    assert drawn[0] == drawn[1]
    assert set(seeds(again)) == {seed}


def test_a_green_run_says_it_first(random_tests: pytest.Pytester) -> None:
    """Once, in the header."""
    random_tests.makepyfile(_RANDOM.format(holds="True"))
    assert len(seeds(random_tests.runpytest_subprocess())) == 1
