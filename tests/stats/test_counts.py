"""Failures of two sides, and many p-values at once."""

from __future__ import annotations

from itertools import combinations

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.holm import holm
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson, fisher, judge_counts

ANY = Threshold(0.0)
COUNTS = st.integers(1, 60).flatmap(lambda n: st.builds(Counts, st.integers(0, n), st.just(n)))


@given(COUNTS, COUNTS)
def test_fisher_is_scipys(baseline: Counts, candidate: Counts) -> None:
    """Both tails."""
    table = [[c.failed, c.total - c.failed] for c in (candidate, baseline)]
    theirs = [scipy.stats.fisher_exact(table, alternative=way).pvalue for way in ("greater", "less")]
    assert fisher(baseline, candidate) == pytest.approx(theirs)


@given(COUNTS)
def test_limits_are_scipys(counts: Counts) -> None:
    """The exact interval of a rate."""
    theirs = scipy.stats.binomtest(counts.failed, counts.total).proportion_ci(method="exact")
    assert clopper_pearson(counts) == pytest.approx((theirs.low, theirs.high))


@given(COUNTS, COUNTS, st.floats(0.1, 3))
def test_a_share_is_tested_as_a_part_of_all_failures(baseline: Counts, candidate: Counts, share: float) -> None:
    """The p-value is the binomial one."""
    finding = judge_counts(baseline, candidate, Threshold(share), ErrorRates())
    if finding.p_value is not None:
        part = (1 + share) * candidate.total / ((1 + share) * candidate.total + baseline.total)
        failed = candidate.failed + baseline.failed
        theirs = scipy.stats.binomtest(candidate.failed, failed, part, "greater").pvalue if failed else 1.0
        assert finding.p_value == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("baseline", "candidate", "word", "reason"),
    [
        ((0, 20), (1, 20), "regressed", "1 of 20 failed, where none of 20 had"),
        ((3, 20), (0, 0), "regressed", "the candidate has no requests"),
        ((1, 3), (3, 3), "regressed", "all 3 requests of the candidate failed"),
        ((0, 0), (4, 4), "regressed", "all 4 requests of the candidate failed"),
        ((0, 0), (1, 4), "undecided", "the baseline has no requests"),
        ((0, 20), (0, 20), "unchanged", "nothing failed"),
        ((2, 20), (0, 20), "unchanged", "none of the candidate's requests failed"),
        ((20, 40), (0, 40), "improved", ""),
        ((5, 100), (30, 100), "regressed", ""),
        ((5, 100), (6, 100), "undecided", "too few failures to tell"),
    ],
)
def test_words_of_counts(baseline: tuple[int, int], candidate: tuple[int, int], word: str, reason: str) -> None:
    """It fails closed where no test can speak, and tests the rest."""
    finding = judge_counts(Counts(*baseline), Counts(*candidate), ANY, ErrorRates())
    assert (finding.word, finding.reason) == (word, reason)


def test_likely_but_not_sure_enough() -> None:
    """Where the run's error rate, shared by comparisons and looks, forbids the word, the reason says so."""
    few, many, rates = Counts(5, 100), Counts(17, 100), ErrorRates(comparisons=18)
    found = judge_counts(few, many, ANY, rates)
    assert found.word == "undecided"
    assert found.reason.startswith("any rise is likely (p 0.0057), but the run's error rate of 1 %, shared by 18 ")
    assert found.reason.endswith("fewer rules or more requests would decide it")
    look = judge_counts(few, many, Threshold(0.0, floor=0.001), rates, 0.5)
    assert "a rise of more than 0.1 points is likely" in look.reason
    assert "the run's error rate of 1 %, shared by 18 comparisons and looks, requires p 0.00028" in look.reason
    assert judge_counts(few, many, ANY, ErrorRates()).word == "regressed"
    assert judge_counts(few, many, ANY, ErrorRates(), 0.5).word == "undecided"


def test_a_floor_must_be_exceeded_as_well() -> None:
    """Six times the failures, but by less than ten points for certain."""
    few, many = Counts(5, 1000), Counts(60, 1000)
    assert judge_counts(few, many, Threshold(1.0), ErrorRates()).word == "regressed"
    assert judge_counts(few, many, Threshold(1.0, floor=0.02), ErrorRates()).word == "regressed"
    assert judge_counts(few, many, Threshold(1.0, floor=0.10), ErrorRates()).word == "unchanged"


def test_more_failures_are_never_better() -> None:
    """Nor can there be more of them than requests."""
    with pytest.raises(ValueError, match="never better"):
        judge_counts(Counts(0, 1), Counts(0, 1), Threshold(0.1, higher_is_worse=False), ErrorRates())
    with pytest.raises(ValueError, match="3 failed of 2"):
        Counts(3, 2)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closed_test(p_values: list[float]) -> None:
    """The adjusted p-value is the largest Bonferroni one of any group that the hypothesis is in."""
    adjusted = holm(p_values)
    for at in range(len(p_values)):
        groups = [
            group
            for size in range(1, len(p_values) + 1)
            for group in combinations(range(len(p_values)), size)
            if at in group
        ]
        by_hand = max(min(1.0, len(group) * min(p_values[i] for i in group)) for group in groups)
        assert adjusted[at] == pytest.approx(by_hand)


def test_holm_wants_p_values() -> None:
    """Between 0 and 1."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])
