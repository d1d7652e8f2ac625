"""Power of rules on shares: as exact as the test it speaks of."""

from __future__ import annotations

from math import comb

import pytest

from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.matched import judge_prompts
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.stats.inference.matched_shares import MatchedCounts, exact_tails, fall_tail
from pytest_flperf.stats.inference.schedule import looks, spent_at
from pytest_flperf.stats.inference.share_power import Look, SharePower

FALL = 0.02


def counted(n: int, right: float, candidate: float, rates: ErrorRates, points: float) -> float:
    """Chance of ``regressed``: the judge's words of all counts, each by its chance."""
    better, worse = (1 - right) * candidate, right * (1 - candidate)
    found = 0.0
    for more in range(n + 1):
        for less in range(n - more + 1):
            pairs = [MatchedRequest(1.0, 0.0)] * more + [MatchedRequest(0.0, 1.0)] * less
            pairs += [MatchedRequest(1.0, 1.0)] * (n - more - less)
            chance = comb(n, more) * comb(n - more, less) * better**more * worse**less
            chance *= (1 - better - worse) ** (n - more - less)
            if chance > 1e-7 and less > more:
                finding = judge_prompts(pairs, Threshold(0.0, points, higher_is_worse=False), rates)
                found += chance * (finding.word == "regressed")
    return found


@pytest.mark.parametrize(("points", "comparisons"), [(FALL, 1), (FALL, 18), (0.0, 1)])
def test_it_is_the_chance_of_the_word(points: float, comparisons: int) -> None:
    """Against a stored run there is one look, and its law is the power's own: the same number."""
    rates = ErrorRates(comparisons=comparisons)
    power = SharePower([Look(24, 1.0)], points, rates)
    assert power.of(0.9, 0.5) == pytest.approx(counted(24, 0.9, 0.5, rates, points), abs=1e-4)
    assert power.of(0.9, 0.5) > 0.03


def plan(pairs: int) -> list[Look]:
    """The looks of a comparison in turns."""
    places = looks(pairs)
    return [Look(count, spent_at(number, len(places))) for number, count in enumerate(places, 1)]


def test_more_is_found_of_larger_falls_with_more_pairs_and_fewer_comparisons() -> None:
    """Each way it grows; where nothing is lost, or as much as is allowed, it is below the error rate."""
    found = [SharePower(plan(pairs), FALL, ErrorRates()).of(0.9, 0.8) for pairs in (20, 60, 100, 200)]
    assert found == sorted(found)
    power = SharePower(plan(100), FALL, ErrorRates())
    falls = [power.of(0.9, candidate / 100) for candidate in (98, 90, 88, 80, 70, 50)]
    assert falls == sorted(falls)
    assert falls[2] < 0.01
    assert falls[-1] > 0.99
    assert SharePower(plan(100), FALL, ErrorRates(comparisons=18)).of(0.9, 0.7) < falls[4]


def test_the_fall_that_is_found() -> None:
    """Found as often as was asked, and one point less isn't; of few prompts none is."""
    power = SharePower(plan(100), FALL, ErrorRates())
    share = power.found_in(0.9, 0.9)
    assert share is not None
    assert power.of(0.9, share) >= 0.9 > power.of(0.9, share + 0.01)
    assert SharePower(plan(12), FALL, ErrorRates(comparisons=66)).found_in(0.9, 0.9) is None


def test_many_pairs_are_nearly_as_exact() -> None:
    """Beyond 400 pairs the normal law stands in: no jump in what is found."""
    exact, roughly = (SharePower([Look(pairs, 0.26)], FALL, ErrorRates()).of(0.9, 0.83) for pairs in (400, 401))
    assert roughly == pytest.approx(exact, abs=0.03)


def test_half_of_the_exact_test() -> None:
    """The tail of a fall is that of both tails."""
    counts = MatchedCounts(60, 2, 11)
    assert fall_tail(counts, FALL) == exact_tails(counts, -FALL)[1]
