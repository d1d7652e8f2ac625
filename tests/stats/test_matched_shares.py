"""Exact tests of shares: matched and independent, with their intervals and what they take at least."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.independent_shares import Share, independent_interval, independent_tails
from pytest_flperf.stats.inference.matched_shares import MatchedCounts, exact_tails, score_interval
from pytest_flperf.stats.inference.sample_sizes import fewest_losses, fewest_to_exclude
from pytest_flperf.stats.inference.schedule import spent_at


def matched(n: int) -> list[MatchedCounts]:
    """All data that so many pairs can give."""
    return [MatchedCounts(n, more, less) for more in range(n + 1) for less in range(n + 1 - more)]


def chance_of(counts: MatchedCounts, p_more: float, p_less: float) -> float:
    """By the multinomial law."""
    n, more, less = counts.pairs, counts.more, counts.less
    alike = max(1 - p_more - p_less, 0.0)
    return comb(n, more) * comb(n - more, less) * p_more**more * p_less**less * float(alike ** (n - more - less))


@pytest.mark.parametrize(("n", "difference"), [(9, -0.02), (14, -0.1), (14, 0.05), (11, 0.5), (11, 0.0)])
def test_matched_sizes_are_kept(n: int, difference: float) -> None:
    """At a difference of exactly that, both p-values are as small as a level at most so often, however many differ."""
    data = matched(n)
    tails = [exact_tails(each, difference) for each in data]
    rarest = np.linspace(0, (1 - abs(difference)) / 2, 41)
    for rare, level, side in product(rarest, (0.2, 0.05, 0.01, 0.0005), (0, 1)):
        p_more, p_less = (rare + difference, rare) if difference > 0 else (rare, rare - difference)
        wrong = sum(
            chance_of(each, p_more, p_less) for each, found in zip(data, tails, strict=True) if found[side] <= level
        )
        assert wrong <= level * 1.001


@pytest.mark.parametrize(("n", "m", "difference"), [(7, 9, 0.0), (9, 7, -0.1), (10, 10, 0.02)])
def test_independent_sizes_are_kept(n: int, m: int, difference: float) -> None:
    """The same of two shares that have nothing to do with each other."""
    data = [(Share(x, n), Share(y, m)) for x in range(n + 1) for y in range(m + 1)]
    tails = [independent_tails(*each, difference) for each in data]
    for p, level, side in product(np.linspace(max(0, -difference), min(1, 1 - difference), 31), (0.1, 0.01), (0, 1)):
        law, other = scipy.stats.binom(n, p), scipy.stats.binom(m, p + difference)
        wrong = sum(
            law.pmf(theirs.count) * other.pmf(mine.count)
            for (theirs, mine), found in zip(data, tails, strict=True)
            if found[side] <= level
        )
        assert wrong <= level * 1.001


@given(st.integers(1, 40), st.data(), st.floats(-0.9, 0.9))
def test_more_on_one_side_is_more_extreme(n: int, data: st.DataObject, difference: float) -> None:
    """One more pair for the candidate never makes "it is more" less likely: the search for limits rests on it."""
    less = data.draw(st.integers(0, n - 1))
    more = data.draw(st.integers(0, n - 1 - less))
    fewer, many = (exact_tails(MatchedCounts(n, each, less), difference) for each in (more, more + 1))
    assert many[0] <= fewer[0] * (1 + 1e-9)
    assert many[1] >= fewer[1] * (1 - 1e-9)


@given(st.integers(1, 60), st.data(), st.floats(-0.5, 0.5))
def test_sides_can_be_exchanged(n: int, data: st.DataObject, difference: float) -> None:
    """The candidate is more by this much where the baseline is less by as much."""
    more = data.draw(st.integers(0, n))
    counts = MatchedCounts(n, more, data.draw(st.integers(0, n - more)))
    assert exact_tails(counts, difference) == pytest.approx(exact_tails(counts.swapped, -difference)[::-1])
    low, high = score_interval(counts, 0.025)
    assert score_interval(counts.swapped, 0.025) == pytest.approx((-high, -low))
    assert -1 <= low <= counts.difference <= high <= 1


def test_published_intervals() -> None:
    """Tango's score with a numeric maximum of the likelihood, and an example of Newcombe's."""
    low, high = score_interval(MatchedCounts(50, 14, 5), 0.025)
    theirs = [scipy.optimize.brentq(lambda at, z=z: tango(50, 14, 5, at) - z, a, b)
              for z, a, b in ((1.959964, -0.9, 0.18), (-1.959964, 0.18, 0.9))]  # fmt: skip
    assert (low, high) == pytest.approx(theirs, abs=1e-6)
    # Newcombe 1998, Statistics in Medicine 17, table II, method 10: 56 of 70 against 48 of 80
    assert independent_interval(Share(48, 80), Share(56, 70), 0.025) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def tango(n: int, more: int, less: int, at: float) -> float:
    """The score by a numeric maximum of the likelihood."""

    def unlikely(rare: float) -> float:
        return -float(
            np.log(rare + at) * more + np.log(rare) * less + np.log(1 - 2 * rare - at) * (n - more - less)
        )  # fmt: skip

    least = max(0, -at) + 1e-12
    rare = scipy.optimize.minimize_scalar(unlikely, bounds=(least, (1 - at) / 2 - 1e-12), method="bounded",
                                          options={"xatol": 1e-12}).x  # fmt: skip
    return float((more - less - n * at) / np.sqrt(n * (2 * rare + at - at**2)))


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (9, 0), (3, 40)])
def test_no_pairs_and_impossible_ones(counts: tuple[int, int]) -> None:
    """Of nothing nothing is known; more that differ than there are is a mistake."""
    assert exact_tails(MatchedCounts(0, 0, 0), 0.1) == (1.0, 1.0)
    assert independent_tails(Share(0, 0), Share(1, 2), 0.1) == (1.0, 1.0)
    with pytest.raises(ValueError, match="of 2 pairs differ"):
        MatchedCounts(2, *counts) if sum(counts) else MatchedCounts(2, -1, 0)


def test_what_a_decision_takes() -> None:
    """18 comparisons, the last of five looks: 13 losses.  −2 points, the last of nine looks: 216 pairs without any."""
    alarm = ErrorRates(comparisons=18).alarm_level(spent_at(5, 5))
    assert fewest_losses(60, 0.0, alarm) == 13
    assert fewest_losses(12, 0.0, alarm) is None
    level = 0.05 * spent_at(9, 9)
    assert fewest_to_exclude(0.02, level) == 216
    assert exact_tails(MatchedCounts(216, 0, 0), -0.02)[0] <= level < exact_tails(MatchedCounts(215, 0, 0), -0.02)[0]
    assert (fewest_to_exclude(0.0, level), fewest_to_exclude(1.0, level)) == (None, 1)


@pytest.mark.parametrize(("n", "points"), [(60, 0.02), (216, 0.02), (100, 0.1)])
def test_fewest_losses_are_no_more_than_the_test_takes(n: int, points: float) -> None:
    """Fewer losses never suffice, and the exact test is content with few more."""
    alarm = ErrorRates(comparisons=18).alarm_level(spent_at(5, 5))
    fewest = fewest_losses(n, points, alarm)
    assert fewest is not None
    shown = next(k for k in range(n) if exact_tails(MatchedCounts(n, 0, k), -points)[1] <= alarm)
    assert fewest <= max(shown, 13) <= fewest + 3


def test_many_are_judged_quickly() -> None:
    """The normal law of the same statistic takes over, to the safe side; of a million it takes no time."""
    exact, roughly = (exact_tails(MatchedCounts(n, 12, 100), -0.02)[1] for n in (3_000, 3_001))
    assert exact < roughly < 3 * exact
    exact, roughly = (independent_tails(Share(40, n), Share(80, n), 0.0)[0] for n in (2_000, 2_001))
    assert exact < roughly < 3 * exact
    million = 10**6
    assert exact_tails(MatchedCounts(million, 0, 50_000), -0.02)[1] < 1e-9
    assert independent_tails(Share(10, million), Share(50_000, million), 0.02)[0] < 1e-9
    assert independent_tails(Share(0, million), Share(0, million), 0.02)[1] < 1e-9
