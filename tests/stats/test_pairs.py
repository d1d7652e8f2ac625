"""What pairs say: words, figures, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_flperf.stats.findings import RANKS, SWAPS, ErrorRates, Finding, Threshold
from pytest_flperf.stats.pairs import Pair, judge_pairs
from pytest_flperf.stats.schedule import draw_orders, looks, spent_at

TEN = Threshold(0.10)
ONCE = {"look": 1, "looks": 1}


def make_pairs(
    n: int, ratio: float = 1.0, *, streams: int = 1, noise: float = 0.05, seed: int = 1, add: float = 0.0
) -> list[Pair]:
    """Pairs about 100 ms on a drifting machine, the candidate slower by the ratio and by what is added."""
    chance = np.random.default_rng(seed)
    level = 100 * np.exp(chance.normal(0, 0.03, n).cumsum())
    values = level[:, None, None] * np.exp(chance.normal(0, noise, (n, 2, streams)))
    return [
        Pair(tuple((ratio * candidate + add).tolist()), tuple(baseline.tolist()), first)
        for (candidate, baseline), first in zip(values, draw_orders(n, seed), strict=True)
    ]


def mirrored(pairs: list[Pair]) -> list[Pair]:
    """Rates instead of times: a slower side has less."""
    return [
        Pair(tuple(1000 / v for v in p.candidate), tuple(1000 / v for v in p.baseline), p.candidate_first)
        for p in pairs
    ]


@pytest.mark.parametrize(
    ("ratio", "threshold", "word"),
    [
        (1.30, TEN, "regressed"),
        (1.30, Threshold(0.10, floor=20), "regressed"),
        (1.30, Threshold(0.10, floor=40), "unchanged"),
        (1.00, TEN, "unchanged"),
        (1.00, Threshold(0.0), "undecided"),
        (0.97, Threshold(0.0, floor=5), "unchanged"),
        (0.75, TEN, "improved"),
        (0.75, Threshold(1.5), "unchanged"),
        (1.10, TEN, "undecided"),
    ],
)
def test_each_word(ratio: float, threshold: Threshold, word: str) -> None:
    """Sixty pairs with 5 % noise a request."""
    finding = judge_pairs(make_pairs(60, ratio), "p50", threshold, ErrorRates(comparisons=18), **ONCE)
    assert finding.word == word
    assert finding.method == RANKS
    assert bool(finding.reason) == (word == "undecided")
    assert finding.change == pytest.approx(ratio - 1, abs=0.03)
    assert finding.interval is not None
    assert finding.interval[0] < finding.change < finding.interval[1]
    assert (finding.pairs, finding.n_baseline, finding.n_candidate) == (60, 60, 60)


@pytest.mark.parametrize("statistic", ["p50", "mean", "p90", "p95", "p5", "min", "max", "stdev"])
def test_every_statistic_sees_a_doubling(statistic: str) -> None:
    """And none sees a difference between twins."""
    rates = ErrorRates(comparisons=4)
    doubled = judge_pairs(make_pairs(60, 2.0, streams=4), statistic, TEN, rates, **ONCE)
    assert doubled.word == "regressed"
    assert doubled.method == (RANKS if statistic in ("p50", "mean") else SWAPS)
    assert doubled.change == pytest.approx(1.0, abs=0.35)
    assert doubled.p_value is not None
    assert doubled.p_value < 0.01
    same = judge_pairs(make_pairs(60, streams=4), statistic, TEN, rates, **ONCE)
    assert same.word in ("undecided", "unchanged")


@pytest.mark.parametrize("statistic", ["p50", "p90"])
def test_a_rate_is_worse_where_it_falls(statistic: str) -> None:
    """The same times as rates: worse is less, and the change is negative."""
    threshold = Threshold(0.10, higher_is_worse=False)
    for ratio, word in ((1.5, "regressed"), (0.6, "improved")):
        finding = judge_pairs(mirrored(make_pairs(60, ratio, streams=4)), statistic, threshold, ErrorRates(), **ONCE)
        assert finding.word == word
        assert finding.change == pytest.approx(1 / ratio - 1, abs=0.06)


@given(st.integers(0, 50), st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=15, deadline=None)
def test_units_change_nothing(seed: int, unit: float) -> None:
    """In seconds or in microseconds: the same word, change and p-value."""
    pairs = make_pairs(16, 1.1, seed=seed)
    scaled = [Pair((p.candidate[0] * unit,), (p.baseline[0] * unit,), p.candidate_first) for p in pairs]
    one, other = (judge_pairs(each, "p50", Threshold(0.02), ErrorRates(), **ONCE) for each in (pairs, scaled))
    assert (one.word, one.p_value) == (other.word, pytest.approx(other.p_value))
    assert one.change == pytest.approx(other.change, abs=1e-4)


@pytest.mark.parametrize("comparisons", [1, 18])
def test_twins_are_rarely_called_regressed(comparisons: int) -> None:
    """Over all looks, of 60 comparisons of twins, about what the level allows (fixed seeds)."""
    rates = ErrorRates(false_alarm=0.2, comparisons=comparisons)
    alarms = sum(_regressed_at_any_look(seed, rates) for seed in range(60))
    assert alarms <= 60 * 0.2 / comparisons + 4


def _regressed_at_any_look(seed: int, rates: ErrorRates) -> bool:
    pairs = make_pairs(20, seed=seed)
    at = looks(20)
    return any(
        judge_pairs(pairs[:n], "p50", Threshold(0.0), rates, look=look, looks=len(at)).word == "regressed"
        for look, n in enumerate(at, 1)
    )


def test_an_early_look_asks_for_more() -> None:
    """What is enough at the only look isn't at the first of many; the interval is wider, too."""
    pairs, rates = make_pairs(14, 1.08, seed=4), ErrorRates(false_alarm=0.05)
    alone = judge_pairs(pairs, "p50", Threshold(0.0), rates, **ONCE)
    early = judge_pairs(pairs, "p50", Threshold(0.0), rates, look=1, looks=6)
    assert alone.p_value == early.p_value
    assert rates.false_alarm * spent_at(1, 6) < alone.p_value <= rates.false_alarm  # type: ignore[operator]
    assert (alone.word, early.word) == ("regressed", "undecided")
    assert "any rise is likely (p " in early.reason
    assert _width(early) > _width(alone)


def _width(finding: Finding) -> float:
    assert finding.interval is not None
    return finding.interval[1] - finding.interval[0]


@pytest.mark.parametrize(
    ("pairs", "statistic", "reason"),
    [
        (10, "p50", "p50 needs 11 requests a side; there are 10 and 10"),
        (100, "p95", "p95 needs 130 requests a side; there are 100 and 100"),
        (5, "mean", "5 whole pairs can't tell anything; 6 are the least"),
        (0, "p50", "p50 needs 11 requests a side; there are 0 and 0"),
    ],
)
def test_too_few_are_never_decided(pairs: int, statistic: str, reason: str) -> None:
    """However large the difference."""
    finding = judge_pairs(make_pairs(pairs, 9.0), statistic, TEN, ErrorRates(), **ONCE)
    assert (finding.word, finding.reason, finding.interval) == ("undecided", reason, None)


def test_lost_pairs_keep_their_place() -> None:
    """They count in no number, and the rest decides."""
    pairs = make_pairs(40, 1.4)
    for at, lost in ((3, ()), (17, (math.nan,)), (30, (math.inf,))):
        pairs[at] = Pair(lost, pairs[at].baseline, pairs[at].candidate_first)
    finding = judge_pairs(pairs, "p50", TEN, ErrorRates(), **ONCE)
    assert (finding.word, finding.pairs, finding.n_baseline) == ("regressed", 37, 37)


def test_numbers_that_have_no_logarithm() -> None:
    """Zeros and twins without any noise: no error, no alarm."""
    orders = draw_orders(20, 1)
    same = judge_pairs([Pair((5.0,), (5.0,), first) for first in orders], "p50", TEN, ErrorRates(), **ONCE)
    assert (same.word, same.change) == ("unchanged", pytest.approx(0, abs=1e-3))
    zeros = judge_pairs([Pair((0.0,), (0.0,), first) for first in orders], "p50", TEN, ErrorRates(), **ONCE)
    assert zeros.word != "regressed"
    risen = judge_pairs(
        [Pair((float(i),), (0.0,), first) for i, first in enumerate(orders, 1)], "p50", TEN, ErrorRates(), **ONCE
    )
    assert risen.word == "regressed"


def test_orders_and_statistics_that_are_none() -> None:
    """Errors of the program, not findings."""
    one_sided = [Pair((1.0,), (1.0,), candidate_first=True)] * 15
    with pytest.raises(ValueError, match="orders"):
        judge_pairs(one_sided, "p50", TEN, ErrorRates(), **ONCE)
    with pytest.raises(ValueError, match="p42"):
        judge_pairs(make_pairs(15), "p42", TEN, ErrorRates(), **ONCE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Threshold(-0.1),
        lambda: Threshold(1.0, higher_is_worse=False),
        lambda: ErrorRates(false_alarm=0.0),
        lambda: ErrorRates(comparisons=0),
    ],
)
def test_what_nobody_can_ask(make: object) -> None:
    """A rule that can't be meant is refused."""
    assert callable(make)
    with pytest.raises(ValueError, match=r"\w+"):
        make()
