"""Lengths in tokens: what is refused, and what is drawn."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.prompts.lengths import Lengths, lengths_of


@pytest.mark.parametrize(
    ("value", "expected", "words"),
    [
        (512, Lengths("fixed", 512, 512), "512"),
        ({"uniform": [100, 200]}, Lengths("uniform", 100, 200), "100–200"),
        ({"uniform": (7, 7)}, Lengths("uniform", 7, 7), "7–7"),
        ({"normal": {"mean": 512, "stdev": 64}}, Lengths("normal", 1, 1_000_000, 512.0, 64.0), "normal 512 ± 64"),
        (
            {"normal": {"mean": 99.5, "stdev": 0.25, "min": 90, "max": 110}},
            Lengths("normal", 90, 110, 99.5, 0.25),
            "normal 99.5 ± 0.25",
        ),
        ({"normal": {"mean": 1e6, "stdev": 0}}, Lengths("normal", 1, 1_000_000, 1e6, 0.0), "normal 1000000 ± 0"),
    ],
)
def test_forms(value: Any, expected: Lengths, words: str) -> None:
    """A number, a range and a normal distribution are understood, and said in a few words."""
    assert lengths_of(value, "k") == expected
    assert expected.words == words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "k: found 0, expected a whole number from 1 to 1,000,000"),
        (-5, "k: found -5"),
        (1_000_001, "k: found 1000001"),
        (10**5000, "k: found a value too large to show (int)"),
        (512.0, "k: found 512.0, expected a whole number from 1 to 1,000,000, {'uniform'"),
        (True, "k: found true"),
        (None, "k: found nothing (null)"),
        ("512", "k: found '512'"),
        ([100, 200], "k: found [100, 200]"),
        ({}, "k: found {}"),
        ({"uniform": [1, 2], "normal": {}}, "k: found {"),
        ({"unifrom": [1, 2]}, "k: found 'unifrom', did you mean 'uniform'?"),
        ({3: [1, 2]}, "k: found 3, expected one of uniform, normal"),
        ({"uniform": 5}, "k.uniform: found 5, expected two whole numbers"),
        ({"uniform": [1, 2, 3]}, "k.uniform: found [1, 2, 3], expected two"),
        ({"uniform": [1, "2"]}, "k.uniform[1]: found '2', expected a whole number"),
        ({"uniform": [0, 2]}, "k.uniform[0]: found 0"),
        ({"uniform": [3, 2]}, "k.uniform: found [3, 2], expected the smaller number first"),
        ({"normal": [512, 64]}, "k.normal: found [512, 64], expected a mapping with mean and stdev"),
        ({"normal": {"mean": 5}}, "k.normal.stdev: missing, expected a number from 0 to 1,000,000"),
        ({"normal": {"stdev": 5}}, "k.normal.mean: missing, expected a number from 1"),
        ({"normal": {"mean": 5, "std": 1}}, "k.normal: found the key 'std', did you mean 'stdev'?"),
        ({"normal": {"mean": 5, "stdev": 1, None: 1}}, "k.normal: found the key nothing (null)"),
        ({"normal": {"mean": math.nan, "stdev": 1}}, "k.normal.mean: found nan"),
        ({"normal": {"mean": 5, "stdev": math.inf}}, "k.normal.stdev: found inf"),
        ({"normal": {"mean": 5, "stdev": -1}}, "k.normal.stdev: found -1"),
        ({"normal": {"mean": 5, "stdev": 1, "min": 1.5}}, "k.normal.min: found 1.5"),
        ({"normal": {"mean": 5, "stdev": 1, "max": None}}, "k.normal.max: found nothing (null)"),
        ({"normal": {"mean": 5, "stdev": 1, "min": 6}}, "k.normal: found the mean 5, expected one from min (6) to max"),
        ({"normal": {"mean": 5, "stdev": 1, "min": 9, "max": 2}}, "k.normal: found the mean 5"),
    ],
    ids=lambda value: ascii(value)[:30] if not isinstance(value, int) else "int",
)
def test_what_is_none(value: Any, expected: str) -> None:
    """Anything else is refused, with its key, what was found and what was expected."""
    with pytest.raises(SuiteError) as caught:
        lengths_of(value, "k")
    assert str(caught.value).startswith(expected)


bounds = st.integers(1, 1_000_000)


@given(bounds, bounds, st.integers())
def test_uniform_stays_in_its_bounds(one: int, other: int, seed: int) -> None:
    """Every length is from low to high."""
    low, high = sorted((one, other))
    lengths = lengths_of({"uniform": [low, high]}, "k")
    assert all(low <= lengths.draw(random.Random(seed + index)) <= high for index in range(20))


@given(st.tuples(bounds, bounds, bounds), st.floats(0, 1_000_000), st.integers())
def test_normal_stays_in_its_bounds(three: tuple[int, int, int], stdev: float, seed: int) -> None:
    """Every length is from low to high, however wide or narrow the distribution; each takes one number."""
    low, mean, high = sorted(three)
    lengths = lengths_of({"normal": {"mean": mean, "stdev": stdev, "min": low, "max": high}}, "k")
    drawn, other = random.Random(seed), random.Random(seed)
    for _ in range(20):
        assert low <= lengths.draw(drawn) <= high
        other.random()
    assert drawn.random() == other.random()


@pytest.mark.parametrize("share", [0.0, 5e-324, 1 - 2**-53])
@pytest.mark.parametrize("stdev", [5e-324, 1e-9, 0.3, 64, 1e6])
def test_ends_of_the_generator(share: float, stdev: float) -> None:
    """The least and the greatest number that a generator gives are lengths, too."""

    class Stuck(random.Random):
        def random(self) -> float:
            return share

    for mean in (1, 512.5, 1_000_000):
        assert 1 <= Lengths("normal", 1, 1_000_000, mean, stdev).draw(Stuck()) <= 1_000_000
    assert 1 <= Lengths("uniform", 1, 1_000_000).draw(Stuck()) <= 1_000_000


def test_shapes() -> None:
    """Drawn lengths are distributed as said: every value of a range, mean and deviation of a normal distribution."""
    rng = random.Random(1)
    dice = [lengths_of({"uniform": [1, 6]}, "k").draw(rng) for _ in range(6_000)]
    assert all(900 < dice.count(side) < 1_100 for side in range(1, 7))
    drawn = [lengths_of({"normal": {"mean": 512, "stdev": 64}}, "k").draw(rng) for _ in range(10_000)]
    assert statistics.mean(drawn) == pytest.approx(512, abs=3)
    assert statistics.stdev(drawn) == pytest.approx(64, abs=2)


def test_nothing_piles_up_at_the_bounds() -> None:
    """A bound that cuts through the middle is no more frequent than its neighbour."""
    lengths = lengths_of({"normal": {"mean": 10, "stdev": 5, "min": 10}}, "k")
    rng = random.Random(1)
    drawn = [lengths.draw(rng) for _ in range(10_000)]
    assert drawn.count(10) < 1.3 * drawn.count(11)


def test_draws_repeat() -> None:
    """A seed gives the same lengths again."""
    lengths = lengths_of({"normal": {"mean": 512, "stdev": 64}}, "k")
    first, second = random.Random(7), random.Random(7)
    assert [lengths.draw(first) for _ in range(100)] == [lengths.draw(second) for _ in range(100)]
