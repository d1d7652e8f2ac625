"""Quality of two runs as independent samples: words, and why not."""

from __future__ import annotations

from pytest_flperf.results.measured import PromptScore
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.stats.inference.findings import TWO_SHARES, ErrorRates, Threshold
from pytest_flperf.stats.inference.quality import judge_quality


def case(right: int, of: int) -> CaseResult:
    """Answers that are right or wrong, of prompts that nobody tells apart."""
    quality = distribution([1.0] * right + [0.0] * (of - right))
    assert quality is not None
    return CaseResult("n", "s", "short", "m", requests=Requests(of, of), error_rate=0.0, metrics={"quality": quality})


def test_likely_but_not_sure_enough() -> None:
    """The reason says that the run's error rate forbids the word, and what would decide it."""
    rule = Threshold(0.0, higher_is_worse=False)
    found = judge_quality(case(96, 100), case(85, 100), rule, ErrorRates(comparisons=18))
    assert found.word == "undecided"
    assert "any fall is likely (p 0.00" in found.reason
    assert "the run's error rate of 1 %, shared by 18 comparisons, requires p 0.00056" in found.reason
    assert "both sides in turn (--flperf-against) would decide it" in found.reason
    assert judge_quality(case(96, 100), case(85, 100), rule, ErrorRates()).word == "regressed"


def side(right: int, total: int) -> CaseResult:
    """A case of which so many answers were right."""
    found = distribution([1.0] * right + [0.0] * (total - right))
    assert found is not None
    return CaseResult(
        "s::x[m]", "s", "x", "m",
        requests=Requests(total, total, 0, 0, {"ok": total}), error_rate=0.0, metrics={"quality": found},
        settings={"temperature": 0.7},
    )  # fmt: skip


def test_an_interval_beyond_the_limit_is_explained() -> None:
    """Newcombe's interval shows a fall that the exact test doesn't show yet: the reason says which decides."""
    finding = judge_quality(side(1800, 2700), side(20, 40), Threshold(0.0, higher_is_worse=False), ErrorRates())
    assert finding.interval is not None
    assert (finding.word, finding.method) == ("undecided", TWO_SHARES)
    assert finding.interval[1] < 0
    assert finding.reason == "the interval shows any fall, but the test that decides doesn't yet (p 0.031)"


def greedy(wrong: int) -> CaseResult:
    """Eight prompts, each asked ten times at temperature 0; of the first so many answers were wrong, now and then."""
    found = distribution([1.0] * (80 - wrong) + [0.0] * wrong)
    assert found is not None
    first = PromptScore("p0", 10, 1 - wrong / 10, alike=not wrong)
    scores = (first, *(PromptScore(f"p{n}", 10, 1.0, alike=True) for n in range(1, 8)))
    return CaseResult(
        "s::x[m]", "s", "x", "m", requests=Requests(80, 80), error_rate=0.0, metrics={"quality": found},
        prompt_scores=scores, settings={"temperature": 0},
    )  # fmt: skip


def test_a_prompt_weighs_as_much_as_another() -> None:
    """One wrong answer of eighty is a loss of 1.25 points, though seven prompts are always answered alike."""
    found = judge_quality(greedy(0), greedy(1), Threshold(0.0, 0.02, higher_is_worse=False), ErrorRates())
    assert (found.baseline, found.candidate) == (1.0, 79 / 80)
    assert found.change is not None
    assert found.interval is not None
    assert abs(found.change + 1 / 80) < 1e-9
    assert found.interval[0] <= found.change <= found.interval[1]
