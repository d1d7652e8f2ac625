"""Budgets of the run, and partial runs, on the page and in Markdown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_doubles import case, run

from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.markdown import markdown
from pytest_flperf.results.records import BudgetVerdict, Run

MISSED = BudgetVerdict("run.wall_s <= 5 <b>", 5.0, 7.25, 3, met=False, metric="run.wall_s")
MET = BudgetVerdict("run.error_rate <= 1%", 0.01, 0.0, 33, met=True, metric="run.error_rate")


def pages(it: Run) -> tuple[str, str]:
    """The page and the Markdown of a run."""
    return Pages().run(it, {}), markdown(it)


def test_budgets() -> None:
    """Each with its value, the missed one among the reasons."""
    html, text = pages(replace(run(case()), status="failed", budgets=(MET, MISSED)))
    assert "run.error_rate &lt;= 1%: met (0 %, n 33)" in html
    assert "the run missed run.wall_s &lt;= 5 &lt;b&gt; (7.25 s)" in html
    assert "<b>" not in html
    assert text.count("MISSED") == 1


@pytest.mark.parametrize(("status", "shown"), [("passed", True), ("failed", True), ("interrupted", False)])
def test_partial(status: str, shown: bool) -> None:
    """A partial run says so in its headline, and never that every budget was met."""
    it = replace(run(case()), status=status, partial=True)  # type: ignore[arg-type]
    for text in pages(it):
        assert ("(PARTIAL)" in text or "&#40;PARTIAL&#41;" in text) is shown
        assert "Every budget was met" not in text


def test_partial_beside_others() -> None:
    """Side by side with other runs a partial one is marked, too."""
    html = Pages().runs([run(case()), run(case(), partial=True)])
    assert html.count("passed (partial)") == 1
