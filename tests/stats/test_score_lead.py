"""Leads in scores: the interval, the decision, and that both say the same."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.score_lead import score_lead

SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
BINARY = st.sampled_from([0.0, 1.0])


@given(
    st.one_of(
        st.lists(st.tuples(BINARY, BINARY), min_size=6, max_size=40),
        st.lists(st.tuples(SCORES, SCORES), min_size=6, max_size=40),
    ),
    st.sampled_from([0.02, 0.005, 0.001]),
)
def test_interval_and_decision_agree(scores: list[tuple[float, float]], level: float) -> None:
    """The estimate lies inside; zero lies outside exactly where the lead of one of both is beyond doubt."""
    lead, back = score_lead(scores, level), score_lead([(theirs, ours) for ours, theirs in scores], level)
    assert lead is not None
    assert back is not None
    assert lead.value == pytest.approx(-back.value)
    assert -1 <= lead.low <= lead.value + 1e-9
    assert lead.value - 1e-9 <= lead.high <= 1
    assert lead.decided == (lead.low > 0)
    assert back.decided == (back.low > 0) == (lead.high < 0)


def test_few_prompts() -> None:
    """Five prompts tell nothing; of ten that all differ one way it is beyond doubt at 0.5 %."""
    assert score_lead([(1.0, 0.0)] * 5, 0.02) is None
    ten = score_lead([(1.0, 0.0)] * 10, 0.005)
    assert ten is not None
    assert ten.decided
    seven = score_lead([(1.0, 0.0)] * 7, 0.005)
    assert seven is not None
    assert (seven.decided, seven.low) == (False, 0.0)


@pytest.mark.parametrize("graded", [False, True])
def test_coverage(graded: bool) -> None:
    """The true difference lies outside of an interval of 90 % in some 10 of 100 tries."""
    rng, missed, tries = Random(5), 0, 300
    for _ in range(tries):
        scores = [(float(rng.random() < 0.8), float(rng.random() < 0.7)) for _ in range(60)]
        if graded:
            scores = [(0.5 * ours + 0.4, theirs) for ours, theirs in scores]
        truth = 0.1 if not graded else 0.5 * 0.8 + 0.4 - 0.7
        lead = score_lead(scores, 0.05)
        assert lead is not None
        missed += not lead.low <= truth <= lead.high
    assert missed <= 50
