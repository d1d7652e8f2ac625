"""What two runs say whose prompts aren't known: words, and why not."""

from __future__ import annotations

from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.findings import TWO_SHARES, ErrorRates, Threshold
from pytest_flperf.stats.summary import distribution
from pytest_flperf.stats.two_runs_quality import judge_quality


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
