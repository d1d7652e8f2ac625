"""Verdict, sentence and order of failures, as every page and annotation has them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from report_doubles import case, run

from pytest_flperf.gates.severity import excess, failed_cases
from pytest_flperf.report.annotations import annotation_lines
from pytest_flperf.report.code_quality import code_quality
from pytest_flperf.report.verdict_words import heading, sentence, tone, verdict_of
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Requests

UNMADE = Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", "undecided", fails=False, reason="nothing", scope="--x")
DEFAULT = BudgetVerdict("error_rate <= 0", 0.0, 0.0, 11, True, "default", "error_rate")
OWN = BudgetVerdict("ttft_ms.p95 <= 100", 100.0, 50.0, 11, True, "suite", "ttft_ms", "p95")
LEFT = replace(OWN, value=200.0, met=False)
WALL = BudgetVerdict("run.wall_s <= 10", 10.0, 15.5, 3, False, "--flperf-budget", "run.wall_s")


def missed(name: str, value: float) -> CaseResult:
    """A case that missed a limit of 100 ms."""
    verdict = replace(OWN, value=value, met=value <= 100)
    return case(name, outcome="failed", message=f"{name} missed", budgets=(verdict,))


def skipped(name: str) -> CaseResult:
    """A case of which nothing was measured."""
    return case(name, outcome="skipped", message="not measured: x", requests=Requests(), budgets=())


ALONE = case("b", against=(Against("run", "last (nothing found)", comparisons=(UNMADE,), missing="first"),))
XFAILED = case("x", outcome="xfailed", message="expected to fail", budgets=(LEFT,))


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ((case(),), "The only budget of the cases was the default, error_rate <= 0; it was met: 1 passed, 1 model."),
        ((case(budgets=(DEFAULT, OWN)),), "Every budget was met: 1 passed, 1 model."),
        (
            (case("a", budgets=(OWN,)), skipped("b"), skipped("c")),
            "Every budget was met in 1 of 3 cases: 1 passed, 2 skipped, 1 model.",
        ),
        (
            (case("a"), XFAILED),
            "The default budget, error_rate <= 0, was met in 1 of 2 cases: 1 passed, 1 xfailed, 1 model.",
        ),
        ((XFAILED,), "No budget was met; every miss was expected: 1 xfailed, 1 model."),
        ((case(budgets=(LEFT,)),), "The budgets were left to the tests: 1 passed, 1 model."),
        (
            (case("a", outcome="xpassed"), skipped("b")),
            "The only budget of the cases was the default, error_rate <= 0; it was met in 1 of 2 cases: "
            "1 xpassed, 1 skipped, 1 model.",
        ),
    ],
)
def test_sentence(cases: tuple[CaseResult, ...], words: str) -> None:
    """It says which budgets were judged, and in how many cases."""
    assert sentence(run(*cases)) == words


@pytest.mark.parametrize(
    ("cases", "status", "partial", "words", "look"),
    [
        ((case(),), "passed", False, "PASSED", "good"),
        ((case(),), "passed", True, "PASSED (PARTIAL)", "doubt"),
        ((case("a"), ALONE), "passed", False, "PASSED", "doubt"),
        ((XFAILED,), "passed", False, "PASSED (ONLY EXPECTED FAILURES)", "doubt"),
        ((skipped("b"),), "not_measured", False, "NOT MEASURED", "doubt"),
        ((case(outcome="error", requests=Requests()),), "not_measured", True, "NOT MEASURED (PARTIAL)", "bad"),
        ((case(outcome="error"),), "error", False, "ERROR", "bad"),
        ((case(),), "interrupted", True, "INTERRUPTED", "doubt"),
    ],
)
def test_heading(cases: tuple[CaseResult, ...], status: str, partial: bool, words: str, look: str) -> None:
    """Only a verdict without any doubt is green."""
    it = replace(run(*cases), status=status, partial=partial)  # type: ignore[arg-type]
    assert (heading(it), tone(it)) == (words, look)
    assert words.removesuffix(" (PARTIAL)") in verdict_of(it)
    assert "Every budget was met" not in sentence(it)


def test_failures_by_severity() -> None:
    """Errors, regressions, tests that failed by themselves, then missed budgets, that missed by most first."""
    regressed = Comparison(
        rule="r", metric="ttft_ms", statistic="p50", verdict="regressed", fails=True, baseline=1.0, candidate=2.0,
        change_pct=100.0, n_baseline=20, n_candidate=20, method="m", scope="suite",
    )  # fmt: skip
    cases = [
        missed("little", 101.0),
        missed("much", 900.0),
        case("assert", outcome="failed", message="AssertionError"),
        case("good"),
        case("worse", outcome="failed", message="worse", against=(Against("run", "l", comparisons=(regressed,)),)),
        case("error", outcome="error", message="teardown failed"),
        case("none", outcome="failed", message="all failed", requests=Requests(total=3, failed=3)),
    ]
    order = ["error", "none", "worse", "assert", "much", "little"]
    assert [each.scenario for each in failed_cases(cases)] == order
    it = replace(run(*cases), status="error", budgets=(WALL,), faults=("x could not be collected",))
    lines = annotation_lines(it)
    assert lines[0] == "::error title=flperf%3A budget of the run::missed run.wall_s <= 10 (15.5 s)"
    assert lines[1] == "::error title=flperf%3A error of pytest::x could not be collected"
    assert [line.split("title=")[1].split(" ")[0] for line in lines[2:]] == order
    found = [each["description"] for each in json.loads(code_quality(it))]
    assert found[0] == "the run missed run.wall_s <= 10 (15.5 s)"
    assert found[1] == "x could not be collected"
    assert found.index("much on m: missed ttft_ms.p95 <= 100 (900 ms)") < found.index(
        "little on m: missed ttft_ms.p95 <= 100 (101 ms)"
    )


@pytest.mark.parametrize("count", [9, 10, 11, 300])
def test_ten_annotations(count: int) -> None:
    """The worst are among the ten that GitHub shows, and where there are more the tenth says how many."""
    cases = [missed(f"c{index}", 101.0 + index) for index in range(count - 1)]
    lines = annotation_lines(replace(run(*cases), status="failed", budgets=(WALL,)))
    assert len(lines) == min(count, 10)
    assert "run.wall_s" in lines[0]
    assert f"title=c{count - 2} " in lines[1]
    if count > 10:
        assert lines[-1] == f"::error title=flperf::{count - 9} more cases failed; the job's summary has all"


@pytest.mark.parametrize(
    ("limit", "value", "metric", "statistic", "beyond"),
    [
        (100.0, 150.0, "ttft_ms", "p95", 0.5),
        (20.0, 10.0, "tps", "p50", 1.0),
        (0.0, 0.5, "error_rate", None, 50.0),
        (0.01, 0.02, "error_rate", None, 1.0),
        (20.0, None, "tps", "p50", float("inf")),
        (20.0, float("inf"), "ttft_ms", "p50", float("inf")),
    ],
)
def test_excess(limit: float, value: float | None, metric: str, statistic: str | None, beyond: float) -> None:
    """As a share of the limit, alike for limits from above and below; what was not measured is the worst."""
    assert excess(BudgetVerdict("x", limit, value, 3, False, "suite", metric, statistic)) == pytest.approx(beyond)


def test_not_measured_is_told() -> None:
    """A green run of skips only is a warning on GitHub and an issue in Code Quality."""
    it = replace(run(skipped("a"), skipped("b")), status="not_measured")
    (line,) = annotation_lines(it)
    assert line.startswith(
        "::warning title=flperf%3A not measured::Nothing was measured: 2 skipped, 1 model.%0A2 cases "
    )
    (issue,) = json.loads(code_quality(it))
    assert issue["description"] == "NOT MEASURED: Nothing was measured: 2 skipped, 1 model."
