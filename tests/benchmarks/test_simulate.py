"""The simulation of decisions: few comparisons, the same words as a run's, and readable tables."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gates import simulate
from benchmarks.gates.simulate import METHODS, SIZES, Rates, missed, rates_of, table
from pytest_flperf.stats.counts import Counts


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_finds_a_fifth_more(method: simulate.Method) -> None:
    """In nearly all of a few comparisons on a quiet machine; its table has a line for each size."""
    few = {True: 10, False: 10}
    with patch.object(simulate, "RUNS", {True: 3, False: 3}), patch.object(simulate, "COMPARISONS", few):
        rates = rates_of(method, "quiet", 1.0)
    assert rates[-1].found[-1].failed >= 7
    lines = table(method, {"quiet": rates}).splitlines()
    assert [line.split(" | ")[1] for line in lines[4:]] == [str(size) for size in SIZES]
    assert {line.count("|") for line in lines[2:] if line} == {8}


def test_limits_that_are_missed_are_told() -> None:
    """Too many runs with a false alarm, and too few findings on a quiet machine."""
    good = Rates(Counts(0, 1000), Counts(0, 1000), (Counts(100, 100),) * 3)
    bad = Rates(Counts(90, 1000), Counts(50, 1000), (Counts(10, 100),) * 3)
    rates = {method.name: {"quiet": [good] * 4} for method in METHODS}
    assert missed(rates) == []
    rates[METHODS[0].name] = {"quiet": [good] * 3 + [bad]}
    assert missed(rates) == [
        "Pairs in random order, any change, quiet: 50 of 1000 runs had a false alarm",
        "+5 % within 60 pairs found in 10 of 100 on a quiet machine",
    ]
