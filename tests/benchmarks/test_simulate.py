"""The simulation of decisions: few comparisons, the same words as a run's, and readable tables."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gates import simulate, tails
from benchmarks.gates.simulate import METHODS, Rates, missed, rates_of, table
from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.paired import Pair, judge_pairs
from pytest_flperf.stats.inference.proportions import Counts
from pytest_flperf.stats.inference.schedule import looks


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_finds_a_fifth_more(method: simulate.Method) -> None:
    """In nearly all of a few comparisons on a quiet machine; its table has a line for each size."""
    few = {True: 10, False: 10}
    with patch.object(simulate, "RUNS", {True: 3, False: 3}), patch.object(simulate, "COMPARISONS", few):
        rates = rates_of(method, "quiet", 1.0)
    assert rates[-1].found[-1].failed >= 7
    lines = table(method, {"quiet": rates}).splitlines()
    assert [line.split(" | ")[1] for line in lines[4 : 4 + len(method.sizes)]] == [str(size) for size in method.sizes]
    assert {line.count("|") for line in lines[2:] if line.startswith("|")} == {8}


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


@pytest.mark.parametrize("tail", [tails.TAILS[0], tails.TAILS[6], tails.TAILS[10]], ids=lambda tail: tail.name)
def test_words_of_many_means_are_what_a_run_says(tail: tails.Tail) -> None:
    """Look after look, comparison by comparison."""
    candidate, baseline, orders = tails.sides_of(tail, 12, 100, 1)
    rates = ErrorRates(comparisons=2)
    at = looks(100)
    for row, word in enumerate(tails.mean_words(candidate, baseline, orders, rates)):
        pairs = [
            Pair((float(c),), (float(b),), bool(first))
            for c, b, first in zip(candidate[row], baseline[row], orders[row], strict=True)
        ]
        words = (
            judge_pairs(pairs[:n], "mean", Threshold(tails.LIMIT), rates, look=look, looks=len(at)).word
            for look, n in enumerate(at, 1)
        )
        assert next((each for each in words if each != "undecided"), "undecided") == word
