"""What pairs say: words, figures, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_flperf.stats.inference.findings import MEANS, RANKS, SWAPS, ErrorRates, Finding, Threshold
from pytest_flperf.stats.inference.paired import Pair, judge_pairs
from pytest_flperf.stats.inference.schedule import draw_orders, looks, spent_at

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


def test_a_likely_improvement_has_its_reason() -> None:
    """Where the error rate forbids ``improved``, ``unchanged`` says so; a lead or a run that allows it needs none."""
    at = {"look": 1, "looks": 5}
    found = judge_pairs(make_pairs(12, 0.3), "p50", TEN, ErrorRates(comparisons=18), **at)
    assert found.word == "unchanged"
    assert found.interval is not None
    assert found.interval[1] < -TEN.share
    assert found.reason.startswith("a fall of more than 10 % is likely (p ")
    assert "the run's error rate of 1 %, shared by 18 comparisons and looks, requires p " in found.reason
    assert "the sides exchanged" in found.reason
    mirror = judge_pairs(mirrored(make_pairs(12, 0.3)), "p50", replace(TEN, higher_is_worse=False),
                         ErrorRates(comparisons=18), **at)  # fmt: skip
    assert mirror.reason.startswith("a rise of more than 10 % is likely")
    alone = judge_pairs(make_pairs(12, 0.3), "p50", TEN, ErrorRates(), **ONCE)
    assert (alone.word, alone.reason) == ("improved", "")


@pytest.mark.parametrize("statistic", ["p50", "mean", "p90", "p95", "p5", "min", "max", "stdev"])
def test_every_statistic_sees_a_doubling(statistic: str) -> None:
    """And none sees a difference between twins."""
    rates = ErrorRates(comparisons=4)
    doubled = judge_pairs(make_pairs(60, 2.0, streams=4), statistic, TEN, rates, **ONCE)
    assert doubled.word == "regressed"
    assert doubled.method == {"p50": RANKS, "mean": MEANS}.get(statistic, SWAPS)
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
        (5, "mean", "5 whole pairs are too few to tell; 6 are needed"),
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


def tailed(n: int, share: float, times: float, seed: int) -> list[Pair]:
    """Pairs in which some of the candidate's answers take so many times as long."""
    slow = np.random.default_rng(1000 + seed).random(n) < share
    return [
        Pair((pair.candidate[0] * (times if at else 1),), pair.baseline, pair.candidate_first)
        for pair, at in zip(make_pairs(n, seed=seed), slow, strict=True)
    ]


def words_of(pairs: list[Pair], statistic: str, threshold: Threshold, rates: ErrorRates) -> list[str]:
    """Look after look."""
    at = looks(len(pairs))
    return [
        judge_pairs(pairs[:n], statistic, threshold, rates, look=look, looks=len(at)).word
        for look, n in enumerate(at, 1)
    ]


def test_a_tail_is_in_the_mean() -> None:
    """One answer in twenty ten times as slow is never `unchanged`: few requests stay undecided, many find it."""
    rates = ErrorRates(comparisons=2)
    for seed in range(20):
        assert set(words_of(tailed(60, 0.05, 10, seed), "mean", TEN, rates)) <= {"undecided", "regressed"}
    found = [words_of(tailed(300, 0.05, 10, seed), "mean", TEN, rates) for seed in range(4)]
    assert not any("unchanged" in words or "improved" in words for words in found)
    assert any("regressed" in words for words in found)


def test_a_mean_is_unchanged_at_the_end_and_from_enough_requests() -> None:
    """Before that a rare slow answer may not have come, and the reason says so."""
    rates = ErrorRates(comparisons=2)
    assert words_of(make_pairs(100), "mean", TEN, rates)[-1] == "unchanged"
    assert "unchanged" not in words_of(make_pairs(100), "mean", TEN, rates)[:-1]
    few = judge_pairs(make_pairs(60), "mean", TEN, rates, **ONCE)
    assert few.word == "undecided"
    assert "only with 90 requests a side or more, as slow answers may be rare; there are 60 and 60" in few.reason
    assert judge_pairs(make_pairs(30, streams=4), "mean", TEN, rates, **ONCE).word == "unchanged"
    quicker = [judge_pairs(make_pairs(n, 0.7), "mean", TEN, rates, **ONCE).word for n in (60, 100)]
    assert quicker == ["undecided", "improved"]


@pytest.mark.parametrize("statistic", ["mean", "p50"])
def test_the_estimate_of_a_mean_is_its_ratio(statistic: str) -> None:
    """Inside its interval; a plain shift is found within sixty pairs, and of a mean it is the ratio of both."""
    found = judge_pairs(make_pairs(60, 1.2), statistic, TEN, ErrorRates(comparisons=18), **ONCE)
    assert found.word == "regressed"
    assert found.change is not None
    assert found.interval is not None
    assert found.interval[0] < 0.2 < found.interval[1]
    assert found.interval[0] < found.change < found.interval[1]
    if statistic == "mean":
        assert found.baseline is not None
        assert found.candidate is not None
        assert found.change == pytest.approx(found.candidate / found.baseline - 1, abs=0.01)


def constant(candidate: float, baseline: float, n: int = 100) -> list[Pair]:
    """Pairs without any noise."""
    return [Pair((candidate,), (baseline,), first) for first in draw_orders(n, 1)]


LESS = Threshold(0.10, higher_is_worse=False)


@pytest.mark.parametrize("statistic", ["p50", "mean", "min", "max", "p90", "stdev"])
@pytest.mark.parametrize(
    ("candidate", "baseline", "threshold", "word"),
    [
        (3.0, 0.0, TEN, "regressed"),
        (3.0, 0.0, Threshold(0.0), "regressed"),
        (3.0, 0.0, Threshold(0.1, 2), "regressed"),
        (3.0, 0.0, Threshold(0.0, 2), "regressed"),
        (3.0, 0.0, Threshold(0.0, 4), "unchanged"),
        (0.0, 3.0, TEN, "improved"),
        (0.0, 3.0, LESS, "regressed"),
        (3.0, 0.0, LESS, "improved"),
        (0.0, 0.0, TEN, "unchanged"),
        (0.0, 0.0, LESS, "unchanged"),
        (0.0, 0.0, Threshold(0.0, 2), "unchanged"),
    ],
)
def test_zero_on_a_side(statistic: str, candidate: float, baseline: float, threshold: Threshold, word: str) -> None:
    """A rise from nothing is judged by the floor, or as any rise; of rates a fall to nothing is one."""
    rates = ErrorRates(comparisons=18)
    if statistic == "stdev":
        pairs = [
            Pair((candidate * (2 + at % 3),), (baseline * (2 + at % 3),), pair.candidate_first)
            for at, pair in enumerate(constant(1, 1))
        ]
        if threshold.floor:
            return  # of a spread the estimate decides about the floor
    else:
        pairs = constant(candidate, baseline)
    finding = judge_pairs(pairs, statistic, threshold, rates, **ONCE)
    assert finding.word == word, finding
    if not baseline:
        assert finding.change is None
        assert ("rose from 0" in finding.reason) == (word == "regressed")


def test_two_humps_of_which_the_median_moves() -> None:
    """A typical pair and the medians may disagree about the limit: that is said, and nothing else."""
    chance = np.random.default_rng(3)
    orders = draw_orders(100, 2)
    # 45 of 100 answers of the baseline are slow, 55 of the candidate's; besides that each pair is the same
    slow = np.arange(100) % 20
    baseline = np.where(slow < 9, 100.0, 50.0) * np.exp(chance.normal(0, 0.002, 100))
    candidate = np.where(slow < 11, 100.0, 50.0) * np.exp(chance.normal(0, 0.002, 100))
    pairs = [Pair((float(c),), (float(b),), first) for c, b, first in zip(candidate, baseline, orders, strict=True)]
    finding = judge_pairs(pairs, "p50", TEN, ErrorRates(), **ONCE)
    assert finding.word == "undecided"
    assert finding.reason == ("the change of a typical pair is not beyond the limit, that of the medians is beyond it")


def test_what_the_runs_error_rate_forbids() -> None:
    """An interval beyond the limit and yet undecided: the reason says why, and what would decide it."""
    rates = ErrorRates(comparisons=10**6)
    for statistic in ("p50", "mean"):
        finding = judge_pairs(make_pairs(16, 1.3), statistic, TEN, rates, look=2, looks=3)
        assert finding.interval is not None
        assert (finding.word, finding.interval[0] > 0.10) == ("undecided", True)
        assert "shared by 1000000 comparisons and looks, requires p " in finding.reason
        assert finding.reason.endswith("fewer rules or more requests would decide it")


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


@pytest.mark.parametrize("ratio", [1.0, 1.1, 0.5])
@pytest.mark.parametrize("statistic", ["p50", "mean", "max"])
def test_an_interval_holds_what_all_pairs_say(statistic: str, ratio: float) -> None:
    """Where every pair says the same, the interval is hardly wider than that number, and holds it."""
    pairs = [Pair((100 * ratio,), (100.0,), first) for first in draw_orders(40, 3)]
    finding = judge_pairs(pairs, statistic, Threshold(0.0), ErrorRates(), **ONCE)
    assert finding.interval is not None
    low, high = finding.interval
    assert ratio - 1 - 1e-6 < low <= ratio - 1 <= high < ratio - 1 + 1e-6


def test_why_an_excluded_rise_of_a_mean_is_open() -> None:
    """It is told as excluded so far, as the interval shows; what it waits for is said."""
    early = judge_pairs(make_pairs(40), "mean", TEN, ErrorRates(), look=4, looks=5)
    few = judge_pairs(make_pairs(40), "mean", TEN, ErrorRates(), **ONCE)
    assert early.word == few.word == "undecided"
    assert (
        early.reason == "a rise of more than 10 % is excluded so far; a mean is called unchanged only at the last look"
    )
    assert few.reason.startswith("a rise of more than 10 % is excluded so far; a mean is called unchanged only with 90")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("statistic", ["p50", "mean", "p5", "p90", "min", "max", "stdev"])
@pytest.mark.parametrize(("of_candidate", "of_baseline"), [(1e300, 1e300), (1e300, 1.0), (1.0, 1e300)])
def test_numbers_too_large_to_square(statistic: str, of_candidate: float, of_baseline: float) -> None:
    """Neither warnings nor numbers that are none."""
    pairs = [
        Pair(
            tuple(v * of_candidate for v in p.candidate), tuple(v * of_baseline for v in p.baseline), p.candidate_first
        )
        for p in make_pairs(24, streams=6)
    ]
    for threshold in (TEN, Threshold(0.0, 1e300), Threshold(0.0, higher_is_worse=False)):
        finding = judge_pairs(pairs, statistic, threshold, ErrorRates(), **ONCE)
        numbers = [finding.p_value, finding.probability, finding.change, *(finding.interval or ())]
        assert not any(math.isnan(number) for number in numbers if number is not None)


@pytest.mark.parametrize("statistic", ["p50", "mean"])
@pytest.mark.parametrize("ratio", [0.4, 2.5])
def test_what_is_decided_early_has_an_interval(statistic: str, ratio: float) -> None:
    """A change that twelve pairs show, whatever their order: the interval ends before the limit that was rejected."""
    decided = 0
    for seed in range(60):
        pairs = make_pairs(12, ratio, noise=0.02, seed=seed)
        found = judge_pairs(pairs, statistic, TEN, ErrorRates(comparisons=2), look=1, looks=5)
        if found.word == "regressed":
            assert found.interval is not None
            assert found.interval[0] > 0.10
        elif found.word == "improved":
            assert found.interval is not None
            assert found.interval[1] < 0
        decided += found.word in ("regressed", "improved")
    assert decided > 5 or (statistic == "mean" and ratio < 1)  # a mean is called improved from 90 requests on
