"""The table of results in a terminal: rivals, verdicts without colour, columns that must stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from report_doubles import case, measured, run

from pytest_flperf.report.rivals import rivals_together
from pytest_flperf.report.terminal.results_table import table_lines
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Requests


def budget(expression: str = "ttft_ms.p95 <= 5", *, met: bool = False, scope: str = "suite") -> BudgetVerdict:
    """A budget of a suite."""
    metric, _, statistic = expression.partition(" ")[0].partition(".")
    return BudgetVerdict(expression, 5.0, 9.0, 11, met, scope, metric, statistic or None)


def rows(cases: list[CaseResult], width: int = 140) -> tuple[list[str], list[list[str]]]:
    """The headings' words, and the cells of each row."""
    lines = table_lines(cases, width)
    head = len(lines) - len(cases)
    return " ".join(lines[: head - 1]).split(), [line.split() for line in lines[head:]]


def shown_below(row: CaseResult) -> str:
    """What the summary of this case alone says, at 80 columns."""
    return "\n".join(line.text for line in summary_lines(run(row), 80, 0))


def test_rivals_stand_together_with_their_ratio() -> None:
    """Models of a scenario are neighbours; each says how many times the best one's TTFT it takes."""
    slow = {"metrics": {"ttft_ms": measured([40.0] * 11)}}
    fast = {"metrics": {"ttft_ms": measured([10.0] * 11)}}
    cases = [case(name, model, **values) for model, values in (("a", slow), ("b", fast)) for name in ("one", "two")]
    found = rivals_together(cases)
    assert [(each.scenario, each.model) for each in found] == [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")]
    head, cells = rows(found)
    assert "best" in head
    assert [row[4] for row in cells] == ["4.00x", "best", "4.00x", "best"]


def test_a_doubtful_median_makes_a_doubtful_ratio() -> None:
    """The mark of a percentile from too few requests goes along."""
    unsure = replace(measured([40.0] * 3), unsure=("p50",))
    cases = [case(model="a", metrics={"ttft_ms": unsure}), case(model="b", metrics={"ttft_ms": measured([10.0] * 11)})]
    assert [row[4] for row in rows(cases)[1]] == ["4.00x*", "best"]


def test_without_rivals_there_is_no_ratio() -> None:
    """One model, or models with scenarios of their own."""
    assert "best" not in rows([case("one"), case("two")])[0]
    head, _ = rows([case("one", "a"), case("two", "b")])
    assert "best" not in head


@pytest.mark.parametrize(
    ("outcome", "budgets", "expected"),
    [
        ("failed", (budget(), budget("error_rate <= 0", met=True)), "FAIL ttft_ms.p95"),
        ("failed", (budget(), budget("tps.p50 >= 5"), budget("error_rate <= 0")), "FAIL ttft_ms.p95 +2"),
        ("failed", (), "FAIL"),
        ("error", (), "ERROR"),
        ("skipped", (), "skipped"),
        ("xfailed", (budget(),), "xfailed"),
    ],
)
def test_the_verdict_stands_in_the_row(outcome: Any, budgets: tuple[BudgetVerdict, ...], expected: str) -> None:
    """Readable without colour, at 80 columns, with what was missed."""
    lines = table_lines([case("a"), case("b", outcome=outcome, budgets=budgets)], 80)
    assert f"  {expected}  " in lines[-1]
    assert "  passed  " in lines[-2]


def test_a_rule_that_fails_a_case() -> None:
    """Its metric, as that of a budget."""
    failing = Comparison("ttft_ms.p50 > +5%", "ttft_ms", "p50", "regressed", fails=True, scope="suite")
    against = Against("run", "last", comparisons=(failing,))
    assert table_lines([case(outcome="failed", against=(against,))], 100)[-1].split()[2:4] == ["FAIL", "ttft_ms.p50"]


def test_all_passed_needs_no_verdict() -> None:
    """A column of the same word would say nothing."""
    assert "verdict" not in rows([case("a"), case("b")])[0]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_column_that_a_budget_names_stays(width: int) -> None:
    """However narrow the terminal is; the default budget names none."""
    named = case("a-scenario-with-a-long-name", "a-model-with-a-long-name", budgets=(budget(met=True),))
    head, _ = rows([named], width)
    assert head.count("p95") == 1
    unnamed = case("a-scenario-with-a-long-name", "a-model-with-a-long-name", budgets=(budget(scope="default"),))
    assert "p95" not in rows([unnamed], 60)[0]


def test_many_named_columns_leave_the_verdict() -> None:
    """At 60 columns it stands whole behind the names, whatever is cut behind it."""
    names = ("ttft_ms.p99", "e2e_ms.p99", "tps.p50", "itl_ms.p90", "ttft_ms.p95")
    budgets = tuple(budget(f"{each} <= 5") for each in names)
    line = table_lines([case("a-long-scenario-name", "a-long-model-name", outcome="failed", budgets=budgets)], 60)[-1]
    assert "FAIL ttft_ms.p99 +4" in line


@pytest.mark.parametrize("late_reads", [0, 2])
def test_a_failed_row_keeps_its_numbers(late_reads: int) -> None:
    """At 80 columns: what was missed, n, TPOT and tok/s; the only model goes, and late reads: lines below have both."""
    failed = case(
        "short-chat", "SmolLM2-135M-Instruct.Q4_1", outcome="failed", budgets=(budget("e2e_ms.p50 <= 5"),),
        requests=Requests(total=11, ok=11, by_outcome={"ok": 11}, late_reads=late_reads),
    )  # fmt: skip
    head, ((name, *row),) = rows([failed], 80)
    assert (name, *row[:3]) == ("short-chat", "FAIL", "e2e_ms.p50", "11")
    assert {"n", "TPOT", "tok/s", "e2e", "errors"} <= {*head}
    assert {"15.0", "1.00", "25.0"} <= {*row}
    assert ("late reads (2): " in shown_below(failed)) == bool(late_reads)
    assert "model: SmolLM2-135M-Instruct.Q4_1" in shown_below(failed)
    several = [failed, replace(failed, model="SmolLM2-135M-Instruct.Q8_0", outcome="passed")]
    assert [line[0] for line in rows(several, 80)[1]] != ["short-chat"] * 2


def test_a_note_has_one_label() -> None:
    """A warning among a case's details is no note as well."""
    lines = [line.text for line in summary_lines(run(case(notes=("warning: slow", "cached"))), 80, 2)]
    assert "  warning: slow" in lines
    assert "  note: cached" in lines
    assert not any("note: warning" in line for line in lines)


def test_names_of_a_later_version() -> None:
    """A statistic or a metric that is not known makes no column, and no error."""
    odd = (budget("ttft_ms.p99_9 <= 5"), budget("later_ms.p50 <= 5"), budget("ttft_ms.x\x1b[31m <= 5"))
    head, _ = rows([case(budgets=tuple(replace(each, met=True) for each in odd))])
    assert not {"p99_9", "later_ms"} & {*head}


def test_a_named_metric_without_a_column_gets_one() -> None:
    """What is judged can be seen."""
    itl = {"metrics": {"itl_ms": measured([1.0] * 11), "ttft_ms": measured([2.0] * 11)}}
    head, (cells,) = rows([case(budgets=(budget("itl_ms.p90 <= 5", met=True),), **itl)])
    assert "itl_ms" in head
    assert "1.00" in " ".join(cells)


def test_throughput_of_the_case_under_load() -> None:
    """Tokens per second of all streams, where requests overlap."""
    assert "total" not in rows([case(load=Load(concurrency=1))])[0]
    head, (cells,) = rows([case(load=Load(concurrency=8), tps_total=3103.0)])
    assert "total" in head
    assert "3103" in cells


def test_models_named_by_files() -> None:
    """The file's stem where that tells them apart, else the whole path; an id with a slash is no path."""
    stems = [case(model="/models/a/qwen-q4.gguf"), case(model="/models/a/qwen-q8.gguf")]
    assert [row[0] for row in rows(stems)[1]] == ["qwen-q4", "qwen-q8"]
    same = [case(model="/q4/qwen.gguf"), case(model="/q8/qwen.gguf")]
    assert [row[0] for row in rows(same)[1]] == ["/q4/qwen.gguf", "/q8/qwen.gguf"]
    assert rows([case(model="C:\\models\\qwen.gguf")])[1][0][0] == "qwen"
    assert rows([case(model="qwen/qwen3-4b")])[1][0][0] == "qwen/qwen3-4b"


def test_nothing_measured() -> None:
    """A case without a value is in the table all the same."""
    empty = CaseResult("n", "s", "one", "m", outcome="skipped", message="", requests=Requests())
    assert table_lines([empty, case("one", "other")], 100)[-2].split()[2] == "skipped"
