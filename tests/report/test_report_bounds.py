"""Every report of a run stays small, whatever is long or many in it, and says what it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from report_doubles import case, run

from pytest_flperf.gates.verdict import verdict_text
from pytest_flperf.report.annotations import annotation_lines
from pytest_flperf.report.code_quality import code_quality
from pytest_flperf.report.csv import csv_text
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.junit import case_text, properties
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.comparison import Against
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Failure, Requests, Run
from pytest_flperf.results.serving import Adjustment, Target

LONG = "x" * 100_000
MANY = range(10_000)
SOME = LONG[:300]
LARGEST = 600_000

REPORTS: dict[str, Callable[[Run], str]] = {
    "page": lambda run: Pages().run(run, {}),
    "pages": lambda run: Pages().runs([run, run]),
    "markdown": markdown,
    "code quality": code_quality,
    "annotations": lambda run: "\n".join(annotation_lines(run)),
    "properties": lambda run: "".join(name + value for each in run.cases for name, value in properties(each)),
    "case text": lambda run: "".join(map(case_text, run.cases)),
    "message": lambda run: "".join(map(verdict_text, run.cases)),
    "csv": lambda run: csv_text([run]),
    **{
        f"terminal {level}": lambda run, level=level: "\n".join(line.text for line in summary_lines(run, 120, level))
        for level in (0, 1, 2)
    },
}
FAILED: dict[str, Any] = {
    "outcome": "failed",
    "requests": Requests(10_000, 0, 10_000, by_outcome={"http_5xx": 10_000}),
    "error_rate": 1.0,
}
CASES: dict[str, dict[str, Any]] = {
    "failures": {
        **FAILED,
        "failures": tuple(Failure("http_5xx", 1, 500, f"error {number} {SOME}", SOME * 6) for number in MANY),
    },
    "names": {
        "suite": LONG,
        "scenario": LONG,
        "model": LONG,
        "host": LONG,
        "parameters": {LONG: LONG},
        "target": Target(LONG, LONG, LONG, LONG),
        "message": LONG,
        "outcome": "failed",
    },
    "budgets": {
        "outcome": "failed",
        "budgets": tuple(
            BudgetVerdict(f"e2e_ms.p95 <= {n} {SOME}", 1.0, 2.0, 9, False, SOME, "e2e_ms", "p95") for n in MANY
        ),
    },
    "notes": {"notes": tuple(f"warning: {number} {SOME}" for number in MANY)},
    "parameters": {"parameters": {f"{number} {SOME}": SOME for number in MANY}},
    "metrics": {"metrics": dict.fromkeys((f"m{number}_ms" for number in MANY), case().metrics["ttft_ms"])},
    "adjusted": {"adjusted": tuple(Adjustment(f"p{number}", SOME, None, SOME) for number in MANY)},
    "absent": {"resources_absent": {f"r{number}": f"{number} {SOME}" for number in MANY}},
    "message": {"outcome": "failed", "message": "\n".join(f"line {number}" for number in MANY)},
    "differences": {
        "against": (Against("stored", LONG, differs=tuple(f"d{n} {SOME}" for n in MANY), notes=(SOME,) * 9_000),) * 3
    },
}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", CASES)
def test_a_case_of_which_something_is_long_or_many(name: str, report: str) -> None:
    """No report grows beyond a bound."""
    assert len(REPORTS[report](run(case(**CASES[name]), status="failed"))) < LARGEST


@pytest.mark.parametrize("report", REPORTS)
def test_a_run_of_which_something_is_long_or_many(report: str) -> None:
    """Neither do faults, notes, the command and the machine."""
    base = run()
    assert base.host is not None
    long = run(
        suites=(LONG,),
        command=(LONG,) * 50,
        host=replace(base.host, name=LONG, cpu=LONG, os=LONG, gpus=(LONG,)),
        versions={LONG: LONG},
        notes=tuple(f"note {number} {SOME}" for number in MANY),
        faults=tuple(f"fault {number} {SOME}" for number in MANY),
        status="error",
    )
    assert len(REPORTS[report](long)) < LARGEST


def failing(**changes: Any) -> CaseResult:
    """A case of 10,000 failures of which five kinds were kept."""
    found = case(**FAILED, failures=tuple(Failure("http_5xx", 1, 500, f"error {n}", "") for n in range(5)), **changes)
    return replace(found, message=verdict_text(found))


@pytest.mark.parametrize("report", ["page", "message", "markdown"])
def test_failures_that_are_not_shown_are_counted(report: str) -> None:
    """Beside the kinds that are shown stands how many other requests failed."""
    shown = REPORTS[report](run(failing(), status="failed"))
    assert "9,995" in shown.replace("9995", "9,995")
    assert "more failed requests" in shown


def test_a_long_message_says_how_many_lines_are_left_out() -> None:
    """In Markdown, where few lines are shown."""
    lines = "\n".join(f"line {number}" for number in range(1_000))
    assert "988 more lines" in markdown(run(case(outcome="failed", message=lines), status="failed"))


def test_findings_beyond_the_bound_are_one_finding() -> None:
    """GitLab lists 500 of them: the last one says how many more there are."""
    found = code_quality(run(case(**CASES["budgets"]), case("other", **CASES["budgets"]), status="failed"))
    assert found.count('"fingerprint"') == 500
    assert "501 more findings are left out here" in found
