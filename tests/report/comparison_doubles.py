"""Comparisons made up for reports: every word, what fails and what doesn't, and hostile text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from report_doubles import case, run

from pytest_flperf.gates.budgets import parse_budgets
from pytest_flperf.gates.verdict import judge
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.records import CaseResult, Requests, Run

GATE = "--flperf-fail-on"


def comparison(**changes: Any) -> Comparison:
    """A TTFT that regressed by 12.3 %, and fails."""
    whole = Comparison(
        rule="ttft_ms.p50 > +10%", metric="ttft_ms", statistic="p50", verdict="regressed", fails=True,
        baseline=50.124, candidate=56.289, change_pct=12.3, change_ci95_pct=(8.1, 16.9), probability=0.983,
        threshold_pct=10.0, p_value=0.0004, comparisons=18, n_baseline=20, n_candidate=20, pairs=20,
        method="signed ranks of pairs", scope=GATE,
    )  # fmt: skip
    return replace(whole, **changes)


IMPROVED = comparison(
    rule="gen_tps.p50 < -10%", metric="gen_tps", verdict="improved", fails=False, baseline=20.5, candidate=23.9,
    change_pct=16.4, change_ci95_pct=(11.0, 22.1), probability=0.0001, threshold_pct=-10.0,
)  # fmt: skip
UNCHANGED = comparison(
    rule="tpot_ms.p50 > +10% and +2ms", metric="tpot_ms", verdict="unchanged", fails=False, baseline=5.02,
    candidate=5.01, change_pct=-0.2, change_ci95_pct=(-1.4, 1.1), probability=0.0, threshold_floor=2.0,
)  # fmt: skip
UNDECIDED = comparison(
    rule="ttft_ms.p95 > +10%", statistic="p95", verdict="undecided", fails=False, baseline=71.0, candidate=78.1,
    change_pct=10.0, change_ci95_pct=(-12.0, 41.0), probability=0.5, reason="p95 needs 130 requests on a side",
)  # fmt: skip
ERRORS = comparison(
    rule="error_rate > +0%", metric="error_rate", statistic=None, scope="implied", baseline=0.0, candidate=0.1,
    change_pct=None, change_ci95_pct=None, probability=None, threshold_pct=0.0, pairs=None,
    reason="it rose from zero: 2 of 20 requests failed", method="exact test of counts",
)  # fmt: skip
NO_ERRORS = comparison(
    rule="error_rate > +0%", metric="error_rate", statistic=None, scope="implied", baseline=0.0, candidate=0.0,
    verdict="unchanged", fails=False, change_pct=0.0, change_ci95_pct=None, probability=None, threshold_pct=0.0,
    pairs=None, method="exact test of counts",
)  # fmt: skip


def against(*comparisons: Comparison, **changes: Any) -> Against:
    """The other side, measured interleaved."""
    whole = Against(
        kind="pairs", label="flperf-nano at http://127.0.0.1:5273/v1", pairs=20, max_pairs=60, comparisons=comparisons,
        requests=Requests(20, 20, 0, 0, {"ok": 20}), error_rate=0.0,
    )  # fmt: skip
    return replace(whole, **changes)


def compared(scenario: str, *comparisons: Comparison, model: str = "flperf-nano", **changes: Any) -> CaseResult:
    """A case with these comparisons, judged."""
    found = case(scenario, model, against=(against(*comparisons),), requests=Requests(20, 20, 0, 0, {"ok": 20}))
    return judge(replace(found, **changes), parse_budgets(["error_rate <= 10%"]))


def compared_run(**changes: Any) -> Run:
    """Three cases, one of which fails."""
    cases = (
        compared("short-chat", comparison(), UNCHANGED, IMPROVED, NO_ERRORS),
        compared("long-prompt", replace(UNCHANGED, scope="default"), NO_ERRORS),
        compared("json-with-a-long-name-that-goes-on", UNDECIDED, ERRORS, model="qwen2.5-0.5b-instruct-generic-cpu"),
    )
    return run(*cases, status="failed", **changes)
